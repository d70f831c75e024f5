"""Long answers in an application with the middleware: how they learn that their session is over."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from aiohttp import web

import gateway.middleware as module
from gateway.core.claims import Claims
from gateway.errors import TokenExpired
from gateway.middleware import optional, public, session_ended
from tests.support.wire import GOOD, claims_of
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


async def test_nobody_waits_for_a_session_that_is_not_there() -> None:
    """... refuses to wait where there is no session."""

    async def handler(request: web.Request) -> web.Response:
        with pytest.raises(RuntimeError, match="no session"):
            await session_ended(request)
        return web.Response()

    async with serving(application(either=optional(handler), open=public(handler))) as world:
        assert (await world.get("/either", None))[0] == 200
        assert (await world.get("/open"))[0] == 200
