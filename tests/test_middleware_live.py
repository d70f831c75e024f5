"""Long answers in an application with the middleware: how they learn that their session is over."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

import gateway.middleware as module
from gateway.core.claims import Claims
from gateway.core.decision import Decision
from gateway.errors import TokenExpired
from gateway.http.cookies import SessionCookieSettings
from gateway.middleware import ENFORCEMENT, optional, public, session_ended
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Route
from tests.support.wire import GOOD, claims_of, eventually
from tests.test_middleware import application, serving


@pytest.mark.parametrize(
    ("end", "reason"),
    [("revoked", "session_revoked"), ("signed out", "session_signed_out"), ("expired", "token_expired")],
)
async def test_a_socket_learns_that_its_session_is_over(monkeypatch: pytest.MonkeyPatch, end: str, reason: str) -> None:
    """... tells a WebSocket handler why the session that it began with is over."""
    monkeypatch.setattr(module, "CHECK_EVERY", 0.01)

    async def socket(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        await response.send_str("open")
        found = await session_ended(request)
        await response.close(code=4401, message=found.id.encode())
        return response

    async def too_old(_: str) -> Claims:
        raise TokenExpired("too old")

    async with serving(application(socket=socket)) as world:
        world.verifier.tokens[GOOD] = replace(
            claims_of(), expires_at=int(time.time()) + (2 if end == "expired" else 60)
        )
        async with world.client.ws_connect("/socket", headers={"Authorization": f"Bearer {GOOD}"}) as ws:
            assert await ws.receive_str() == "open"
            principal = claims_of().principal
            if end == "revoked":
                await world.revocation.revoke_now(principal)
            elif end == "signed out":
                world.deny_list.deny(principal, claims_of().auth_time)
            else:
                monkeypatch.setattr(world.verifier, "verify", too_old)
            message = await ws.receive(timeout=5)
            assert (message.data, message.extra) == (4401, reason)


async def test_an_expired_cookie_ends_a_session_as_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    """... says that a session expired also where a cookie carried it, which then counts as none."""
    monkeypatch.setattr(module, "CHECK_EVERY", 0.01)
    named = SessionCookieSettings().cookie

    async def wait(request: web.Request) -> web.Response:
        return web.Response(text=(await session_ended(request)).id)

    async def too_old(_: str) -> Claims:
        raise TokenExpired("too old")

    async with serving(application(wait=wait, maybe=optional(wait)), cookies=[named]) as world:
        world.verifier.tokens[GOOD] = replace(claims_of(), expires_at=int(time.time()) + 2)
        readings = [
            asyncio.ensure_future(world.get(path, None, Cookie=f"__session={GOOD}")) for path in ("/wait", "/maybe")
        ]
        await eventually(lambda: world.verifier.asked >= len(readings))
        monkeypatch.setattr(world.verifier, "verify", too_old)
        assert await asyncio.gather(*readings) == [(200, "token_expired")] * 2


async def test_a_connection_that_lingers_is_no_sighting(monkeypatch: pytest.MonkeyPatch) -> None:
    """... does not weigh again where a session is that is only being waited for: its owner may be elsewhere by now."""
    monkeypatch.setattr(module, "CHECK_EVERY", 0.01)

    async def wait(request: web.Request) -> web.Response:
        return web.Response(text=(await session_ended(request)).id)

    async with serving(application(wait=wait)) as world:
        presets: list[Preset] = []
        guard = world.client.app[ENFORCEMENT].guard
        judge_on = guard.judge_on

        async def watched(route: Route, *rest: Any) -> Decision:
            presets.append(route.preset)
            return await judge_on(route, *rest)

        monkeypatch.setattr(guard, "judge_on", watched)
        reading = asyncio.ensure_future(world.get("/wait"))
        await eventually(lambda: presets == [Preset.RELAXED])
        world.deny_list.deny(claims_of().principal, claims_of().auth_time)
        assert await reading == (200, "session_signed_out")
        assert presets == [Preset.RELAXED, Preset.OFF]


async def test_nobody_waits_for_a_session_that_is_not_there() -> None:
    """... refuses to wait where there is no session."""

    async def handler(request: web.Request) -> web.Response:
        with pytest.raises(RuntimeError, match="no session"):
            await session_ended(request)
        return web.Response()

    async with serving(application(either=optional(handler), open=public(handler))) as world:
        assert (await world.get("/either", None))[0] == 200
        assert (await world.get("/open"))[0] == 200
