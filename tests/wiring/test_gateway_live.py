"""Live connections of a whole gateway: real tokens, a real account service, real WebSockets."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.config.load import Loaded
from gateway.core.claims import Principal
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.wiring import Gateway
from gateway.wiring.news import News, Renewed
from tests.support.wire import PATIENCE, eventually
from tests.wiring.test_gateway import PROJECT, STALENESS, World, loaded

IN_TIME = 1.0
"""Seconds within which a connection ends once there is a reason."""


def settings_for(provider: IdentityProvider, backend: TestServer, path: str = "/**") -> Loaded:
    return loaded(
        **{
            "firebase.emulator": provider.url.removeprefix("http://"),
            "listen": {"public": "127.0.0.1:0", "admin": "127.0.0.1:0"},
            "revocation.max_staleness": f"{STALENESS}s",
            "upstream": [{"name": "app", "urls": [str(backend.make_url("")).rstrip("/")]}],
            "route": [{"match": {"path": path}}],
            "log.decisions": "off",
        }
    )


@pytest.fixture
async def backend() -> AsyncIterator[TestServer]:
    async def talk(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/{tail:.*}", talk)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


@pytest.fixture
async def world(backend: TestServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    provider = IdentityProvider(ProviderSettings(project_id=PROJECT, database=None, port=0, password_profile="testing"))
    await provider.start()
    async with aiohttp.ClientSession() as session:
        settings = settings_for(provider, backend)
        gateway = Gateway(settings)
        await gateway.start()
        try:
            yield World(provider, gateway, session, settings)
        finally:
            await gateway.close(0)
            await provider.close()


async def listening(world: World, email: str) -> tuple[dict[str, str], aiohttp.ClientWebSocketResponse]:
    """An account, and a WebSocket of its session over which something was said."""
    account = await world.account(email)
    fields = {"Authorization": f"Bearer {account['idToken']}"}
    socket = await world.session.ws_connect(f"{world.gateway.url}/ws", headers=fields)
    await socket.send_str("hello")
    assert await socket.receive_str(timeout=PATIENCE) == "hello"
    return account, socket


async def end_of(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str | None]:
    message = await socket.receive(timeout=PATIENCE)
    assert message.type is aiohttp.WSMsgType.CLOSE
    return socket.close_code, message.extra


async def test_a_revocation_elsewhere_is_heard_of_in_time(world: World) -> None:
    """closes the WebSocket of a user who was disabled elsewhere within the promise, though nobody asks for anything."""
    account, socket = await listening(world, "ada@example.com")
    await asyncio.sleep(3 * STALENESS)  # long enough for whoever is not seen any more to be forgotten
    url = f"{world.provider.url}/identitytoolkit.googleapis.com/v1/projects/{PROJECT}/accounts:update"
    body = {"localId": account["localId"], "disableUser": True}
    async with world.session.post(url, json=body, headers={"Authorization": "Bearer owner"}) as response:
        assert response.status == 200
    started = time.monotonic()
    assert await end_of(socket) == (4401, "user_disabled")
    assert time.monotonic() - started < STALENESS + IN_TIME


async def test_its_own_revocation_is_heard_of_at_once(world: World) -> None:
    """closes the WebSockets of a user whose sessions this gateway revokes, at once."""
    account, socket = await listening(world, "bo@example.com")
    await asyncio.sleep(1.1)  # valid-since has whole seconds
    started = time.monotonic()
    await world.gateway.revoke(Principal(PROJECT, None, account["localId"]))
    assert await end_of(socket) == (4401, "session_revoked")
    assert time.monotonic() - started < IN_TIME


async def test_a_reload_is_applied_to_what_is_open(world: World, backend: TestServer) -> None:
    """keeps WebSockets open through a reload that allows them, and closes them at one that does not."""
    _, socket = await listening(world, "cy@example.com")
    await world.gateway.reload(settings_for(world.provider, backend))
    await socket.send_str("still there")
    assert await socket.receive_str(timeout=PATIENCE) == "still there"
    started = time.monotonic()
    await world.gateway.reload(settings_for(world.provider, backend, "/other/**"))
    assert await end_of(socket) == (4403, "no_route")
    assert time.monotonic() - started < IN_TIME + 1.0


async def test_a_stopping_gateway_closes_them_properly(world: World) -> None:
    """closes WebSockets with 1001 when it stops, and is not held up by them."""
    _, socket = await listening(world, "di@example.com")
    started = time.monotonic()
    stopping = asyncio.create_task(world.gateway.close(PATIENCE))
    assert await end_of(socket) == (1001, "shutting_down")
    await stopping
    assert time.monotonic() - started < PATIENCE


async def test_another_process_tells_of_a_newer_token(world: World) -> None:
    """takes another process's word for a newer token of a session, and passes on what it has seen itself, once."""
    _, socket = await listening(world, "fay@example.com")
    server = world.gateway._server
    assert server is not None
    await eventually(lambda: bool(server.live._grown))
    (live,) = server.live._grown
    assert live.decision.session is not None
    claims = live.decision.session.claims
    told: list[News] = []
    world.gateway.on_news = told.append
    server.live.on_renewed = world.gateway._renewed
    newer = dataclasses.replace(claims, expires_at=claims.expires_at + 1000)
    world.gateway.heard(Renewed(newer, "127.0.0.1"))
    await eventually(lambda: live.decision.conditions.expires_at == newer.expires_at)
    assert told == []
    for _ in range(2):
        server.live.saw(live.decision)
    assert told == [Renewed(live.decision.session.claims, "127.0.0.1")]
    await socket.close()


async def test_metrics_tell_of_them(world: World) -> None:
    """counts what is open and what it ended."""
    _, socket = await listening(world, "ed@example.com")
    server = world.gateway._server
    assert server is not None
    await eventually(lambda: server.live.active() == {"websocket": 1})
    await socket.close()
    await eventually(lambda: server.live.active().total() == 0)
