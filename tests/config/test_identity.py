"""What a backend is told about users: the settings, and what can be wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.identity import assertion_settings
from gateway.config.load import load
from gateway.config.model import Config
from gateway.config.rules import policy_routes
from gateway.errors import ConfigError
from gateway.mutators.assertion import AssertionForm


def config(identity: dict[str, Any] | None = None, **tables: Any) -> Config:
    tree: dict[str, Any] = {
        "firebase": {"project_id": "demo"},
        "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
        "route": [{"match": {"path": "/**"}, "name": "all", "identity": identity or {}}],
    }
    return load(None, environment={}, overrides=tree | tables).config


def test_settings_arrive() -> None:
    """... hands fields, encoding and the audience to the routes, and the rest to who signs."""
    settings = config(
        {"claims": {"X-Forwarded-Role": "role", "X-Gateway-Plan": "plan"}, "encoding": "base64", "assertion": True},
        upstream=[{"name": "app", "urls": ["http://127.0.0.1:1"], "audience": "/projects/1"}],
        assertion={"issuer": "https://app.example", "form": "iap", "lifetime": "5m", "claims": ["role"]},
    )
    route = policy_routes(settings).by_name["all"]
    assert route.claim_fields == (("X-Forwarded-Role", "role"), ("X-Gateway-Plan", "plan"))
    assert route.base64
    assert route.assertion == "/projects/1"
    made = assertion_settings(settings.assertion)
    assert (made.issuer, made.form, made.lifetime) == ("https://app.example", AssertionForm.IAP, 300)
    assert made.claims == ("role",)


def test_nothing_is_signed_unless_a_route_says_so() -> None:
    """... sends no assertion by default, and names the backend in it where nothing else is said."""
    assert policy_routes(config()).by_name["all"].assertion == ""
    assert policy_routes(config({"assertion": True})).by_name["all"].assertion == "app"


@pytest.mark.parametrize(
    ("identity", "assertion", "where"),
    [
        ({"claims": {"X-Role": "role"}}, {}, "$.route[0].identity.claims.X-Role"),
        ({"claims": {"X_Forwarded_Role": "role"}}, {}, "$.route[0].identity.claims.X_Forwarded_Role"),
        ({"claims": {"X-Forwarded-User": "role"}}, {}, "$.route[0].identity.claims.X-Forwarded-User"),
        ({"claims": {"x-forwarded-for": "role"}}, {}, "$.route[0].identity.claims.x-forwarded-for"),
        ({"claims": {"X-Gateway-Jwt-Assertion": "role"}}, {}, "$.route[0].identity.claims.X-Gateway-Jwt-Assertion"),
        ({"claims": {"X-Forwarded-A": "a", "x-forwarded-a": "b"}}, {}, "$.route[0].identity.claims.x-forwarded-a"),
        ({"claims": {"X-Forwarded-A": ""}}, {}, "$.route[0].identity.claims.X-Forwarded-A"),
        ({}, {"lifetime": "11m"}, "$.assertion.lifetime"),
        ({}, {"lifetime": "1s"}, "$.assertion.lifetime"),
        ({}, {"rotate_every": "5m"}, "$.assertion.rotate_every"),
        ({}, {"issuer": ""}, "$.assertion.issuer"),
    ],
)
def test_what_cannot_be_meant_is_told(identity: dict[str, Any], assertion: dict[str, Any], where: str) -> None:
    """... refuses names that clients could set, names that are taken, and times that cannot be."""
    with pytest.raises(ConfigError) as caught:
        policy_routes(config(identity, assertion=assertion))
    assert caught.value.where == where
