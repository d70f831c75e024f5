"""Ending connections without losing a request."""

from __future__ import annotations

import asyncio
import time

from gateway.proxy.drain import drain
from tests.support.backends import Conversation, answers, backend
from tests.support.wire import GOOD, Gateway, eventually, gateway, read_answer

REQUEST = f"GET /x HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer {GOOD}\r\n\r\n".encode()


async def test_every_answer_says_that_it_is_the_last() -> None:
    """... answers a request that comes on a kept connection after the end began, and says that it is the last one."""
    async with backend(answers()) as app, gateway(app.url) as proxy:
        reader, writer = await proxy.connect()
        # The second goes by the fast path, whose answers say nothing.
        for _ in range(2):
            writer.write(REQUEST)
            assert b"\r\nConnection: close\r\n" not in await read_answer(reader)
        closing = asyncio.create_task(proxy.proxy.close(5))
        await eventually(lambda: proxy.proxy._closing)
        writer.write(REQUEST)
        answer = await read_answer(reader)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert await reader.read() == b""
        async with asyncio.timeout(2):
            await closing
        writer.close()


async def test_our_own_answers_say_so_too() -> None:
    """... says it in a refusal as well."""
    async with backend(answers()) as app, gateway(app.url) as proxy:
        reader, writer = await proxy.connect()
        refused = b"GET /x HTTP/1.1\r\nHost: app.example\r\n\r\n"
        writer.write(refused)
        assert b"\r\nConnection: close\r\n" not in await read_answer(reader)
        closing = asyncio.create_task(proxy.proxy.close(5))
        await eventually(lambda: proxy.proxy._closing)
        writer.write(refused)
        assert b"\r\nConnection: close\r\n" in await read_answer(reader)
        await closing
        writer.close()


async def test_an_answer_that_had_begun_is_not_the_last() -> None:
    """... finishes an answer that had begun, and serves what its client sends next, because it was told nothing."""
    go_on = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await go_on.wait()
        await conversation.send(b"cd")
        await answers()(conversation)

    async with backend(script) as app, gateway(app.url) as proxy:
        reader, writer = await proxy.connect()
        writer.write(REQUEST)
        begun = await reader.readuntil(b"\r\n\r\nab")
        assert b"\r\nConnection: close\r\n" not in begun
        closing = asyncio.create_task(proxy.proxy.close(5))
        await eventually(lambda: proxy.proxy._closing)
        go_on.set()
        assert await reader.readexactly(2) == b"cd"
        writer.write(REQUEST)
        assert b"\r\nConnection: close\r\n" in await read_answer(reader)
        await closing
        writer.close()


async def test_unused_connections_do_not_hold_up_the_end() -> None:
    """... closes connections without a request after a moment, long before the grace is over."""
    async with backend(answers()) as app, gateway(app.url) as proxy:
        reader, writer = await proxy.connect()
        writer.write(REQUEST)
        await read_answer(reader)
        _, silent = await proxy.connect()
        began = time.monotonic()
        await proxy.proxy.close(30)
        assert time.monotonic() - began < 10
        assert await reader.read() == b""
        writer.close()
        silent.close()


async def _stuck(proxy: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await proxy.connect()
    writer.write(b"POST /x HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer %b\r\n" % GOOD.encode())
    writer.write(b"Content-Length: 100\r\n\r\nhalf")
    await eventually(lambda: proxy.proxy.active == 1)
    return reader, writer


async def test_who_is_stuck_is_cut_off() -> None:
    """... ends a request that does not end, when the grace is over."""
    async with backend(answers()) as app, gateway(app.url) as proxy:
        reader, writer = await _stuck(proxy)
        async with asyncio.timeout(5):
            await proxy.proxy.close(0.2)
            assert await reader.read() == b""
        writer.close()


async def test_a_hurry_ends_the_wait() -> None:
    """... waits for nobody any more when it is told to hurry."""
    async with backend(answers()) as app, gateway(app.url) as proxy:
        reader, writer = await _stuck(proxy)
        closing = asyncio.create_task(proxy.proxy.close(60))
        await eventually(lambda: proxy.proxy._closing)
        proxy.proxy.hurry()
        async with asyncio.timeout(5):
            await closing
            assert await reader.read() == b""
        writer.close()


class One:
    """A connection as the drain sees it."""

    def __init__(self, *, idle: bool) -> None:
        self.idle = idle
        self.closed = False

    def force_close(self) -> None:
        self.closed = True


class All:
    def __init__(self, *clients: One) -> None:
        self.all = clients

    @property
    def clients(self) -> list[One]:
        return [one for one in self.all if not one.closed]


async def test_the_drain_tells_whether_somebody_was_cut_off() -> None:
    """... tells an end without loss from one with."""
    assert await drain(All(), 10, asyncio.Event())
    assert await drain(All(One(idle=True)), 0.05, asyncio.Event())
    assert not await drain(All(One(idle=False), One(idle=True)), 0.05, asyncio.Event())
