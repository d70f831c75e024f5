"""The configuration for nginx; in the proxy itself it is tried by `make test-proxies`."""

from __future__ import annotations

from gateway.snippets.nginx import nginx
from gateway.snippets.site import site_of
from tests.snippets.test_site import config

TEXT = nginx(site_of(config(), host="app.example", port=8000))


def test_it_is_about_this_site() -> None:
    """... fills in host, ports and paths."""
    for line in ("listen 8000;", "server_name app.example;", "server 127.0.0.1:8080;", "server 127.0.0.1:3000;"):
        assert line in TEXT
    assert "location = /service-worker.js {" in TEXT
    assert "location ^~ /.gateway/auth/ {\n        return 404;" in TEXT
    assert "server_name _;" in nginx(site_of(config(), host="", port=80))


def test_each_field_is_set_from_the_answer() -> None:
    """... overwrites every field that the answer may hold, so that none of the client's is left."""
    for name in site_of(config(), host="", port=80).told:
        variable = f"$session_gateway_{name.lower().replace('-', '_')}"
        assert f"auth_request_set {variable} $upstream_http_{name.lower().replace('-', '_')};" in TEXT
        assert f"proxy_set_header {name} {variable};" in TEXT
