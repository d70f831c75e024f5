"""Templates escape what they are given."""

from __future__ import annotations

import pytest

from gateway.demo.render import Markup, escaped, fill, joined, load_pages

HOSTILE = """<script>alert("1")</script>'&$name"""


def test_values_are_escaped() -> None:
    """The demo's pages carry a hostile value as text, in content and in attributes."""
    page = fill('<a title="$name">$name</a>', name=HOSTILE)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#x27;&amp;$name") == 2


def test_markup_is_inserted_once_and_never_read_again() -> None:
    """The demo's pages insert their own fragments as they are, and look for no placeholders inside values."""
    part = fill("<b>$x</b>", x="$y <i>")
    assert fill("<p>$part</p>", part=joined([part, Markup("<hr>")])) == "<p><b>$y &lt;i&gt;</b><hr></p>"


def test_a_missing_value_is_an_error() -> None:
    """The demo's pages fail loudly when a value was forgotten."""
    with pytest.raises(KeyError, match="forgotten"):
        fill("$forgotten")


def test_escaped_takes_any_value() -> None:
    """The demo's pages print numbers as numbers."""
    assert escaped(42) == "42"


def test_everything_the_pages_need_is_packaged() -> None:
    """The demo finds its pages and assets inside the package, with types and distinct entity tags."""
    pages = load_pages()
    assert {"layout", "home", "jobs", "job", "about", "error"} <= pages.templates.keys()
    assert {name: asset.content_type for name, asset in pages.assets.items()} == {
        "demo.css": "text/css",
        "demo.js": "text/javascript",
        "answers.js": "text/javascript",
        "wheel.svg": "image/svg+xml",
    }
    assert len({asset.etag for asset in pages.assets.values()}) == len(pages.assets)
