"""``gateway.setup``: the whole gateway in an aiohttp application, with a real provider and real sockets."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import gateway
from gateway.blocking.builtin import record_sign_in_ip
from gateway.errors import ConfigError
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.middleware import ENFORCEMENT

PROJECT = "demo-setup"
SETTINGS: dict[str, Any] = {"firebase": {"project_id": PROJECT, "api_key": "k"}}


async def who(request: web.Request) -> web.Response:
    session = gateway.session_of(request)
    return web.json_response({"uid": session.principal.uid if session else None})


def application() -> web.Application:
    app = web.Application()
    app.router.add_get("/x", who)
    return app


async def test_with_a_real_provider_from_sign_up_to_sign_out() -> None:
    """... lets in a user of the configured provider, whose keys and accounts it fetches, and opens with the app."""
    settings = ProviderSettings(project_id=PROJECT, database=None, port=0, password_profile="testing")
    provider = IdentityProvider(settings, before_sign_in=record_sign_in_ip)
    await provider.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(provider.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        url = f"{provider.url}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=k"
        account = {"email": "ada@example.com", "password": "correct horse", "returnSecureToken": True}
        async with session.post(url, json=account) as response:
            token = (await response.json())["idToken"]
        app = application()
        gateway.setup(app, SETTINGS, emulator=provider.url.removeprefix("http://"))
        async with TestClient(TestServer(app)) as client:
            async with client.get("/x") as response:
                assert response.status == 401
            async with client.get("/x", headers={"Authorization": f"Bearer {token}"}) as response:
                assert response.status == 200
            headers = {"Authorization": f"Bearer {token}", "Origin": f"http://127.0.0.1:{client.port}"}
            async with client.post("/.gateway/logout", headers=headers, json={"scope": "device"}) as response:
                assert response.status in {200, 204}
            async with client.get("/x", headers={"Authorization": f"Bearer {token}"}) as response:
                assert (response.status, (await response.json())["code"]) == (401, "session_signed_out")


async def test_a_file_needs_neither_backends_nor_routes(tmp_path: Path) -> None:
    """... takes a file with a project alone, and routes where there are some."""
    file = tmp_path / "gateway.toml"
    route = '[[route]]\nmatch = { path = "/open/**" }\nauth = "public"\n'
    file.write_text(f'[firebase]\nproject_id = "acme"\ncredentials = "none"\n{route}')
    app = application()
    app.router.add_get("/open/x", who)
    gateway.setup(app, str(file), api_key="k")
    async with TestClient(TestServer(app)) as client:
        async with client.get("/open/x") as response:
            assert response.status == 200
        async with client.get("/x") as response:
            assert response.status == 401


@pytest.mark.parametrize(("auth", "status"), [("required", 401), ("optional", 200), ("public", 200)])
async def test_the_application_has_the_last_word(auth: str, status: int) -> None:
    """... judges what neither a mark nor a route speaks of by the application's own default."""
    app = application()
    gateway.setup(app, SETTINGS, credentials="none", auth=auth)
    async with TestClient(TestServer(app)) as client, client.get("/x") as response:
        assert response.status == status


async def test_mistakes_are_told_at_once() -> None:
    """... refuses a wrong configuration and a second set-up where they are made."""
    with pytest.raises(ConfigError, match="project_id"):
        gateway.setup(application(), {"firebase": {"projectid": "x"}})
    with pytest.raises(ConfigError, match=r"^auth: 'nonsense' is none .*\(required, optional or public\)$"):
        gateway.setup(application(), SETTINGS, auth="nonsense")
    app = application()
    gateway.setup(app, SETTINGS)
    with pytest.raises(ConfigError, match="already"):
        gateway.setup(app, SETTINGS)


async def test_nothing_is_judged_before_the_start_and_after_the_end() -> None:
    """... gives errors and no answers while the application does not run."""
    app = application()
    gateway.setup(app, SETTINGS, credentials="none")
    enforcement = app[ENFORCEMENT]
    with pytest.raises(RuntimeError, match="not running"):
        _ = enforcement.guard
    async with TestClient(TestServer(app)):
        assert enforcement.guard is not None
    with pytest.raises(RuntimeError, match="not running"):
        _ = enforcement.guard
