"""One upstream connection: heads, leftovers, back-pressure, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.errors import UpstreamProtocolError
from gateway.proxy.connection import HIGH_WATER, UpstreamConnection
from tests.support.backends import Backend, Conversation, Script, backend
from tests.support.wire import PATIENCE, eventually


@asynccontextmanager
async def connected(script: Script) -> AsyncIterator[tuple[UpstreamConnection, Backend]]:
    async with backend(script) as server:
        port = int(server.url.rpartition(":")[2])
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(UpstreamConnection, "127.0.0.1", port)
        async with asyncio.timeout(PATIENCE):
            yield connection, server
        connection.close()


def sends(*pieces: bytes) -> Script:
    async def script(conversation: Conversation) -> None:
        for piece in pieces:
            await conversation.send(piece)
            await asyncio.sleep(0)

    return script


async def test_a_head_may_come_in_pieces() -> None:
    """reads a head from any number of segments and leaves what follows it unread."""
    async with connected(sends(b"HTTP/1.1 2", b"00 OK\r\nX: y\r\n", b"\r\nbo", b"dy")) as (connection, _):
        head = await connection.read_head()
        assert head.fields == ((b"X", b"y"),)
        body = b""
        while piece := await connection.read():
            body += piece
        assert body == b"body"


async def test_an_end_without_an_answer_is_a_broken_connection() -> None:
    """tells an upstream that closed before its first byte from one that answered badly."""
    async with connected(sends()) as (connection, _):
        with pytest.raises(ConnectionResetError):
            await connection.read_head()
        assert not connection.answered
    async with connected(sends(b"HTTP/1.1 200")) as (connection, _):
        with pytest.raises(UpstreamProtocolError):
            await connection.read_head()
        assert connection.answered


async def test_unread_bytes_make_a_connection_unusable() -> None:
    """takes a connection for usable only while it is open and nothing waits to be read."""

    async def script(conversation: Conversation) -> None:
        await conversation.exactly(1)
        await conversation.send(b"unasked")
        await conversation.to_end()

    async with connected(script) as (connection, _):
        states = [(connection.usable, connection.buffered)]
        connection.write(b"x")
        unasked = await connection.read()
        states.append((connection.usable, connection.buffered))
        connection.unread(unasked)
        states.append((connection.usable, connection.buffered))
        assert states == [(True, False), (True, False), (False, True)]
        connection.close()
        with pytest.raises(ConnectionResetError):
            connection.write(b"more")


async def test_what_is_not_read_is_not_taken_in() -> None:
    """stops reading from the socket when nobody reads, and goes on when somebody does."""
    total = HIGH_WATER * 40

    async def script(conversation: Conversation) -> None:
        await conversation.send(b"x" * total)
        await conversation.to_end()

    async with connected(script) as (connection, _):
        await eventually(lambda: len(connection._buffer) >= HIGH_WATER)
        await asyncio.sleep(0.05)
        assert len(connection._buffer) < 3 * HIGH_WATER
        received = 0
        while received < total:
            received += len(await connection.read())
        assert received == total


async def test_writing_waits_for_a_slow_upstream() -> None:
    """waits while the upstream takes no more, and is told when the upstream is gone."""
    release = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        conversation.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await release.wait()

    async with connected(script) as (connection, _):
        connection.write(b"x" * 20_000_000)
        draining = asyncio.create_task(connection.drain())
        done, _ = await asyncio.wait({draining}, timeout=0.05)
        assert not done
        release.set()
        with pytest.raises(ConnectionResetError):
            await draining


async def test_finishing_sends_what_was_written() -> None:
    """lets the last bytes out before it closes, where closing at once would drop them."""
    heard = asyncio.get_running_loop().create_future()

    async def script(conversation: Conversation) -> None:
        heard.set_result(await conversation.to_end())

    async with connected(script) as (connection, _):
        connection.write(b"x" * 3_000_000)
        connection.finish()
        assert len(await heard) == 3_000_000
