"""What the middleware costs a request that needs no session. CPU, since wall time says nothing on a busy machine."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.middleware import install, public
from tests.test_middleware import enforcement_of

LIMIT = 5e-6
"""Seconds more for each request, on a machine that has nothing else to do."""
SHARE = 0.15
"""The same as a share of what the request costs without it (50 µs with its client): where others use the machine too,
everything costs more."""
REQUESTS = 400
ROUNDS = 60
REQUEST = b"GET /x HTTP/1.1\r\nHost: app.example\r\n\r\n"


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="x")


def application(*, guarded: bool) -> web.Application:
    app = web.Application()
    app.router.add_get("/x", public(hello) if guarded else hello)
    if guarded:
        install(app, enforcement_of()[0])
    return app


async def cost(port: int) -> float:
    """CPU seconds of one request, client included."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    gc.collect()
    gc.disable()
    before = time.process_time()
    for _ in range(REQUESTS):
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\nx")
    spent = time.process_time() - before
    gc.enable()
    writer.close()
    await writer.wait_closed()
    return spent / REQUESTS


@pytest.mark.slow
async def test_a_route_that_needs_no_session_costs_little_more() -> None:
    """... adds about five microseconds at the most to a public handler of an application."""
    async with TestServer(application(guarded=False)) as bare, TestServer(application(guarded=True)) as guarded:
        assert bare.port is not None
        assert guarded.port is not None
        least_bare = least_guarded = float("inf")
        limit = LIMIT
        for number in range(ROUNDS):
            # In turns, and the least of each: what others do to the machine only ever adds.
            least_bare = min(least_bare, await cost(bare.port))
            least_guarded = min(least_guarded, await cost(guarded.port))
            limit = max(LIMIT, SHARE * least_bare)
            if least_guarded - least_bare < limit and number > ROUNDS // 4:
                break
        assert least_guarded - least_bare < limit, f"{(least_guarded - least_bare) * 1e6:.1f} µs more"
