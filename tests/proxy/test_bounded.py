"""One connection within its bounds: bodies and answers that hardly move, bodies and heads that are too large."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

import pytest

from gateway.proxy.limits import Limits
from tests.support.backends import Conversation, answers, backend
from tests.support.wire import (
    PATIENCE,
    Gateway,
    body_of,
    eventually,
    gateway,
    head_of,
    read_answer,
    request,
    status_of,
)

WINDOW: Final = 0.4
SLOW: Final = Limits(min_rate=1_000, upload_window=WINDOW, download_window=WINDOW)
"""A floor of 400 bytes in each window."""
CHUNKED: Final = "Transfer-Encoding: chunked"

both = pytest.mark.parametrize("fast_path", [True, False])


async def warmed(front: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose first request was answered, so that the next one may take the fast path."""
    reader, writer = await front.connect()
    writer.write(request())
    assert status_of(await asyncio.wait_for(read_answer(reader), PATIENCE)) == 200
    return reader, writer


@both
@pytest.mark.parametrize("framing", ["Content-Length: 100000", CHUNKED])
async def test_a_body_that_hardly_moves_is_a_408(fast_path: bool, framing: str) -> None:
    """answers a body that drips with a 408, ends its connection, and never lets the backend see a whole request."""
    async with backend(answers()) as server, gateway(server.url, limits=SLOW, fast_path=fast_path) as front:
        reader, writer = await warmed(front)
        server.closed.clear()
        writer.write(request("POST /upload HTTP/1.1", framing))

        async def drip() -> None:
            while True:
                writer.write(b"1\r\nx\r\n" if framing == CHUNKED else b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        dripping.cancel()
        assert status_of(answer) == 408
        assert head_of(answer)["connection"] == "close"
        assert b'"body_too_slow"' in body_of(answer)
        assert "body_too_slow" in front.audit.reasons
        await asyncio.wait_for(server.closed.wait(), PATIENCE)
        assert b"\r\n0\r\n\r\n" not in server.received
        assert server.received.count(b"x") < 1_000
        writer.close()


@both
async def test_a_body_that_moves_is_taken_however_long_it_takes(fast_path: bool) -> None:
    """takes a body over many windows as long as enough of it comes in each."""
    pieces = 16
    async with backend(answers()) as server, gateway(server.url, limits=SLOW, fast_path=fast_path) as front:
        reader, writer = await warmed(front)
        writer.write(request("PUT /upload HTTP/1.1", f"Content-Length: {pieces * 2_000}"))
        for _ in range(pieces):
            writer.write(b"x" * 2_000)
            await asyncio.sleep(WINDOW / 5)
        assert status_of(await asyncio.wait_for(read_answer(reader), PATIENCE)) == 200
        assert server.received.count(b"x" * 2_000) == pieces
        writer.close()


@both
async def test_a_slow_backend_is_not_the_clients_fault(fast_path: bool) -> None:
    """waits for a backend that takes a body slowly, and for one that answers late, without blaming the client."""
    size = 3_000_000

    async def slow(conversation: Conversation) -> None:
        head = await conversation.head()
        if b"POST" in head:
            await asyncio.sleep(WINDOW * 3)
        await conversation.body(head)
        await asyncio.sleep(WINDOW * 3)
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with backend(slow) as server, gateway(server.url, limits=SLOW, fast_path=fast_path) as front:
        reader, writer = await front.connect()
        writer.write(request("POST /upload HTTP/1.1", f"Content-Length: {size}") + b"x" * size)
        assert status_of(await asyncio.wait_for(read_answer(reader), PATIENCE)) == 200
        assert "body_too_slow" not in front.audit.reasons
        writer.close()


async def test_who_waits_for_100_continue_is_not_slow() -> None:
    """counts no time in which a client waits to be asked for its body."""

    async def late(conversation: Conversation) -> None:
        head = await conversation.head()
        await asyncio.sleep(WINDOW * 3)
        await conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await conversation.body(head)
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with backend(late) as server, gateway(server.url, limits=SLOW) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(request("POST /u HTTP/1.1", "Expect: 100-continue", "Content-Length: 1"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(b"x")
            assert status_of(await read_answer(reader)) == 200
        writer.close()


def reluctant(port: int) -> socket.socket:
    """A client whose kernel takes little."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client


async def endless(conversation: Conversation) -> None:
    await conversation.head()
    with contextlib.suppress(ConnectionError):
        await conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await conversation.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")


@both
async def test_an_answer_that_is_not_taken_is_broken_off(fast_path: bool) -> None:
    """resets a client who stops reading, says so, and ends the call to the backend."""
    async with backend(endless) as server, gateway(server.url, limits=SLOW, fast_path=fast_path) as front:
        client = reluctant(front.port)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, request())
        await asyncio.wait_for(server.closed.wait(), PATIENCE)

        async def to_end() -> None:
            while await loop.sock_recv(client, 65_536):
                pass

        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(to_end(), PATIENCE)
        client.close()
        assert front.audit.reasons.count("answer_too_slow") == 1
        await eventually(lambda: front.proxy.bounds.admission.open == 0)


async def test_the_last_bytes_are_not_waited_for_without_end() -> None:
    """gives up on a connection that ends while its client takes nothing, though all was written."""
    large = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"

    async def once(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(large % 6_000_000 + b"x" * 6_000_000)

    async with backend(once) as server, gateway(server.url, limits=SLOW) as front:
        client = reluctant(front.port)
        await asyncio.get_running_loop().sock_sendall(client, request("GET / HTTP/1.1", "Connection: close"))
        await eventually(lambda: front.proxy.bounds.admission.open == 1)
        await eventually(lambda: front.proxy.bounds.admission.open == 0)
        client.close()
        assert "answer_too_slow" in front.audit.reasons


async def test_silence_is_not_slowness() -> None:
    """leaves an event stream alone that is silent for many windows, and one that waits for its first byte."""

    async def stream(conversation: Conversation) -> None:
        await conversation.head()
        await asyncio.sleep(WINDOW * 3)
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(WINDOW * 3)
        await conversation.send(b"b")

    async with backend(stream) as server, gateway(server.url, limits=SLOW) as front:
        answer = await front.speak(request())
    assert body_of(answer) == b"ab"


@both
@pytest.mark.parametrize("framing", ["Content-Length: 5001", CHUNKED])
async def test_a_body_above_the_limit_is_a_413(fast_path: bool, framing: str) -> None:
    """answers a body above the limit with a 413, announced or not, and never lets the backend see all of it."""
    limits = Limits(body=5_000)
    async with backend(answers()) as server, gateway(server.url, limits=limits, fast_path=fast_path) as front:
        reader, writer = await warmed(front)
        writer.write(request("POST /upload HTTP/1.1", framing))
        body = b"x" * 5_001
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if framing == CHUNKED else body)
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        assert status_of(answer) == 413
        assert len(answer) < 1_000
        assert b'"body_too_large"' in body_of(answer)
        assert front.audit.reasons.count("body_too_large") == 1
        assert b"\r\n0\r\n\r\n" not in server.received
        writer.close()


@both
async def test_a_body_at_the_limit_passes(fast_path: bool) -> None:
    """passes a body on that is exactly as large as it may be."""
    limits = Limits(body=5_000)
    async with backend(answers()) as server, gateway(server.url, limits=limits, fast_path=fast_path) as front:
        reader, writer = await warmed(front)
        for framing in ("Content-Length: 5000", CHUNKED):
            body = b"x" * 5_000
            sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if framing == CHUNKED else body
            writer.write(request("POST /upload HTTP/1.1", framing) + sent)
            assert status_of(await asyncio.wait_for(read_answer(reader), PATIENCE)) == 200
        writer.close()


@both
async def test_a_head_in_pieces_is_measured(fast_path: bool) -> None:
    """answers a head that becomes too large with a 431 before it is complete, although each of its lines may be."""
    async with gateway("http://127.0.0.1:1", fast_path=fast_path) as front:
        reader, writer = await front.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: app.example\r\n")
        for number in range(10):
            await asyncio.sleep(0)
            writer.write(b"X-%d: %b\r\n" % (number, b"v" * 30_000))
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        assert status_of(answer) == 431
        assert b'"headers_too_large"' in answer
        writer.close()


async def test_a_refusal_arrives_although_the_client_goes_on_sending() -> None:
    """lets a refusal arrive whole at a client who is still sending, then closes."""
    async with gateway("http://127.0.0.1:1") as front:
        reader, writer = await front.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        answer = await asyncio.wait_for(read_answer(reader), PATIENCE)
        assert status_of(answer) == 400
        for _ in range(20):
            writer.write(b"x" * 65_536)
            await asyncio.wait_for(writer.drain(), PATIENCE)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        assert front.proxy.bounds.admission.open == 1
        writer.close()
        await eventually(lambda: front.proxy.bounds.admission.open == 0)


async def test_an_idle_connection_is_closed_in_time() -> None:
    """closes a kept connection that was idle for as long as it may be, and counts the time anew with each request."""
    async with backend(answers()) as server, gateway(server.url, limits=Limits(idle=0.5)) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                writer.write(request())
                assert status_of(await read_answer(reader)) == 200
                await asyncio.sleep(0.25)
            assert await reader.read() == b""
        writer.close()


async def test_half_a_head_behind_a_request_has_a_deadline_too() -> None:
    """closes a connection on which half a head came while the request before it was handled, and nothing after that."""
    go = asyncio.Event()

    async def late(conversation: Conversation) -> None:
        await conversation.head()
        await go.wait()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with backend(late) as server, gateway(server.url, limits=Limits(head=0.3), fast_path=False) as front:
        reader, writer = await front.connect()
        writer.write(request())
        await eventually(lambda: bool(server.received))
        writer.write(b"GET /half HTTP/1.1\r\nHo")
        await eventually(lambda: any(one._measured.head for one in front.proxy._server.connections))  # type: ignore[union-attr]
        go.set()
        async with asyncio.timeout(PATIENCE):
            assert status_of(await read_answer(reader)) == 200
            assert await reader.read() == b""
        assert front.audit.reasons[-1] == "head_too_slow"
        writer.close()
