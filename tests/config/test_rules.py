"""How configuration becomes a route table."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.load import load
from gateway.config.rules import policy_routes
from gateway.core.target import parse_target
from gateway.errors import ConfigError
from gateway.policy.ip_change import Preset


def test_routes_carry_their_settings() -> None:
    """... hands every setting of a route to the policy, with the table's defaults filled in."""
    config = load(
        None,
        environment={},
        overrides={
            "firebase.project_id": "acme",
            "network.preset": "monitor",
            "upstream": [{"name": "a", "urls": ["http://127.0.0.1:1"]}, {"name": "b", "urls": ["http://127.0.0.1:2"]}],
            "route": [
                {
                    "match": {"path": "/x/**", "methods": ["GET"], "hosts": ["h"]},
                    "upstream": "b",
                    "network": {"preset": "pinned"},
                },
                {
                    "match": {"path": "/**"},
                    "upstream": "a",
                    "name": "rest",
                    "forward_authorization": True,
                    "identity": {"headers": ["user"]},
                },
            ],
        },
    ).config
    table = policy_routes(config)
    first = table.match("GET", "h", parse_target("/x/y"))
    rest = table.match("POST", "h", parse_target("/x/y"))
    assert first is not None
    assert rest is not None
    assert (first.name, first.upstream, first.preset) == ("route-1", "b", Preset.PINNED)
    assert (rest.name, rest.upstream, rest.preset, rest.forward_authorization, rest.identity) == (
        "rest",
        "a",
        Preset.MONITOR,
        True,
        ("user",),
    )


UNSIGNED: dict[str, Any] = {
    "firebase.project_id": "demo-acme",
    "firebase.emulator": "127.0.0.1:9099",
    "firebase.unsigned_tokens": True,
    "upstream": [{"name": "a", "urls": ["http://127.0.0.1:1"]}],
    "route": [{"match": {"path": "/**"}}],
}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"firebase.project_id": "acme"}, "demo-"),
        ({"firebase.project_id": "Demo-acme"}, "demo-"),
        ({"firebase.project_id": "my-demo-acme"}, "demo-"),
        ({"firebase.emulator": None}, "firebase.emulator"),
        ({"listen.public": "0.0.0.0:8080"}, "loopback"),
        ({"listen.public": "192.0.2.1:8080"}, "loopback"),
        ({"listen.public": "[::]:8080"}, "loopback"),
    ],
)
def test_unsigned_tokens_refuse_to_start_where_they_could_do_harm(changes: dict[str, Any], what: str) -> None:
    """... takes unsigned tokens for a project that cannot exist, from an emulator, on loopback, or does not start."""
    tree = {name: value for name, value in (UNSIGNED | changes).items() if value is not None}
    with pytest.raises(ConfigError) as caught:
        load(None, environment={}, overrides=tree)
    assert caught.value.where == "$.firebase.unsigned_tokens"
    assert what in caught.value.what
    assert not load(
        None, environment={}, overrides=tree | {"firebase.unsigned_tokens": False}
    ).config.firebase.unsigned_tokens


def test_unsigned_tokens_need_the_emulator_on_loopback() -> None:
    """... has no emulator, and so no unsigned tokens, beyond this machine."""
    with pytest.raises(ConfigError, match="loopback"):
        load(None, environment={}, overrides=UNSIGNED | {"firebase.emulator": "192.0.2.1:9099"})


def test_unsigned_tokens_are_a_switch() -> None:
    """... takes unsigned tokens when all of that holds and it is told to, and not by default."""
    assert load(None, environment={}, overrides=UNSIGNED).config.firebase.unsigned_tokens
    without = {name: value for name, value in UNSIGNED.items() if not name.endswith("unsigned_tokens")}
    assert not load(None, environment={}, overrides=without).config.firebase.unsigned_tokens


SESSION_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"session.cookie_lifetime": "4m"}, "$.session.cookie_lifetime"),
    ({"session.cookie_lifetime": "15d"}, "$.session.cookie_lifetime"),
    ({"session.recheck_streams": "0.9s"}, "$.session.recheck_streams"),
    ({"session.recheck_streams": "61m"}, "$.session.recheck_streams"),
    ({"session.stream_grace": "301s"}, "$.session.stream_grace"),
    ({"session.cookie": "session_cookie", "firebase.credentials": "none"}, "$.session.cookie"),
    ({"session.cookie": "session_cookie", "firebase.tenants": ["a"]}, "$.session.cookie"),
    ({"session.sdk_cookies": True, "worker.apps": [{"name": "a;b"}]}, "$.worker.apps[0].name"),
]


@pytest.mark.parametrize(("settings", "where"), SESSION_FAULTS)
def test_a_session_that_no_cookie_could_carry(settings: dict[str, Any], where: str) -> None:
    """... says what a session cookie needs before it starts."""
    tree: dict[str, Any] = {
        "firebase.project_id": "acme",
        "upstream": [{"name": "a", "urls": ["http://127.0.0.1:1"]}],
        "route": [{"match": {"path": "/**"}}],
    }
    with pytest.raises(ConfigError) as error:
        load(None, environment={}, overrides=tree | settings)
    assert error.value.where == where
    config = load(None, environment={}, overrides=tree | {"session.cookie": "session_cookie"}).config
    assert config.session.cookie_lifetime == 5 * 86_400


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"worker.enabled": False, "session.cookie": "off"}, "$.worker.enabled"),
        ({"worker.own": "app-worker.js"}, "$.worker.own"),
        ({"worker.own": "//elsewhere.example/sw.js"}, "$.worker.own"),
        ({"worker.own": "/.gateway/sw.js"}, "$.worker.own"),
        ({"worker.own": "/service-worker.js"}, "$.worker.own"),
        ({"worker.apps": []}, "$.worker.apps"),
        ({"worker.apps": [{"name": "back office"}, {"name": ""}]}, "$.worker.apps[1].name"),
        ({"worker.excluded": ["/static/", "images/"]}, "$.worker.excluded[1]"),
    ],
)
def test_a_worker_that_could_not_work_is_told_at_start(settings: dict[str, Any], where: str) -> None:
    """... refuses settings of the worker that would leave sessions without a carrier, and says which."""
    tree: dict[str, Any] = {"firebase.project_id": "acme", "upstream": [{"name": "a", "urls": ["http://127.0.0.1:1"]}]}
    with pytest.raises(ConfigError) as refused:
        load(None, environment={}, overrides=tree | {"route": [{"match": {"path": "/**"}}]} | settings)
    assert refused.value.where == where


def test_what_an_outage_means_is_said_once_and_routes_may_differ() -> None:
    """... refuses whom it cannot check, unless the table or the route says otherwise; the route has the last word."""

    def outcomes(**revocation: str) -> list[str]:
        config = load(
            None,
            environment={},
            overrides={
                "firebase.project_id": "acme",
                "revocation": revocation,
                "upstream": [{"name": "a", "urls": ["http://127.0.0.1:1"]}],
                "route": [
                    {"match": {"path": "/as-the-table-says"}},
                    {"match": {"path": "/strict"}, "on_revocation_outage": "deny"},
                    {"match": {"path": "/lenient"}, "on_revocation_outage": "allow-until-exp"},
                ],
            },
        ).config
        return [str(route.on_revocation_outage) for route in policy_routes(config).by_name.values()]

    assert outcomes() == ["deny", "deny", "allow-until-exp"]
    assert outcomes(on_error="allow-until-exp") == ["allow-until-exp", "deny", "allow-until-exp"]


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"listen.redirect": "127.0.0.1:80"}, "$.listen.redirect"),
        (
            {
                "listen.proxy_protocol": True,
                "listen.trusted_proxies": ["10.0.0.0/8"],
                "listen.tls": {"cert_file": "cert.pem"},
            },
            "$.listen.proxy_protocol",
        ),
        ({"listen.workers": 0}, "$.listen.workers"),
        ({"listen.workers": 257}, "$.listen.workers"),
        ({"reload.every": "10ms"}, "$.reload.every"),
        ({"listen.tls": {"key_file": "key.pem"}}, "$.listen.tls.cert_file"),
        ({"listen.tls": {"cert_file": "cert.pem", "min_version": "1.1"}}, "$.listen.tls.min_version"),
    ],
)
def test_a_listener_that_could_not_work_is_told_at_start(settings: dict[str, Any], where: str) -> None:
    """... refuses a redirect to nowhere, too few and too many processes, restless looking, and old TLS."""
    tree: dict[str, Any] = {"firebase.project_id": "acme", "upstream": [{"name": "a", "urls": ["http://127.0.0.1:1"]}]}
    with pytest.raises(ConfigError) as refused:
        load(None, environment={}, overrides=tree | {"route": [{"match": {"path": "/**"}}]} | settings)
    assert refused.value.where == where
