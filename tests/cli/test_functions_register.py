"""``gateway functions register`` and ``status``, against the embedded provider and a stand-in for Google's service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import google.auth
import google.auth.exceptions
import pytest
import requests

from gateway.cli import functions_register
from gateway.cli.functions_register import Service, run_register, run_status, service_of
from gateway.errors import ConfigError
from gateway.idp import IdentityProvider
from tests.support.idp import PROJECT, SETTINGS, key_source

URL = "https://fn.example.test/hooks"


@pytest.fixture
async def local() -> AsyncIterator[Service]:
    """An embedded provider, as the service."""
    provider = IdentityProvider(SETTINGS, key_source=key_source)
    await provider.start()
    yield Service(project=PROJECT, emulator=provider.url.removeprefix("http://"))
    await provider.close()


async def register(service: Service, *events: str, forward: tuple[str, ...] = (), dry_run: bool = False) -> int:
    return await asyncio.to_thread(lambda: run_register(URL, service, events=events, forward=forward, dry_run=dry_run))


async def status(service: Service, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    await asyncio.to_thread(lambda: run_status(service, as_json=True))
    present: dict[str, Any] = json.loads(capsys.readouterr().out)
    return present


async def test_register_keeps_what_is_there(local: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """... registers for the events that are named, and keeps other events and flags as they were."""
    assert await asyncio.to_thread(lambda: run_status(local, as_json=False)) == 1
    assert "no functions are registered" in capsys.readouterr().out
    await register(local, "before-sms", forward=("id-token",))
    await register(local)
    present = await status(local, capsys)
    assert {event: trigger["functionUri"] for event, trigger in present["triggers"].items()} == {
        "beforeSendSms": URL,
        "beforeCreate": URL,
        "beforeSignIn": URL,
    }
    assert present["forwardInboundCredentials"] == {"idToken": True}
    assert await asyncio.to_thread(lambda: run_status(local, as_json=False)) == 0
    out = capsys.readouterr().out
    assert f"beforeCreate     {URL}   since 20" in out
    assert "credentials      id-token" in out


async def test_dry_run_sends_nothing(local: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """... prints the request, what is there already included, and registers nothing."""
    await register(local, "before-email")
    capsys.readouterr()
    await register(local, "before-create", dry_run=True)
    out = capsys.readouterr().out
    assert out.startswith(f"PATCH {local.url}?updateMask=blockingFunctions\n")
    body = json.loads(out.partition("\n")[2])
    assert list(body["blockingFunctions"]["triggers"]) == ["beforeSendEmail", "beforeCreate"]
    assert list((await status(local, capsys))["triggers"]) == ["beforeSendEmail"]


async def test_service_refuses(local: Service) -> None:
    """... says what the service said when it refuses."""
    with pytest.raises(ConfigError, match="the service answered 400: CONFIGURATION_NOT_FOUND"):
        await register(Service(project="demo-other", emulator=local.emulator))
    with pytest.raises(ConfigError, match="no usable answer"):
        await register(Service(project="demo-other", emulator="127.0.0.1:1"))


@pytest.mark.parametrize(
    ("uri", "events", "forward", "where"),
    [
        ("http://fn.example.test/", (), (), "URL"),
        ("nonsense", (), (), "URL"),
        (URL, ("before-lunch",), (), "EVENT"),
        (URL, (), ("password",), "--forward"),
    ],
)
def test_arguments_that_cannot_be_used(uri: str, events: tuple[str, ...], forward: tuple[str, ...], where: str) -> None:
    """... names the argument that is wrong before anything is asked."""
    with pytest.raises(ConfigError) as caught:
        run_register(uri, Service(project="acme", emulator=None), events=events, forward=forward, dry_run=False)
    assert caught.value.where == where


def test_the_service_that_is_meant() -> None:
    """... needs a project, and sends the emulators' credential to this machine only."""
    with pytest.raises(ConfigError, match="--project"):
        service_of(None, None, None)
    with pytest.raises(ConfigError, match="not this machine"):
        service_of(None, "acme", "emulator.example:9099")
    assert service_of(None, "acme", None).url == "https://identitytoolkit.googleapis.com/v2/projects/acme/config"


class Google:
    """Stands for an authorised session with Google's service."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []

    def __enter__(self) -> Google:  # noqa: PYI034 - a fake
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def request(self, method: str, url: str, json: Any, timeout: float) -> requests.Response:
        self.asked.append((method, url, json))
        answer = requests.Response()
        answer.status_code = 200
        answer._content = (
            b'{"blockingFunctions":{"triggers":{"beforeSignIn":{"functionUri":"https://old.test/","updateTime":"x"}}}}'
        )
        return answer


def test_credentials_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """... uses application default credentials with the cloud's scope, and sends nothing back that is the service's."""
    service = Google()
    scopes: list[Any] = []

    def default(**kwargs: Any) -> tuple[object, str]:
        scopes.append(kwargs)
        return object(), "acme"

    monkeypatch.setattr(google.auth, "default", default)
    monkeypatch.setattr(functions_register, "AuthorizedSession", lambda credentials: service)
    run_register(URL, Service(project="acme", emulator=None), events=("before-create",), forward=(), dry_run=False)
    assert scopes[0] == {"scopes": ["https://www.googleapis.com/auth/cloud-platform"], "quota_project_id": "acme"}
    method, url, body = service.asked[-1]
    assert (method, url) == (
        "PATCH",
        "https://identitytoolkit.googleapis.com/v2/projects/acme/config?updateMask=blockingFunctions",
    )
    assert body["blockingFunctions"]["triggers"] == {
        "beforeSignIn": {"functionUri": "https://old.test/"},
        "beforeCreate": {"functionUri": URL},
    }


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """... says how to get credentials where there are none."""

    def none(**_: Any) -> None:
        raise google.auth.exceptions.DefaultCredentialsError("none here")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(ConfigError, match="application default credentials are not set up"):
        run_status(Service(project="acme", emulator=None), as_json=False)
