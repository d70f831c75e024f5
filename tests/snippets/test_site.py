"""What the generated configurations are about."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.load import load
from gateway.config.model import Config
from gateway.errors import ConfigError
from gateway.mutators.headers import reserved
from gateway.snippets.site import address, site_of


def config(**tables: Any) -> Config:
    """A gateway that a proxy on this machine may ask."""
    tree: dict[str, Any] = {
        "firebase": {"project_id": "demo"},
        "listen": {"public": "0.0.0.0:8080", "trusted_proxies": ["127.0.0.1/32"]},
        "upstream": [{"name": "app", "urls": ["http://127.0.0.1:3000"]}],
        "route": [{"match": {"path": "/**"}}],
    }
    return load(None, environment={}, overrides=tree | tables).config


def test_addresses_and_paths_are_those_of_the_configuration() -> None:
    """... knows where the gateway and the backend are, and which addresses are the gateway's own."""
    route = {"match": {"path": "/**"}, "identity": {"assertion": True, "claims": {"X-Forwarded-Role": "role"}}}
    site = site_of(config(route=[route], **{"session.sdk_cookies": True}), host="app.example", port=80)
    assert (site.gateway, site.backend) == (("127.0.0.1", 8080), ("127.0.0.1", 3000))
    assert site.own == (
        "/service-worker.js",
        "/__cookies__",
        "/.well-known/gateway/jwks.json",
        "/.well-known/gateway/public_keys.json",
    )
    assert "X-Forwarded-Role" in site.identity


def test_every_field_of_the_identity_is_taken_from_the_answer_or_removed() -> None:
    """... names the assertion in both forms, whatever is sent, and each field in every spelling."""
    site = site_of(config(), host="", port=80)
    assert {"X-Forwarded-User", "X-Gateway-Jwt-Assertion", "X-Goog-IAP-JWT-Assertion"} <= set(site.identity)
    assert set(site.told) == {*site.identity, "X-Request-Id", "Cookie", "Authorization"}
    assert {"X_Forwarded_User", "X-Forwarded_User", "X_Gateway_Jwt_Assertion"} <= set(site.aliases)
    assert len(site.aliases) == len(set(site.aliases))
    assert all(reserved(name.lower().replace("_", "-").encode()) for name in site.aliases)


@pytest.mark.parametrize(
    ("upstream", "chosen", "telling"),
    [
        ([("a", "http://127.0.0.1:1"), ("b", "http://127.0.0.1:2")], "", "several"),
        ([("a", "http://127.0.0.1:1")], "c", "no \\[\\[upstream"),
        ([("a", "unix:/run/a.sock")], "", "not an http address"),
        ([("a", "https://127.0.0.1:1")], "", "not an http address"),
    ],
)
def test_a_backend_that_is_not_clear_is_asked_for(upstream: list[tuple[str, str]], chosen: str, telling: str) -> None:
    """... says what it cannot know."""
    tables = [{"name": name, "urls": [url]} for name, url in upstream]
    settings = config(upstream=tables, route=[{"match": {"path": "/**"}, "upstream": "a"}])
    with pytest.raises(ConfigError, match=telling):
        site_of(settings, host="", port=80, upstream=chosen)


@pytest.mark.parametrize(
    ("host", "port", "telling"),
    [
        ("app.example; return 200", 80, "no host name"),
        ("https://app.example", 80, "no host name"),
        ("app.example:443", 80, "without scheme and port"),
        ("app`", 80, "no host name"),
        ("app.example", 0, "no port"),
        ("app.example", 65_536, "1 to 65535"),
    ],
)
def test_only_a_name_and_a_port_get_into_a_configuration(host: str, port: int, telling: str) -> None:
    """refuses what would be read as something else in the configuration of a proxy, and says what the gateway takes."""
    with pytest.raises(ConfigError, match=telling):
        site_of(config(), host=host, port=port)


@pytest.mark.parametrize("host", ["", "App.example", "localhost", "192.0.2.1", "[2001:db8::1]"])
def test_names_and_addresses_are_taken(host: str) -> None:
    """takes any name or address that a site may have behind the gateway."""
    assert site_of(config(), host=host, port=65_535).host == host


def test_ipv6_addresses_stand_in_brackets() -> None:
    """... writes addresses as proxies read them."""
    assert (address(("::1", 80)), address(("app", 80))) == ("[::1]:80", "app:80")
