"""Clients that are quicker than the ordinary way: what they send behind a request of its waits, and then goes fast."""

from __future__ import annotations

import asyncio

import pytest

from gateway.proxy.fast_client import MAX_WAITING, FastHandler
from tests.proxy.test_fast_client import FINE, passed
from tests.support.backends import Conversation, backend
from tests.support.wire import PATIENCE, body_of, eventually, gateway, read_answer, request, status_of

MANY = 40


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "ordinary"])
async def test_a_request_behind_an_ordinary_one_goes_fast(fast_path: bool) -> None:
    """answers in order what came while aiohttp was at work, and what came goes the fast path, not its way for ever."""
    go_on = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await go_on.wait()
        await conversation.send(FINE)
        while await conversation.head():
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")

    async with backend(script) as server, gateway(server.url, fast_path=fast_path) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(request())  # no connection to the backend is open yet
            await eventually(lambda: b"GET " in server.received)
            writer.write(request("GET /second HTTP/1.1"))
            await asyncio.sleep(0.05)  # nothing tells that it has come and waits
            go_on.set()
            assert [body_of(await read_answer(reader)) for _ in range(2)] == [b"ok", b"next"]
            writer.write(request("GET /third HTTP/1.1"))
            assert body_of(await read_answer(reader)) == b"next"
        writer.close()
    assert passed(front) == (2 if fast_path else 0)


async def test_a_stop_sees_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """takes a connection for busy on which a request waits, so that no stop loses it between two turns of the loop."""
    seen: list[bool] = []
    again = FastHandler._again

    def look(client: FastHandler) -> None:
        seen.append(client.idle)
        again(client)

    monkeypatch.setattr(FastHandler, "_again", look)
    go_on = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        while await conversation.head():
            await go_on.wait()
            await conversation.send(FINE)

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(request())
            await eventually(lambda: b"GET " in server.received)
            writer.write(request("GET /second HTTP/1.1"))
            await asyncio.sleep(0.05)  # nothing tells that it has come and waits
            go_on.set()
            assert [status_of(await read_answer(reader)) for _ in range(2)] == [200, 200]
            (client,) = front.proxy._server.connections  # type: ignore[union-attr]
            await eventually(lambda: client.idle)  # type: ignore[union-attr]
        writer.close()
    assert seen
    assert not any(seen)


async def test_a_crowd_behind_an_ordinary_request() -> None:
    """leaves a client's socket alone that sends more and more behind a request, and answers all of it in the end."""
    go_on = asyncio.Event()
    padding = "X-Padding: " + "x" * 4_000

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await go_on.wait()
        await conversation.send(FINE)
        while await conversation.head():
            await conversation.send(FINE)

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(request())
            await eventually(lambda: b"GET " in server.received)
            (client,) = front.proxy._server.connections  # type: ignore[union-attr]
            for _ in range(MANY):
                writer.write(request("GET /more HTTP/1.1", padding))
            await eventually(lambda: len(client._waiting) > MAX_WAITING)  # type: ignore[union-attr]
            assert not client.transport.is_reading()  # type: ignore[union-attr]
            go_on.set()
            assert {status_of(await read_answer(reader)) for _ in range(MANY + 1)} == {200}
        writer.close()


async def test_a_client_gone_behind_an_ordinary_request() -> None:
    """forgets what waits behind a request whose client has left."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.to_end()

    async with backend(script) as server, gateway(server.url) as front:
        _, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(request())
            await eventually(lambda: b"GET " in server.received)
            writer.write(request("GET /second HTTP/1.1"))
            await asyncio.sleep(0.05)  # nothing tells that it has come and waits
            writer.transport.abort()
            await eventually(lambda: front.proxy.active == 0)
    assert b"/second" not in server.received
