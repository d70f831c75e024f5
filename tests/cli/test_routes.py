"""``gateway routes``: what is tried in which order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli.routes import run_routes
from gateway.errors import ConfigError

CONFIG = """
[firebase]
project_id = "acme-prod"

[[upstream]]
name = "app"
urls = ["http://127.0.0.1:3000"]

[[route]]
name = "static"
match = { path = "/static/**", methods = ["HEAD", "GET"], hosts = ["www.acme.example"] }
auth = "public"

[[route]]
name = "admin"
match = { path = "/admin/**" }
network = { preset = "strict" }
forward_authorization = true

[route.require]
verified_email = true
roles = ["owner", "admin"]
sign_in_provider = ["password"]
claims = { plan = ["pro", "team"], org = { id = 7 } }
second_factor = true
max_auth_age = "90m"
expression = "claims.level > 2"

[[route]]
name = "api"
match = { path = "/api/**" }
unauthenticated = "401"
cors = { origins = ["https://b.example", "https://a.example"], methods = ["POST", "GET"], credentials = true }
"""

PRINTED = """\
1  static  GET,HEAD www.acme.example /static/**  public    → app
2  admin   /admin/**                             required  → app
   require  signed in through password; verified e-mail; roles holds admin or owner; plan is "pro" or "team"; \
org is {"id": 7}; claims.level > 2; second factor; signed in at most 90m ago
   network  strict
   forwards the user's ID token
3  api     /api/**                               required  → app
   network  relaxed
   cors     https://a.example https://b.example (GET, POST, cookies too)
   refusal  401
everything else is denied
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    return path


def test_routes_are_listed_with_what_they_demand(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... lists the routes in order, and under each whatever is not the default."""
    run_routes(config, as_json=False)
    assert capsys.readouterr().out == PRINTED


def test_the_list_is_there_for_programs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... gives the same as JSON."""
    run_routes(config, as_json=True)
    static, admin, api = json.loads(capsys.readouterr().out)
    assert (static["name"], static["methods"], static["hosts"], static["auth"]) == (
        "static",
        ["GET", "HEAD"],
        ["www.acme.example"],
        "public",
    )
    assert (static["require"], static["cors"]) == ([], [])
    assert "second factor" in admin["require"]
    assert (admin["network"], admin["upstream"]) == ("strict", "app")
    assert (api["cors"], api["unauthenticated"]) == (["https://a.example", "https://b.example"], "401")


def test_a_configuration_is_needed(tmp_path: Path) -> None:
    """... says what is wrong with the file instead of listing half of it."""
    with pytest.raises(ConfigError):
        run_routes(tmp_path / "nowhere.toml", as_json=False)


def test_rewritten_paths_are_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... says what the backend is asked for instead of the path."""
    config.write_text(
        CONFIG.replace('auth = "public"', 'auth = "public"\nstrip_prefix = "/static"\nadd_prefix = "/v2"')
    )
    run_routes(config, as_json=False)
    assert "   path     /static taken off the front, /v2 put there\n" in capsys.readouterr().out
    run_routes(config, as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [(row["strip_prefix"], row["add_prefix"]) for row in rows] == [("/static", "/v2"), ("", ""), ("", "")]
