"""Templates and the headers of pages."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.http.pages import Template, page_headers
from tests.support.wire import FakeAsset, FakeAssets


def page(text: bytes) -> FakeAssets:
    return FakeAssets(**{"page.html": FakeAsset("page.html", text, "text/html")})


def test_values_are_escaped_and_filled_in_one_pass() -> None:
    """escapes every value, and reads no placeholder out of one."""
    template = Template(page(b'<a title="{{title}}">{{heading}}</a>{{unknown}}'), "page.html")
    shown = template.render({"title": "\"'<&", "heading": "{{title}}"})
    assert shown == b'<a title="&quot;&#x27;&lt;&amp;">{{title}}</a>'


def test_links_to_assets_name_their_version() -> None:
    """adds the version to links to files that exist, so that they may be cached for ever."""
    template = Template(
        page(b'<link href="{{prefix}}assets/app.css"><img src="{{prefix}}assets/none.png">'), "page.html"
    )
    assert template.render({"prefix": "/g/"}) == (
        b'<link href="/g/assets/app.css?v=0123456789abcdef"><img src="/g/assets/none.png">'
    )


def test_a_missing_page_is_a_fault_of_the_installation() -> None:
    """says at start which page is missing."""
    with pytest.raises(ConfigError, match=r"nowhere\.html"):
        Template(FakeAssets(), "nowhere.html")


def test_pages_forbid_what_they_do_not_need() -> None:
    """sends pages with a policy that allows no inline script, no foreign script and no framing."""
    headers = dict(page_headers(connect=("http://127.0.0.1:9099",)))
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self' http://127.0.0.1:9099"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    framed = dict(page_headers(framed=True))
    assert "frame-ancestors 'self'" in framed["Content-Security-Policy"]
    assert framed["X-Frame-Options"] == "SAMEORIGIN"
