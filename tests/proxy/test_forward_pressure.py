"""Slow readers, slow writers and clients that leave: nothing piles up, and nothing goes on for nobody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.proxy.connection import HIGH_WATER
from tests.support.backends import Conversation, backend
from tests.support.wire import PATIENCE, Gateway, eventually, gateway, read_answer, request, status_of

MEGABYTE = 1_000_000
SMALL = 65_536
"""Bytes of the kernel's buffers on both ends, as far as the kernel lets itself be told."""
BOUND = 15 * MEGABYTE
"""More than all buffers on the way can hold, kernel's included, and much less than what is sent."""
MUCH = 64 * MEGABYTE


@asynccontextmanager
async def narrow_client(front: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client with small buffers, so that what piles up piles up elsewhere."""
    raw = socket.socket()
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        raw.setsockopt(socket.SOL_SOCKET, option, SMALL)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", front.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=1024)
    yield reader, writer
    writer.transport.abort()


async def prime(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            streams[1].write(request("GET /api/x HTTP/1.1"))
            assert status_of(await read_answer(streams[0])) == 200


async def stalled(moved: list[int], total: int) -> None:
    """Wait until nothing moves any more, or everything has."""
    still = 0
    async with asyncio.timeout(30):
        before = -1
        while still < 20 and moved[0] < total:
            still = still + 1 if moved[0] == before else 0
            before = moved[0]
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "ordinary"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
async def test_a_download_waits_for_its_client(fast_path: bool, chunked: bool) -> None:
    """reads from the backend no faster than the client does, and goes on when the client does."""
    sent = [0]

    async def script(conversation: Conversation) -> None:
        while b"/api/big " not in await conversation.head():
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % MUCH
        await conversation.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        piece = b"x" * 100_000
        while sent[0] < MUCH:
            await conversation.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            sent[0] += len(piece)
        await conversation.send(b"0\r\n\r\n" if chunked else b"")
        await conversation.to_end()

    async with (
        backend(script) as server,
        gateway(server.url, fast_path=fast_path) as front,
        narrow_client(front) as (reader, writer),
    ):
        await prime((reader, writer))
        writer.write(request("GET /api/big HTTP/1.1"))
        await stalled(sent, MUCH)
        assert sent[0] < BOUND
        assert front.replayed == (2 if fast_path else 0)
        got = 0
        async with asyncio.timeout(30):
            while got < MUCH:
                got += len(await reader.read(MEGABYTE))
        assert sent[0] == MUCH


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "ordinary"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
async def test_an_upload_waits_for_its_backend(fast_path: bool, chunked: bool) -> None:
    """takes from the client no faster than the backend does, and goes on when the backend does."""
    go_on = asyncio.Event()
    got = [0]

    async def script(conversation: Conversation) -> None:
        while b"/api/up " not in await conversation.head():
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await go_on.wait()
        while got[0] < MUCH:
            got[0] += len(await conversation.reader.read(MEGABYTE))
        await conversation.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    async with (
        backend(script) as server,
        gateway(server.url, fast_path=fast_path) as front,
        narrow_client(front) as (reader, writer),
    ):
        await prime((reader, writer))
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {MUCH}"
        writer.write(request("POST /api/up HTTP/1.1", framing))
        sent = [0]

        async def pour() -> None:
            piece = b"x" * 100_000
            while sent[0] < MUCH:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                await writer.drain()
                sent[0] += len(piece)
            writer.write(b"0\r\n\r\n" if chunked else b"")

        pouring = asyncio.create_task(pour())
        await stalled(sent, MUCH)
        assert sent[0] < BOUND
        go_on.set()
        async with asyncio.timeout(30):
            assert status_of(await read_answer(reader)) == 201
            await pouring


def test_the_bound_is_honest() -> None:
    """would notice if bodies were collected: what is sent is far more than what may be under way."""
    assert BOUND * 4 < MUCH
    assert HIGH_WATER * 10 < BOUND


LEAVING = {
    "before the head": b"",
    "within the head": b"HTTP/1.1 200 OK\r\nX-A: ",
    "within a body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",
    "within an event stream": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
    ),
}


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "ordinary"])
@pytest.mark.parametrize("when", LEAVING)
async def test_who_leaves_is_not_served_on(when: str, fast_path: bool) -> None:
    """ends the call to the backend within a second of the client's leaving, wherever the answer stands."""
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def script(conversation: Conversation) -> None:
        while b"/api/leave " not in await conversation.head():
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await conversation.send(LEAVING[when])
        waiting.set()
        try:
            await conversation.to_end()
        except ConnectionResetError:
            pass
        finally:
            ended.set()

    async with backend(script) as server, gateway(server.url, fast_path=fast_path) as front:
        streams = await front.connect()
        await prime(streams)
        streams[1].write(request("GET /api/leave HTTP/1.1"))
        await asyncio.wait_for(waiting.wait(), PATIENCE)
        if b"\r\n\r\n" in LEAVING[when]:
            await asyncio.wait_for(streams[0].readuntil(b"\r\n\r\n"), PATIENCE)
        streams[1].close()
        await asyncio.wait_for(ended.wait(), 1.0)
        await eventually(lambda: front.upstream.standings()[0].busy == 0)


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "ordinary"])
async def test_who_leaves_within_an_upload_takes_it_along(fast_path: bool) -> None:
    """ends the call to the backend within a second when the client leaves within its body."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def script(conversation: Conversation) -> None:
        while b"/api/up " not in await conversation.head():
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await conversation.exactly(4)
        begun.set()
        try:
            await conversation.to_end()
        except ConnectionResetError:
            pass
        finally:
            ended.set()

    async with backend(script) as server, gateway(server.url, fast_path=fast_path) as front:
        streams = await front.connect()
        await prime(streams)
        streams[1].write(request("PUT /api/up HTTP/1.1", "Content-Length: 1000") + b"half")
        await asyncio.wait_for(begun.wait(), PATIENCE)
        streams[1].close()
        await asyncio.wait_for(ended.wait(), 1.0)
