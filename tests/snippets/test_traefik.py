"""The configuration for traefik; in the proxy itself it is tried by `make test-proxies`."""

from __future__ import annotations

from gateway.snippets.site import site_of
from gateway.snippets.traefik import traefik
from tests.snippets.test_site import config

TEXT = traefik(site_of(config(), host="app.example", port=8000))


def test_it_is_about_this_site() -> None:
    """... fills in host, ports and paths."""
    assert 'rule: "Host(`app.example`) && PathPrefix(`/`)"' in TEXT
    assert 'address: "http://127.0.0.1:8080/.gateway/auth/traefik"' in TEXT
    assert 'url: "http://127.0.0.1:3000"' in TEXT
    assert "Path(`/service-worker.js`)" in TEXT
    assert 'rule: "PathPrefix(`/`)"' in traefik(site_of(config(), host="", port=80))


def test_each_field_is_taken_from_the_answer() -> None:
    """... names every field that the answer may hold, and every spelling that is none."""
    site = site_of(config(), host="", port=80)
    for name in site.told:
        assert f"          - {name}\n" in TEXT
    for name in site.aliases:
        assert f'          {name}: ""\n' in TEXT
