from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.adapters import firebase_users
from gateway.adapters.firebase_users import ApplicationDefault, BearerSecret, FirebaseDirectory, ServiceAccountFile
from gateway.core.ports import AccountRecord
from gateway.errors import ConfigError, RevocationUnavailable
from tests.support.accounts import AccountServer, person
from tests.support.clock import eventually

PROJECT = "demo-project"
SECRET = "s3cret-of-the-stand-in"


@pytest.fixture
async def server() -> AsyncIterator[AccountServer]:
    async with AccountServer(SECRET) as made:
        made.users["ada"] = {"localId": "ada", "validSince": "1700000000"}
        made.users["bob"] = {"localId": "bob", "disabled": True}
        made.users["tina"] = {"localId": "tina", "tenantId": "acme"}
        yield made


@pytest.fixture
async def directory(server: AccountServer) -> AsyncIterator[FirebaseDirectory]:
    made = FirebaseDirectory(PROJECT, BearerSecret(SECRET), endpoint=server.url + "/")
    yield made
    await made.close()


# ---- look-ups --------------------------------------------------------------------------------------------------------


async def test_records_hold_what_sessions_hang_on(directory: FirebaseDirectory) -> None:
    """reads whether an account is disabled and since when its sessions are valid, in seconds."""
    assert await directory.look_up(None, ["ada", "bob", "nobody"]) == {
        "ada": AccountRecord(disabled=False, valid_since=1_700_000_000),
        "bob": AccountRecord(disabled=True, valid_since=0),
    }


async def test_look_up_is_one_call_with_the_secret_to_the_named_service(
    server: AccountServer, directory: FirebaseDirectory
) -> None:
    """asks the configured service, once, and shows it the configured secret."""
    await directory.look_up(None, ["ada", "bob"])
    [seen] = server.requests
    assert seen.path == f"/identitytoolkit.googleapis.com/v1/projects/{PROJECT}/accounts:lookup"
    assert seen.authorization == f"Bearer {SECRET}"
    assert seen.body == {"localId": ["ada", "bob"]}


async def test_tenants_have_users_of_their_own(server: AccountServer, directory: FirebaseDirectory) -> None:
    """looks a tenant's users up among that tenant's."""
    assert set(await directory.look_up("acme", ["ada", "tina"])) == {"tina"}
    assert set(await directory.look_up(None, ["ada", "tina"])) == {"ada"}
    await directory.revoke(person("tina", "acme"))
    assert int(server.users["tina"]["validSince"]) == pytest.approx(time.time(), abs=5)
    assert {seen.path.split("/projects/")[1].split("/accounts")[0] for seen in server.requests} == {
        PROJECT,
        f"{PROJECT}/tenants/acme",
    }


async def test_more_than_a_hundred_users_are_a_fault_of_the_caller(
    server: AccountServer, directory: FirebaseDirectory
) -> None:
    """never sends a look-up that the service would refuse."""
    with pytest.raises(ValueError, match="100"):
        await directory.look_up(None, [f"user-{number}" for number in range(101)])
    assert server.requests == []


async def test_users_nobody_asked_for_are_left_out(server: AccountServer, directory: FirebaseDirectory) -> None:
    """believes a service about the users it asked for only."""

    async def talkative(request: web.Request) -> web.Response:
        return web.json_response({"users": [{"localId": "ada"}, {"localId": "mallory"}]})

    server.answer = talkative
    assert set(await directory.look_up(None, ["ada", "bob"])) == {"ada"}


async def test_revoking_a_user_who_is_gone_succeeds(directory: FirebaseDirectory) -> None:
    """has nothing left to end for an account that was deleted meanwhile."""
    await directory.revoke(person("nobody"))


# ---- failure ---------------------------------------------------------------------------------------------------------


def _answer(status: int, body: str, headers: dict[str, str] | None = None) -> Any:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers=headers, content_type="application/json")

    return handle


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, '{"error": {"message": "secret-detail"}}', None),
        (503, "secret-detail", None),
        (403, '{"error": {"message": "INSUFFICIENT_PERMISSION : secret-detail"}}', None),
        (404, '{"error": {"message": "TENANT_NOT_FOUND"}}', None),
        (400, '{"error": {"message": "USER_NOT_FOUND"}}', None),
        (429, '{"error": {"message": "TOO_MANY_ATTEMPTS_TRY_LATER"}}', None),
        (200, "<html>secret-detail</html>", None),
        (200, "", None),
        (200, "[]", None),
        (200, "null", None),
        (200, '{"users": "secret-detail"}', None),
        (200, '{"users": [{"email": "secret-detail"}]}', None),
        (200, '{"users": [{"localId": "ada", "validSince": "secret-detail"}]}', None),
        (302, "", {"Location": "/identitytoolkit.googleapis.com/v1/elsewhere"}),
    ],
)
async def test_answer_that_is_no_answer_is_never_a_verdict(
    server: AccountServer,
    directory: FirebaseDirectory,
    status: int,
    body: str,
    headers: dict[str, str] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """fails closed on whatever is no account answer, after one call, and repeats neither answer nor secret."""
    server.answer = _answer(status, body, headers)
    with pytest.raises(RevocationUnavailable) as caught:
        await directory.look_up(None, ["ada"])
    assert len(server.requests) == 1
    assert server.url in str(caught.value)
    assert "secret-detail" not in str(caught.value) + caplog.text
    assert SECRET not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None


async def test_wrong_secret_is_said_once(server: AccountServer) -> None:
    """says that the account service refused its credentials, without trying the same ones again."""
    directory = FirebaseDirectory(PROJECT, BearerSecret("wrong"), endpoint=server.url)
    with pytest.raises(RevocationUnavailable, match="credentials were refused"):
        await directory.look_up(None, ["ada"])
    assert len(server.requests) == 1
    await directory.close()


async def test_dripping_service_is_given_up_on(
    server: AccountServer, directory: FirebaseDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """waits for one call no longer than its deadline, whatever arrives meanwhile."""
    monkeypatch.setattr(firebase_users, "CALL_DEADLINE", 0.1)
    gone = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        await gone.wait()
        return web.json_response({})

    server.answer = drip
    with pytest.raises(RevocationUnavailable, match="no answer within"):
        await directory.look_up(None, ["ada"])
    gone.set()


async def test_loop_keeps_turning_while_the_service_is_slow(
    server: AccountServer, directory: FirebaseDirectory
) -> None:
    """serves others while a look-up blocks, in threads that are few and named."""
    answer = asyncio.Event()
    arrived = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await answer.wait()
        return web.json_response({})

    server.answer = slow
    calls = [asyncio.create_task(directory.look_up(None, ["ada"])) for _ in range(3 * firebase_users.WORKERS)]
    await arrived.wait()  # the stand-in runs on this very loop: it could not have been reached otherwise
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("accounts")]
    assert 0 < len(threads) <= firebase_users.WORKERS
    answer.set()
    assert await asyncio.gather(*calls) == [{}] * len(calls)


async def test_closing_fails_what_has_not_begun(server: AccountServer, directory: FirebaseDirectory) -> None:
    """answers every call that was waiting for a thread when it stops, and every later one."""
    answer = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await answer.wait()
        return web.json_response({})

    server.answer = slow
    calls = [asyncio.create_task(directory.look_up(None, ["ada"])) for _ in range(2 * firebase_users.WORKERS)]
    await eventually(lambda: len(server.requests) >= firebase_users.WORKERS)
    await directory.close()
    answer.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    failed = [end for end in ends if isinstance(end, RevocationUnavailable)]
    assert len(failed) == firebase_users.WORKERS
    with pytest.raises(RevocationUnavailable, match="closed"):
        await directory.look_up(None, ["ada"])
    await directory.close()


# ---- configuration ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any Google credentials."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "FIREBASE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("PATH", "")


@pytest.mark.usefixtures("bare")
async def test_project_without_credentials_says_what_to_do() -> None:
    """refuses to start without credentials and names the ways to have some, or to do without."""
    with pytest.raises(ConfigError) as caught:
        FirebaseDirectory("acme-prod", ApplicationDefault())
    assert caught.value.where == "$.firebase.credentials"
    assert "acme-prod" in caught.value.what
    for way in ("gcloud auth application-default login", "GOOGLE_APPLICATION_CREDENTIALS", "file:PATH", "none"):
        assert way in caught.value.hint


@pytest.mark.usefixtures("bare")
async def test_credentials_variable_that_names_no_file_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """says that it is the environment variable which is wrong."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(ConfigError) as caught:
        FirebaseDirectory("acme-prod", ApplicationDefault())
    assert caught.value.where == "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "cannot read"),
        ("not json, secret-part", "not a service account"),
        ("[]", "not a service account"),
        ('{"type": "authorized_user", "secret": "secret-part"}', "not a service account"),
        (
            json.dumps(
                {"type": "service_account", "private_key": "secret-part", "client_email": "a@b", "token_uri": "x"}
            ),
            "not a",
        ),
    ],
)
async def test_unusable_key_file_is_refused_at_start(tmp_path: Path, content: str | None, word: str) -> None:
    """names the key file that it cannot use and quotes none of it."""
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=word) as caught:
        FirebaseDirectory("acme-prod", ServiceAccountFile(path))
    assert str(path) in str(caught.value)
    assert "secret-part" not in str(caught.value)


async def test_fixed_secret_is_not_sent_to_google() -> None:
    """demands an endpoint of one's own where the credential is a fixed secret."""
    with pytest.raises(ConfigError) as caught:
        FirebaseDirectory(PROJECT, BearerSecret("owner"))
    assert "firebase.endpoints.identity_toolkit" in caught.value.hint


async def test_endpoint_that_others_could_answer_for_is_refused() -> None:
    """asks nobody about accounts over plain http beyond this machine."""
    with pytest.raises(ConfigError) as caught:
        FirebaseDirectory(PROJECT, BearerSecret("owner"), endpoint="http://accounts.example")
    assert caught.value.where == "$.firebase.endpoints.identity_toolkit"


async def test_emulator_variable_is_refused_with_google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """does not guard a real project in an environment in which Firebase libraries believe unsigned tokens."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    with pytest.raises(ConfigError) as caught:
        FirebaseDirectory(PROJECT, ApplicationDefault())
    assert caught.value.where == "FIREBASE_AUTH_EMULATOR_HOST"


async def test_emulator_variable_changes_nothing_for_a_configured_stand_in(
    monkeypatch: pytest.MonkeyPatch, server: AccountServer
) -> None:
    """asks the service that its configuration names, with that secret, although other tools use another."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:1")
    directory = FirebaseDirectory(PROJECT, BearerSecret(SECRET), endpoint=server.url)
    assert set(await directory.look_up(None, ["ada"])) == {"ada"}
    assert set(await directory.look_up("acme", ["tina"])) == {"tina"}
    assert os.environ["FIREBASE_AUTH_EMULATOR_HOST"] == "127.0.0.1:1"
    await directory.close()


def test_secret_is_not_shown() -> None:
    """keeps a secret out of whatever prints its settings."""
    assert SECRET not in repr(BearerSecret(SECRET))


def test_firebase_admin_is_imported_late() -> None:
    """does not make every command pay for firebase-admin's import."""
    code = "import sys, gateway.adapters.firebase_users; sys.exit('firebase_admin' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
