"""What lasts on the fast path is judged again too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.policy.routes import Route
from tests.support.backends import Conversation, backend
from tests.support.live import (
    ALICE,
    IN_TIME,
    QUIET,
    RENEWED,
    Client,
    another_guard,
)
from tests.support.wire import (
    GOOD,
    PATIENCE,
    ROUTES,
    claims_of,
    eventually,
    gateway,
    read_answer,
    request,
)


@asynccontextmanager
async def replayed(target: str, first: bytes, **options: Any) -> AsyncIterator[Client]:
    """A client whose request took the fast path, and its long answer."""

    async def script(conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            if target.encode() not in head:
                await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            if b"/events" in head:
                fields = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
                await conversation.send(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n9\r\ndata: 1\n\n\r\n")
            elif b"PUT" not in head:
                await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
            await conversation.to_end()

    async with backend(script) as server, gateway(server.url, **options) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(request("GET /warm HTTP/1.1"))
            await read_answer(reader)
            assert front.proxy.fast is not None
            before = front.proxy.fast.replayed + front.proxy.fast.judged
            writer.write(first)
            if not first.startswith(b"PUT"):
                await reader.readuntil(b"data: 1\n\n\r\n" if "/events" in target else b"beginning")
            await eventually(lambda: front.proxy.live.active().total() == 1)
            assert front.proxy.fast.replayed + front.proxy.fast.judged == before + 1
        try:
            yield Client(front, server, reader, writer, b"")
        finally:
            writer.transport.abort()


FAST = {
    "event-stream": ("/events", request("GET /events HTTP/1.1")),
    "transfer": ("/download", request("GET /download HTTP/1.1")),
    "upload": ("/upload", request("PUT /upload HTTP/1.1", "Content-Length: 1000") + b"half"),
}


@pytest.mark.parametrize("case", FAST)
async def test_the_fast_path_is_no_way_around(case: str) -> None:
    """ends what took the fast path just the same, under the id and with the path that it was recorded with."""
    async with replayed(*FAST[case]) as client:
        assert client.front.proxy.live.active() == {"transfer" if case == "upload" else case: 1}
        client.front.revocation.revoke()
        client.front.proxy.live.changed(ALICE)
        rest, took = await client.ends()
        assert (rest, took < IN_TIME) == (b"", True)
        last, before = client.front.audit.events[-1], client.front.audit.events[-2]
        assert last.decision.reason.id == "session_revoked"
        assert (last.request_id, last.path, last.method) == (before.request_id, before.path, before.method)
        await asyncio.wait_for(client.server.closed.wait(), IN_TIME)
        assert client.front.proxy.live.active().total() == 0


async def test_on_the_fast_path_too_tokens_end_and_are_renewed() -> None:
    """ends an event stream of the fast path at its token's end, unless a newer token of its session was seen."""
    first, second = time.time() + 1.0, time.time() + 2.0
    tokens = {GOOD: claims_of(expires_at=first), RENEWED: claims_of(expires_at=second)}
    async with replayed(*FAST["event-stream"], tokens=tokens) as client:
        await client.front.speak(request("GET /warm HTTP/1.1", token=RENEWED))
        assert await client.rest() == b""
        assert 0 <= time.time() - second < IN_TIME


async def test_on_the_fast_path_too_a_reload_is_applied() -> None:
    """judges what is under way on the fast path by a new configuration, and lets go of what has ended."""
    async with replayed(*FAST["event-stream"]) as client:
        upstreams = {"app": client.front.upstream}
        client.front.proxy.replace(another_guard(client.front, *ROUTES), upstreams)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), QUIET)
        client.front.proxy.replace(another_guard(client.front, Route("other", "/other", "app")), upstreams)
        assert await asyncio.wait_for(client.reader.read(), IN_TIME) == b""
        assert client.front.audit.reasons[-1] == "no_route"
        await eventually(lambda: not client.front.proxy.live._direct)


async def test_what_has_ended_meanwhile_is_left_alone() -> None:
    """judges nothing that is over by the time that it is its turn, and takes no other request for it."""
    async with replayed(*FAST["event-stream"]) as client:
        live = client.front.proxy.live
        (exchange,) = live.exchanges
        (one,) = live._direct.values()
        decisions = len(client.front.audit.events)
        client.front.revocation.revoke()
        live.changed(ALICE)
        assert one.asked
        assert exchange.cut()
        await eventually(lambda: not live._direct)
        assert len(client.front.audit.events) == decisions
        assert live.ended.total() == 0
