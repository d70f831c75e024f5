"""``gateway explain``: the line one request would walk."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.explain import Asked, run_explain
from gateway.errors import ConfigError
from tests.support import forge

CONFIG = f"""
[firebase]
project_id = "{forge.PROJECT}"
[[upstream]]
name = "app"
urls = ["http://127.0.0.1:3000"]
[[route]]
match = {{ path = "/public/**" }}
auth = "public"
[[route]]
name = "strict"
match = {{ path = "/strict/**" }}
network = {{ preset = "strict" }}
[[route]]
name = "app"
match = {{ path = "/**" }}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    return path


def claims(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "claims.json"
    path.write_text(json.dumps(forge.payload(now=time.time(), signInIpAddress="203.0.113.9", **changes)))
    return path


def explain(url: str, config: Path, **options: Any) -> int:
    settings: dict[str, Any] = {"token_file": None, "claims": None}
    settings |= {name: options.pop(name) for name in ("token_file", "claims", "as_json") if name in options}
    return run_explain(Asked(url, **options), config=config, **settings)


CASES: list[tuple[str, dict[str, Any], dict[str, Any], int, list[str]]] = [
    ("/public/x", {}, {}, 0, ["→ allow · public_route"]),
    ("/x", {"ip": "203.0.113.77"}, {}, 0, ["same: allow (relaxed)", "→ allow · session_valid"]),
    ("http://host.test:8080/x?y=1", {"ip": "203.0.113.77"}, {}, 0, ["→ allow · session_valid"]),
    ("/x", {"ip": "198.51.100.7"}, {}, 1, ["moved: reauthenticate (relaxed)", "→ challenge · network_changed"]),
    ("/strict/x", {"ip": "2001:db8::1"}, {}, 1, ["unknown: reauthenticate (strict)", "network_changed"]),
    (
        "/x",
        {},
        {"exp": 1},
        1,
        ["token_expired: exp has passed", "→ challenge · token_expired", "answer      401, a problem document"],
    ),
    ("/x", {}, {"aud": "other"}, 1, ["→ challenge · token_audience"]),
    ("//x", {}, {}, 1, ["target_ambiguous", "empty segment"]),
    ("/a/%2e%2e/b", {}, {}, 1, ["target_ambiguous", "dot segment"]),
    ("/x", {"method": "post", "headers": ("Origin: https://evil.test",)}, {}, 1, ["foreign page", "cross_site"]),
]


@pytest.mark.parametrize(("url", "options", "changes", "status", "told"), CASES)
def test_each_step_is_printed_with_its_answer(
    url: str,
    options: dict[str, Any],
    changes: dict[str, Any],
    status: int,
    told: list[str],
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """... prints the steps of a judgement and exits with the answer."""
    assert explain(url, config, claims=claims(tmp_path, **changes), **options) == status
    printed = capsys.readouterr().out
    for text in told:
        assert text in printed


def test_without_a_credential_it_says_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... explains an anonymous request without asking anybody."""
    config.write_text(CONFIG.replace("[[upstream]]", 'credentials = "none"\n[[upstream]]', 1))
    assert explain("/x", config) == 1
    assert "✗ credential  none: sign_in_required" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"ip": "localhost"}, "--ip"),
        ({"headers": ("nonsense",)}, "--header"),
        ({"token_file": Path("nowhere")}, "--token-file"),
        ({"claims": Path("nowhere")}, "--claims"),
        ({"claims": Path("a"), "token_file": Path("b")}, "--claims"),
        ({"at": "2026-10-02T10:00:00Z"}, "--at"),
        ({"at": "2026-10-02T10:00:00", "claims": Path("a")}, "--at"),
        ({"at": "yesterday", "claims": Path("a")}, "--at"),
    ],
)
def test_wrong_arguments_are_told(options: dict[str, Any], where: str, config: Path) -> None:
    """... says which argument cannot be used."""
    with pytest.raises(ConfigError) as caught:
        explain("/x", config, **options)
    assert caught.value.where == where


@pytest.mark.parametrize("text", ["nonsense", "[]"])
def test_claims_must_be_an_object(text: str, config: Path, tmp_path: Path) -> None:
    """... refuses a claims file that holds anything but an object."""
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ConfigError, match="JSON"):
        explain("/x", config, claims=tmp_path / "c.json")


STRICTER = (
    CONFIG
    + """
require = { second_factor = true }
cors = { origins = ["https://pages.test"], methods = ["GET", "POST"] }
"""
)


def test_the_answer_is_there_for_programs(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... prints the decision and its steps as one JSON object."""
    config.write_text(STRICTER)
    assert explain("/x", config, claims=claims(tmp_path), ip="203.0.113.9", as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["decision"], told["reason"], told["status"], told["route"]) == (
        "challenge",
        "step_up_second_factor",
        401,
        "app",
    )
    assert [step["step"] for step in told["steps"]][-2:] == ["require", "answer"]
    assert told["steps"][-1]["answer"].endswith(
        'acr_values="http://schemas.openid.net/pape/policies/2007/06/multi-factor"'
    )
    assert explain("//x", config, claims=claims(tmp_path), as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["route"] is None


PAGES: list[tuple[dict[str, Any], int, str]] = [
    (
        {"method": "OPTIONS", "headers": ("Access-Control-Request-Method: POST",)},
        0,
        "✓ cors        the browser will send",
    ),
    (
        {"method": "OPTIONS", "headers": ("Access-Control-Request-Method: PUT",)},
        0,
        "✗ cors        the browser will not",
    ),
    ({"method": "GET"}, 1, "✓ cors        a page of that origin may read the answer"),
]


@pytest.mark.parametrize(("options", "status", "told"), PAGES)
def test_what_a_foreign_page_may_do_is_told(
    options: dict[str, Any],
    status: int,
    told: str,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """... tells what a browser would make of the answer for a page of another site."""
    config.write_text(STRICTER)
    headers = ("Origin: https://pages.test", *options.pop("headers", ()))
    assert explain("/x", config, claims=claims(tmp_path), headers=headers, **options) == status
    assert told in capsys.readouterr().out


def test_the_moment_can_be_chosen(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... judges claims at the moment that is asked about."""
    path = claims(tmp_path)
    assert explain("/x", config, claims=path, ip="203.0.113.9", at="2020-01-01T00:00:00+01:00") == 1
    assert "token_not_yet_valid" in capsys.readouterr().out
