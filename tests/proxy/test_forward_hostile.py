"""A backend that answers nonsense, breaks off or says nothing: one table, with the fast path on and off.

Each case is the third request of a client connection, so that with the fast path on it takes it, and a fourth shows
what the fault left behind.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from gateway.proxy.address import Address
from gateway.proxy.upstream import Timeouts
from tests.support.backends import Conversation, backend
from tests.support.wire import Gateway, body_of, gateway, read_answer, request, status_of

QUICK = Timeouts(connect=0.3, first_byte=0.3, idle=0.3)
BOUND = 3.0
"""Seconds in which every case has to be over; ten times what the deadlines say."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ABORTED = 0
RESET = struct.pack("ii", 1, 0)

Act = Callable[[Conversation], Awaitable[None]]


async def closes(conversation: Conversation) -> None:
    conversation.writer.close()


async def resets(conversation: Conversation) -> None:
    raw: socket.socket = conversation.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    conversation.writer.transport.abort()


async def half_closes(conversation: Conversation) -> None:
    conversation.writer.write_eof()
    await conversation.to_end()


async def stays(conversation: Conversation) -> None:
    await conversation.to_end()


async def goes_on(_: Conversation) -> None:
    """Answer the next request on the same connection, if one comes."""


async def drips(conversation: Conversation) -> None:
    for byte in b" OK\r\nX-Slow: " + b"x" * 500:
        await conversation.send(bytes([byte]))
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Fault:
    """What the backend sends, what it does then, and what the client gets: a status, or a broken answer."""

    sends: bytes
    then: Act
    status: int
    body: bytes | None = None


def bad(sends: bytes, then: Act = stays) -> Fault:
    return Fault(sends, then, 502)


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

FAULTS: dict[str, Fault] = {
    # Nothing, or not enough, of an answer.
    "closed before the head": bad(b"", closes),
    "reset before the head": bad(b"", resets),
    "half-closed before the head": bad(b"", half_closes),
    "mute": Fault(b"", stays, 504),
    "closed within the head": bad(b"HTTP/1.1 200 OK\r\nContent-", closes),
    "reset within the head": bad(b"HTTP/1.1 200 OK\r\nContent-", resets),
    "half-closed within the head": bad(b"HTTP/1.1 200 OK\r\nContent-", half_closes),
    "mute within the head": Fault(b"HTTP/1.1 200 OK\r\nContent-", stays, 504),
    "a dripping head": Fault(b"HTTP/1.1 200", drips, 504),
    "mute after 103": Fault(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", stays, 504),
    "closed after 103": bad(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", closes),
    # Half a body.
    "closed after the head": Fault(HEAD + b"Content-Length: 9\r\n\r\n", closes, ABORTED),
    "closed within the body": Fault(HEAD + b"Content-Length: 9\r\n\r\nhalf", closes, ABORTED),
    "reset within the body": Fault(HEAD + b"Content-Length: 9\r\n\r\nhalf", resets, ABORTED),
    "half-closed within the body": Fault(HEAD + b"Content-Length: 9\r\n\r\nhalf", half_closes, ABORTED),
    "mute within the body": Fault(HEAD + b"Content-Length: 9\r\n\r\nhalf", stays, ABORTED),
    "closed within a chunk": Fault(CHUNKED + b"9\r\nhalf", closes, ABORTED),
    "closed between chunks": Fault(CHUNKED + b"4\r\nhalf\r\n", closes, ABORTED),
    "reset between chunks": Fault(CHUNKED + b"4\r\nhalf\r\n", resets, ABORTED),
    "closed within the trailers": Fault(CHUNKED + b"4\r\nhalf\r\n0\r\nX-Sum: 1\r\n", closes, ABORTED),
    "mute between chunks": Fault(CHUNKED + b"4\r\nhalf\r\n", stays, ABORTED),
    "reset in a body without an end of its own": Fault(HEAD + b"\r\nhalf", resets, ABORTED),
    # Chunks that are none.
    "a chunk size that is no number": Fault(CHUNKED + b"zz\r\nab\r\n0\r\n\r\n", stays, ABORTED),
    "a chunk size of 65 bits": Fault(CHUNKED + b"1ffffffffffffffff\r\nab\r\n", stays, ABORTED),
    "a negative chunk size": Fault(CHUNKED + b"-2\r\nab\r\n0\r\n\r\n", stays, ABORTED),
    "a chunk longer than its size": Fault(CHUNKED + b"2\r\nabcd\r\n0\r\n\r\n", stays, ABORTED),
    "a chunk size line without an end": Fault(CHUNKED + b"2;" + b"x" * 5000, stays, ABORTED),
    "trailers without an end": Fault(CHUNKED + b"0\r\n" + b"X: y\r\n" * 5000, stays, ABORTED),
    "a chunk that promises exabytes": Fault(CHUNKED + b"fffffffffffffff\r\nab", closes, ABORTED),
    # Heads that are none, or more than one.
    "HTTP/0.9": bad(b"<html>hello</html>"),
    "HTTP/2": bad(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    "the preface of HTTP/2": bad(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a version that is none": bad(b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "another protocol": bad(b"220 mail.example ESMTP\r\n"),
    "a status of two digits": bad(b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    "a status of four digits": bad(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    "a status below 100": bad(b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    "two spaces before the status": bad(b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
    "LF alone": bad(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    "CR alone": bad(HEAD + b"X: a\rb\r\nContent-Length: 0\r\n\r\n"),
    "LF within a line": bad(HEAD + b"X: a\nY: b\r\nContent-Length: 0\r\n\r\n"),
    "NUL": bad(HEAD + b"X: a\0b\r\nContent-Length: 0\r\n\r\n"),
    "NUL in the reason": bad(b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"),
    "a folded line": bad(HEAD + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    "space before the colon": bad(HEAD + b"Content-Length : 0\r\n\r\n"),
    "a line without a colon": bad(HEAD + b"Content-Length\r\n\r\n"),
    "a line without a name": bad(HEAD + b": x\r\nContent-Length: 0\r\n\r\n"),
    "two lengths": bad(HEAD + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\nokok"),
    "the same length twice": bad(HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    "a list of lengths": bad(HEAD + b"Content-Length: 2, 2\r\n\r\nok"),
    "a length with a sign": bad(HEAD + b"Content-Length: +2\r\n\r\nok"),
    "a negative length": bad(HEAD + b"Content-Length: -1\r\n\r\nok"),
    "a hexadecimal length": bad(HEAD + b"Content-Length: 0x2\r\n\r\nok"),
    "a length of 70 bits": bad(HEAD + b"Content-Length: 999999999999999999999\r\n\r\nok"),
    "an empty length": bad(HEAD + b"Content-Length: \r\n\r\nok"),
    "a length and a coding": bad(HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "two codings": bad(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "another coding": bad(HEAD + b"Transfer-Encoding: identity\r\n\r\nok"),
    "a coding twice": bad(HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a coding in HTTP/1.0": bad(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "an oversized head": bad(HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n"),
    "a head of countless lines": bad(HEAD + b"X: a\r\n" * 12_000 + b"\r\n"),
    "an unasked 101": bad(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
    "interim answers without end": bad(b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
    "interim answers without end, not relayed": bad(b"HTTP/1.1 199 Wait\r\n\r\n" * 40),
    # Answers with something behind them that nobody asked for.
    "extra bytes": Fault(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", goes_on, 200, b"ok"),
    "bytes behind the last chunk": Fault(
        CHUNKED + b"2\r\nok\r\n0\r\n\r\npoison", goes_on, 200, b"2\r\nok\r\n0\r\n\r\n"
    ),
    "204 with a body": Fault(b"HTTP/1.1 204 No\r\nContent-Length: 6\r\n\r\npoison", goes_on, 204, b""),
    "304 with a body": Fault(b"HTTP/1.1 304 Not\r\n\r\npoison", goes_on, 304, b""),
    # Odd, and right all the same.
    "no reason": Fault(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", goes_on, 200, b"ok"),
    "a body until the end": Fault(HEAD + b"\r\nok", closes, 200, b"2\r\nok\r\n0\r\n\r\n"),
    "half-closed behind the answer": Fault(OK, half_closes, 200, b"ok"),
    "reset behind the answer": Fault(HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", closes, 200, b"ok"),
}


class Mind:
    """The backend: well until it is asked for the fault."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.faulty: list[Conversation] = []
        self.heads: dict[int, list[bytes]] = {}

    async def __call__(self, conversation: Conversation) -> None:
        heads = self.heads.setdefault(id(conversation), [])
        while True:
            head = await conversation.head()
            heads.append(head)
            if b"/api/fault " not in head:
                await conversation.send(OK)
                continue
            self.faulty.append(conversation)
            await conversation.send(self.fault.sends)
            await self.fault.then(conversation)
            if conversation.writer.is_closing():
                return


async def ask(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str) -> bytes:
    """The answer on this connection; empty when it is visibly broken."""
    reader, writer = streams
    async with asyncio.timeout(BOUND):
        writer.write(request(f"GET {path} HTTP/1.1"))
        try:
            answer = await read_answer(reader)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return b""
    return answer[answer.rfind(b"HTTP/1.1 ") :]  # without interim answers


async def prime(front: Gateway, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    for _ in range(2):
        assert body_of(await ask(streams, "/api/x")) == b"ok"
    assert front.replayed == (1 if front.proxy.fast is not None else 0)


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "ordinary"])
@pytest.mark.parametrize("name", FAULTS)
async def test_a_hostile_answer_is_bounded_and_leaves_nothing_behind(name: str, fast_path: bool) -> None:
    """answers 502 or 504 or breaks off visibly, drops that upstream connection, and serves the next request rightly."""
    fault = FAULTS[name]
    mind = Mind(fault)
    async with backend(mind) as server, gateway(server.url, timeouts=QUICK, fast_path=fast_path) as front:
        streams = await front.connect()
        await prime(front, streams)
        answer = await ask(streams, "/api/fault")
        assert status_of(answer) == fault.status
        if fast_path:
            assert front.replayed >= 2
        if fault.body is not None:
            assert body_of(answer) == fault.body
        if fault.status == ABORTED:
            assert streams[0].at_eof()
            streams[1].close()
            streams = await front.connect()
        following = await ask(streams, "/api/x")
        assert status_of(following) == 200
        assert body_of(following) == b"ok"
        assert b"poison" not in following
        streams[1].close()
    assert 1 <= len(mind.faulty) <= 2, "asked once, or once more on a fresh connection"
    if fault.status not in {200, 204, 304} or b"poison" in fault.sends:
        assert all(mind.heads[id(conversation)][-1].startswith(b"GET /api/fault") for conversation in mind.faulty)


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "ordinary"])
async def test_a_refused_connection_is_told_and_forgotten(fast_path: bool) -> None:
    """answers 502 while nobody listens, and serves the same client connection when somebody does again."""

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.head()
            await conversation.send(OK)

    async with backend(script) as server:
        port = int(server.url.rpartition(":")[2])
        async with gateway(server.url, timeouts=QUICK, fast_path=fast_path) as front:
            streams = await front.connect()
            await prime(front, streams)
            (pool,) = front.upstream._pools
            pool.drop_idle()
            pool.address = Address("127.0.0.1", 1, tls=False)
            for _ in range(2):
                assert status_of(await ask(streams, "/api/x")) == 502
            pool.address = Address("127.0.0.1", port, tls=False)
            assert body_of(await ask(streams, "/api/x")) == b"ok"
            streams[1].close()


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "ordinary"])
async def test_a_get_is_repeated_once_and_no_more(fast_path: bool) -> None:
    """sends a request once more on a fresh connection when kept ones died, however many of them had died."""
    asked = 0

    async def script(conversation: Conversation) -> None:
        nonlocal asked
        await conversation.head()
        await conversation.send(OK)
        await conversation.head()
        asked += 1  # takes the second request of each connection and dies

    async with backend(script) as server, gateway(server.url, fast_path=fast_path) as front:
        clients = [await front.connect() for _ in range(3)]
        connections = [await front.upstream.acquire(repeatable=True, fresh=True) for _ in range(3)]
        for connection in connections:
            connection.write(b"GET / HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(BOUND):
                await connection.read_head()
                await connection.read()
            connection.requests = 1
            front.upstream.release(connection)
        answer = await ask(clients[0], "/api/x")  # judged, so never replayed; dies once, then a fresh connection
        assert body_of(answer) == b"ok"
        assert asked == 1
        if fast_path:
            assert body_of(await ask(clients[0], "/api/x")) == b"ok"
            assert front.replayed == 1
            assert asked == 2
        for _, writer in clients:
            writer.close()


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "ordinary"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("act", [closes, resets, half_closes, stays])
async def test_a_body_is_never_sent_twice(act: Act, method: str, fast_path: bool) -> None:
    """answers 502 or 504 rather than sending an upload again, and serves the next request on the same connection."""
    bodies: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            body = await conversation.body(head)
            if b" /api/fault " in head:
                bodies.append(body)
                await act(conversation)
                return
            await conversation.send(OK)

    async with backend(script) as server, gateway(server.url, timeouts=QUICK, fast_path=fast_path) as front:
        reader, writer = streams = await front.connect()
        await prime(front, streams)
        async with asyncio.timeout(BOUND):
            writer.write(request(f"{method} /api/fault HTTP/1.1", body=b"once"))
            assert status_of(await read_answer(reader)) == (504 if act is stays else 502)
        assert body_of(await ask(streams, "/api/x")) == b"ok"
        writer.close()
    assert bodies == [b"once"]
