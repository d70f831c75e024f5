"""``gateway functions``: the page shows what the commands print, and an event reaches a server as it should."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import google.auth
import google.auth.exceptions
import jwt
import pytest

from gateway.cli.functions import Made, Target, event_named, run_invoke
from gateway.errors import ConfigError
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.idp.events import EVENT_TYPES
from tests.house.tree import ROOT
from tests.support.function_server import FunctionServer
from tests.support.idp import key_source
from tests.support.pages import files_of, run, sessions_of

PAGE = (ROOT / "docs" / "reference" / "functions-commands.md").read_text(encoding="utf-8")
SESSIONS = sessions_of(PAGE)
MADE = Made(
    event="before-sign-in",
    user="ada@example.com",
    ip="203.0.113.9",
    provider="password",
    locale=None,
    user_agent=None,
    changes=(),
)
TARGET = Target(url=None, app=None, config=None, project=None, unsigned=True, error_format="documented")


@pytest.fixture(autouse=True)
def fresh_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test imports its own hooks.py; nobody has Google's credentials."""
    sys.modules.pop("hooks", None)

    def none(**_: Any) -> None:
        raise google.auth.exceptions.DefaultCredentialsError("none here")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", none)
    yield
    sys.modules.pop("hooks", None)


def test_the_page_shows_commands() -> None:
    """... has a page with the file and the commands that the next test runs."""
    assert set(files_of(PAGE)) == {"hooks.py"}
    assert len(SESSIONS) >= 5


@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[command[:60] for command, _ in SESSIONS])
def test_shown_output_is_real(
    command: str, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """... prints exactly what its page shows."""
    for name, body in files_of(PAGE).items():
        (tmp_path / name).write_text(body, encoding="utf-8")
    assert run(command, tmp_path, capsys, monkeypatch) == shown


def invoke(made: Made = MADE, /, **target: Any) -> int:
    return run_invoke(made, replace(TARGET, **target), show_event=False)


def payload(call: Any) -> dict[str, Any]:

    decoded: dict[str, Any] = jwt.decode(call["data"]["jwt"], options={"verify_signature": False})
    return decoded


def test_event_reaches_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    """... sends an unsigned event in the emulator's form, with the URL as its audience and fields as set."""
    changes = (
        "user_record.email_verified=true",
        "user_record.metadata.last_sign_in_time=5",
        "locale=fr",
        "user_agent=",
    )
    with FunctionServer(200, "{}") as server:
        made = replace(MADE, changes=changes, user_agent="x", provider="google.com")
        assert invoke(made, url=server.url, project="demo-x") == 0
        (call,) = server.calls
    assert call["data"]["jwt"].endswith(".")
    event = payload(call)
    assert (event["aud"], event["iss"]) == (server.url, "https://securetoken.google.com/demo-x")
    assert (event["event_type"], event["sign_in_method"], event["locale"]) == ("beforeSignIn", "google.com", "fr")
    assert "user_agent" not in event
    assert event["user_record"]["email_verified"] is True
    assert event["user_record"]["provider_data"] == [
        {"provider_id": "google.com", "uid": "invoked", "email": "ada@example.com"}
    ]
    assert "the answer changes nothing" in capsys.readouterr().out


def test_refusal_of_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    """... says what a client would read, in the form that is asked for, and exits with 1."""
    with FunctionServer(403, '{"error":{"status":"PERMISSION_DENIED","message":"No."}}') as server:
        assert invoke(url=server.url, error_format="raw") == 1
    assert 'returned an error: {"error":{"status":"PERMISSION_DENIED"' in capsys.readouterr().out


def test_claims_that_nobody_may_set(capsys: pytest.CaptureFixture[str]) -> None:
    """... refuses an answer that the service would refuse."""
    with FunctionServer(200, '{"userRecord":{"sessionClaims":{"sub":"x"},"updateMask":"sessionClaims"}}') as server:
        assert invoke(url=server.url) == 1
    assert "FORBIDDEN_CLAIM : sub" in capsys.readouterr().out


def test_record_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... takes a whole user record from a file and shows what of it changes."""
    record = {
        "uid": "u1",
        "email": "ada@example.com",
        "display_name": "Ada",
        "custom_claims": {"role": "user", "old": 1},
    }
    path = tmp_path / "ada.json"
    path.write_text(json.dumps(record))
    answer = {"displayName": None, "customClaims": {"role": "admin"}, "updateMask": "displayName,customClaims"}
    with FunctionServer(200, json.dumps({"userRecord": answer})) as server:
        assert invoke(replace(MADE, user=str(path)), url=server.url) == 0
        assert payload(server.calls[0])["user_record"] == record
    out = capsys.readouterr().out
    assert "user      display name: none" in out
    assert "- name: null" in out
    assert '~ role: "admin"  (every token)' in out
    assert "- old: null" in out


@pytest.mark.parametrize(
    "change",
    [
        "metadata=5", "metadata=[]", 'tokens_valid_after_time="x"', "provider_data=[5]", "provider_data={}",
        'provider_data=[{"provider_id":[]}]', "custom_claims=[1]", "email=5", "uid=",
    ],
)  # fmt: skip
def test_odd_records(change: str, capsys: pytest.CaptureFixture[str]) -> None:
    """... sends a record whatever stands in it, and shows what the answer would do."""
    with FunctionServer(200, '{"userRecord":{"displayName":"Ada","updateMask":"displayName"}}') as server:
        assert invoke(replace(MADE, changes=(f"user_record.{change}",)), url=server.url) == 0
    assert '+ name: "Ada"' in capsys.readouterr().out


def test_disabled_account(capsys: pytest.CaptureFixture[str]) -> None:
    """... says that an account which a function disables gets no tokens."""
    with FunctionServer(200, '{"userRecord":{"disabled":true,"updateMask":"disabled"}}') as server:
        assert invoke(url=server.url) == 0
    assert "USER_DISABLED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "target", "where"),
    [
        ({"event": "before-lunch"}, {"url": "http://127.0.0.1:1/"}, "EVENT"),
        ({"ip": "here"}, {"url": "http://127.0.0.1:1/"}, "--ip"),
        ({"changes": ("nonsense",)}, {"url": "http://127.0.0.1:1/"}, "--set"),
        ({"changes": ("aud.x=1",)}, {"url": "http://127.0.0.1:1/"}, "--set"),
        ({"user": "missing.json"}, {"url": "http://127.0.0.1:1/"}, "missing.json"),
        ({}, {}, "--url"),
        ({}, {"url": "nowhere"}, "--url"),
        ({}, {"url": "http://127.0.0.1:1/", "app": "a:b"}, "--url"),
        ({}, {"url": "http://127.0.0.1:1/"}, "http://127.0.0.1:1/"),
        ({}, {"url": "http://127.0.0.1:1/", "unsigned": False}, "--url"),
        ({}, {"app": "nonsense"}, "--app"),
        ({}, {"app": "no_such_module:x"}, "--app"),
        ({}, {"app": "json:dumps"}, "--app"),
    ],
)
def test_arguments_that_cannot_be_used(change: dict[str, Any], target: dict[str, Any], where: str) -> None:
    """... names the argument that is wrong."""
    with pytest.raises(ConfigError) as caught:
        invoke(replace(MADE, **change), **target)
    assert caught.value.where == where


def test_names_of_events() -> None:
    """... takes its own names for events and the service's."""
    names = ["before-create", "before-sign-in", "before-email", "before-sms"]
    assert [event_named(name) for name in names] == list(EVENT_TYPES)
    assert [event_named(name) for name in EVENT_TYPES] == list(EVENT_TYPES)


CONFIG = """
[firebase]
project_id = "demo-acme"
emulator = "127.0.0.1:9099"
[functions]
allowed_domains = ["acme.example"]
"""


def test_configured_functions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... runs the functions that a configuration names, for its project."""
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    made = replace(MADE, event="before-create")
    assert invoke(replace(made, user="ada@acme.example"), config=path) == 0
    assert invoke(made, config=path) == 1
    assert '"status": "INVALID_ARGUMENT"' in capsys.readouterr().out


async def test_signed_by_the_embedded_provider(tmp_path: Path) -> None:
    """... signs an event with the key of the embedded provider's database, which its certificates verify."""
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG)
    settings = ProviderSettings(project_id="demo-acme", database=tmp_path / "gateway-dev.sqlite3", port=0)
    provider = IdentityProvider(settings, key_source=key_source)
    await provider.start()
    key = (await provider._opened().db.run(provider._opened().id_keys.signer)).private_key.public_key()
    await provider.close()
    with FunctionServer(200, "{}") as server:
        assert await asyncio.to_thread(lambda: invoke(url=server.url, config=config, unsigned=False)) == 0
        (call,) = server.calls
    token = call["data"]["jwt"]
    assert jwt.decode(token, key, algorithms=["RS256"], audience=server.url)["event_type"] == "beforeSignIn"
    assert jwt.get_unverified_header(token)["typ"] == "JWT"


def test_no_provider_yet(tmp_path: Path) -> None:
    """... says to start the provider once where there is no database."""
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG)
    with pytest.raises(ConfigError, match="no such database"):
        invoke(url="http://127.0.0.1:1/", config=config, unsigned=False)
