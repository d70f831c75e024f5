"""The configuration for caddy; in the proxy itself it is tried by `make test-proxies`."""

from __future__ import annotations

from gateway.snippets.caddy import caddy
from gateway.snippets.site import site_of
from tests.snippets.test_site import config

TEXT = caddy(site_of(config(), host="app.example", port=8000))


def test_it_is_about_this_site() -> None:
    """... fills in host, ports and paths, with directives in an order that Caddy keeps."""
    assert "http://app.example:8000 {" in TEXT
    assert "forward_auth 127.0.0.1:8080 {\n\t\t\t\turi /.gateway/auth/caddy" in TEXT
    assert "@own path /.gateway/* /service-worker.js" in TEXT
    order = [TEXT.index(word) for word in ("request_header -*_*", "forward_auth 127", "reverse_proxy 127.0.0.1:3000")]
    assert order == sorted(order)
    assert "http://:80 {" in caddy(site_of(config(), host="", port=80))


def test_each_field_is_removed_and_taken_from_the_answer() -> None:
    """... removes the client's own fields before it asks, and names all that the answer may hold."""
    site = site_of(config(), host="", port=80)
    copied = next(line for line in TEXT.splitlines() if "copy_headers" in line).split()[1:]
    assert copied == list(site.told)
    for name in site.identity:
        assert f"request_header -{name}\n" in TEXT
