"""The production example means what its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.rules import policy_routes
from gateway.core.target import parse_target
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth

EXAMPLE = Path(__file__).parents[2] / "examples" / "proxy" / "gateway.toml"


@pytest.mark.parametrize(
    ("method", "path", "name", "auth"),
    [
        ("GET", "/static/app.js", "static", Auth.PUBLIC),
        ("POST", "/static/app.js", "app", Auth.REQUIRED),
        ("GET", "/admin/users", "admin", Auth.REQUIRED),
        ("GET", "/api/orders", "api", Auth.REQUIRED),
        ("GET", "/", "welcome", Auth.OPTIONAL),
        ("GET", "/orders/7", "app", Auth.REQUIRED),
    ],
)
def test_the_production_example(method: str, path: str, name: str, auth: Auth) -> None:
    """... routes as the example's comments say."""
    config = load(EXAMPLE, environment={"FIREBASE_WEB_API_KEY": "key"}).config
    route = policy_routes(config).match(method, "acme.example", parse_target(path))
    assert route is not None
    assert (route.name, route.auth) == (name, auth)
    assert route.preset is (Preset.STRICT if name == "admin" else Preset.RELAXED)
    assert config.firebase.api_key == "key"
