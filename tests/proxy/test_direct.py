"""Answers on the fast path: the same bytes as the ordinary way, whatever the backend sends and however it fails."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gateway.proxy.upstream import Timeouts
from tests.proxy.test_replay import normal, rested
from tests.support.backends import Conversation, Script, answers, backend
from tests.support.wire import PATIENCE, Gateway, body_of, eventually, gateway, head_of, read_answer, request, status_of

OK = b"HTTP/1.1 200 OK\r\n"
FINE = OK + b"Content-Length: 2\r\n\r\nok"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def then(*pieces: bytes, close: bool = False) -> Script:
    """A backend that answers the second request of a connection with these bytes, and every other one well."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(FINE)
        await conversation.head()
        for piece in pieces:
            await conversation.send(piece)
            await asyncio.sleep(0.005)  # so that pieces arrive as pieces
        if close:
            return
        while True:
            await conversation.head()
            await conversation.send(FINE)

    return script


# What the backend sends on a connection that was used before; whether it then closes; the method.
ANSWERS: dict[str, tuple[tuple[bytes, ...], bool, str]] = {
    "a body": ((FINE,), False, "GET"),
    "no body": ((OK + b"Content-Length: 0\r\n\r\n",), False, "GET"),
    "a head in pieces": ((b"HTT", b"P/1.1 200 OK\r\nContent-", b"Length: 2\r\n\r", b"\nok"), False, "GET"),
    "a body behind its head": ((OK + b"Content-Length: 2\r\n\r\n", b"ok"), False, "GET"),
    "a body in pieces": ((OK + b"Content-Length: 6\r\n\r\na", b"bc", b"def"), False, "GET"),
    "HEAD": ((OK + b"Content-Length: 2\r\n\r\n",), False, "HEAD"),
    "HEAD, chunked": ((CHUNKED,), False, "HEAD"),
    "204": ((b"HTTP/1.1 204 No Content\r\n\r\n",), False, "GET"),
    "204 with a length": ((b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",), False, "GET"),
    "304": ((b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 9\r\n\r\n',), False, "GET"),
    "404": ((b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",), False, "GET"),
    "a reason of its own": ((b"HTTP/1.1 299 Quite fine \x80\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "no reason": ((b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "chunked": ((CHUNKED + b"2\r\nok\r\n0\r\n\r\n",), False, "GET"),
    "chunked in pieces": ((CHUNKED, b"2\r\nok\r\n", b"1;x=y\r\n!\r\n", b"0\r\n\r\n"), False, "GET"),
    "chunked with trailers": ((CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",), False, "GET"),
    "until the end": ((OK + b"X: 1\r\n\r\nok",), True, "GET"),
    "HTTP/1.0 until the end": ((b"HTTP/1.0 200 OK\r\n\r\nok",), True, "GET"),
    "HTTP/1.0 with a length": ((b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",), True, "GET"),
    "close": ((OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",), True, "GET"),
    "nominated": ((OK + b"Connection: X-A, keep-alive\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "hop by hop": ((OK + b"Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "what is the gateway's": (
        (OK + b"Service-Worker-Allowed: /\r\nX-Request-Id: 9\r\nContent-Length: 0\r\n\r\n",),
        False,
        "GET",
    ),
    "cookies": ((OK + b"Set-Cookie: a=b\r\nset-cookie: c=d\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "public": ((OK + b"Cache-Control: public, s-maxage=9, max-age=5\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "private": ((OK + b"Cache-Control: private\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "no-store": ((OK + b"Cache-Control: max-age=0, No-Store\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "two cache fields": (
        (OK + b"Cache-Control: public\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n",),
        False,
        "GET",
    ),
    "vary": ((OK + b"Vary: Accept, cookie\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "vary on all": ((OK + b"Vary: *\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "two varies": ((OK + b"Vary: Authorization\r\nVary: Cookie\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "spaces": ((OK + b"X-A:  a b \t\r\nX-B:\r\nContent-Length:2\r\n\r\nok",), False, "GET"),
    "early hints": ((b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + FINE,), False, "GET"),
    "early hints before": ((b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", FINE), False, "GET"),
    "an unknown interim": ((b"HTTP/1.1 150 Hm\r\n\r\n" + FINE,), False, "GET"),
    # Faults before the client got a byte.
    "an unasked switch": ((b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",), False, "GET"),
    "interim without end": ((b"HTTP/1.1 102 Processing\r\n\r\n" * 40,), False, "GET"),
    "half a head": ((b"HTTP/1.1 200 OK\r\nContent-Le",), True, "GET"),
    "no HTTP": ((b"SSH-2.0-x\r\n\r\n",), False, "GET"),
    "two lengths": ((OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",), False, "GET"),
    "length and coding": ((OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",), False, "GET"),
    "another coding": ((OK + b"Transfer-Encoding: gzip\r\n\r\n",), False, "GET"),
    "a bad length": ((OK + b"Content-Length: +2\r\n\r\nok",), False, "GET"),
    "a bare LF": ((OK + b"X-A: 1\nX-B: 2\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "a bare CR": ((OK + b"X-A: 1\rX-B: 2\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "a folded line": ((OK + b"X-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "a bare LF in the status line": ((b"HTTP/1.1 200 OK\nX-A: 1\r\nContent-Length: 0\r\n\r\n",), False, "GET"),
    "an oversized head": ((OK + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n",), False, "GET"),
    # Faults behind it.
    "a truncated body": ((OK + b"Content-Length: 9\r\n\r\nok",), True, "GET"),
    "a truncated chunk": ((CHUNKED + b"9\r\nok",), True, "GET"),
    "a bad chunk": ((CHUNKED + b"2\r\nok\r\n", b"zz\r\n"), False, "GET"),
    "too much": ((FINE + b"HTTP/1.1 200 OK\r\n\r\n",), False, "GET"),
    "too much behind chunks": ((CHUNKED + b"0\r\n\r\nx",), False, "GET"),
}


async def told(name: str, *, fast_path: bool) -> tuple[bytes, bool, bytes, int]:
    """The answer, whether the client's connection lives on, the answer to the next request, and how many replays."""
    pieces, close, method = ANSWERS[name]
    async with backend(then(*pieces, close=close)) as server, gateway(server.url, fast_path=fast_path) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(request())
            await read_answer(reader)
            await rested(front)
            writer.write(request(f"{method} /y HTTP/1.1"))
            answer, following, alive = b"", b"", True
            try:
                answer = await read_answer(reader, head_only=method == "HEAD")
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                answer = getattr(error, "partial", b"")
                alive = False
            replayed = front.replayed
            if alive:
                await rested(front)
                writer.write(request("GET /z HTTP/1.1"))
                following = await read_answer(reader)
        writer.close()
    return normal(answer), alive, normal(following), replayed


@pytest.mark.parametrize("name", ANSWERS)
async def test_both_ways_give_the_same_answer(name: str) -> None:
    """passes on, refuses and breaks off the same answers with the fast path and without, and goes on rightly."""
    fast = await told(name, fast_path=True)
    ordinary = await told(name, fast_path=False)
    assert fast[:3] == ordinary[:3]
    assert (fast[3], ordinary[3]) == (1, 0)
    if fast[1]:
        assert (status_of(fast[2]), body_of(fast[2])) == (200, b"ok") or name == "interim without end"


async def primed(front: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose next request is replayed."""
    reader, writer = await front.connect()
    writer.write(request())
    await read_answer(reader)
    await rested(front)
    return reader, writer


@pytest.mark.parametrize("reset", [False, True])
async def test_a_dead_connection_is_no_failure(reset: bool) -> None:
    """sends a request again that a reused connection swallowed, and records it once."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(FINE)
        await conversation.head()
        if reset:
            conversation.writer.transport.abort()

    async with backend(script) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(request())
            answer = await read_answer(reader)
            await rested(front)
        writer.close()
        events = front.audit.events
        active = front.proxy.active
    assert (status_of(answer), front.replayed, active) == (200, 1, 0)
    assert len(server.conversations) == 2
    assert [event.request_id for event in events][1:] == [head_of(answer)["x-request-id"]]


async def test_silence_ends_in_time() -> None:
    """answers 504 when the backend says nothing, and breaks off an answer that stands still."""
    timeouts = Timeouts(first_byte=0.2, idle=0.2)
    async with backend(then()) as server, gateway(server.url, timeouts=timeouts) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(request())
            assert status_of(await read_answer(reader)) == 504
            await rested(front)
            server.script = then(OK + b"Content-Length: 9\r\n\r\nok")
            writer.write(request())
            assert status_of(await read_answer(reader)) == 200
            await rested(front)
            writer.write(request())
            answer = await reader.read()
        assert answer.endswith(b"\r\n\r\nok")
        assert front.replayed == 2
        writer.close()


async def test_the_client_gone_ends_the_call() -> None:
    """closes the backend's connection when the client leaves before the answer is complete."""
    async with backend(then(OK + b"Content-Length: 9\r\n\r\nok")) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(request())
            await reader.readuntil(b"ok")
            server.closed.clear()
            writer.transport.abort()
            await server.closed.wait()
            await eventually(lambda: front.proxy.active == 0)
        assert front.replayed == 1


async def test_a_slow_client_slows_the_backend() -> None:
    """holds no more of a large answer than the sockets do, while the client does not read."""
    size = 64 * 2**20
    sent = 0

    async def script(conversation: Conversation) -> None:
        nonlocal sent
        await conversation.head()
        await conversation.send(FINE)
        await conversation.head()
        await conversation.send(OK + b"Content-Length: %d\r\n\r\n" % size)
        while sent < size:
            await conversation.send(b"x" * 65_536)
            sent += 65_536

    async with backend(script) as server, gateway(server.url) as front:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)  # with a small buffer of its own
            writer.write(request())
            await read_answer(reader)
            await rested(front)
            writer.write(request())
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.2)  # nothing tells that nothing happens any more
            assert 0 < sent < size // 2
            await reader.readuntil(b"\r\n\r\n")
            got = 0
            while got < size:
                got += len(await reader.read(2**20))
        assert (got, front.replayed) == (size, 1)
        writer.close()


async def test_requests_behind_a_replay_wait_for_it() -> None:
    """answers what was sent behind a replayed request in order, each judged for itself."""
    async with backend(answers()) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(request())
            await asyncio.sleep(0)
            writer.write(request("GET /b HTTP/1.1") + request(token="forged") + request("GET /c HTTP/1.1"))
            found = [status_of(await read_answer(reader)) for _ in range(4)]
        writer.close()
    assert found == [200, 200, 401, 200]
    assert front.replayed <= 1


async def test_a_head_in_pieces_is_replayed() -> None:
    """waits for the rest of a plain head, and still replays it."""
    async with backend(answers()) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            data = request()
            for start in range(0, len(data), 30):
                writer.write(data[start : start + 30])
                await asyncio.sleep(0.002)  # so that pieces arrive as pieces
            assert status_of(await read_answer(reader)) == 200
        writer.close()
    assert front.replayed == 1


async def test_half_a_head_is_cut_off_in_time() -> None:
    """gives the rest of a plain head no longer than any other."""
    async with backend(answers()) as server, gateway(server.url, head_deadline=0.2) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(request()[:-6])
            assert await reader.read() == b""
        writer.close()


async def test_closing_waits_for_replays() -> None:
    """lets a replayed request finish when it closes, and ends its connection then."""
    go = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(FINE)
        await conversation.head()
        await go.wait()
        await conversation.send(FINE)

    async with backend(script) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(request())
            await eventually(lambda: front.replayed == 1)
            closing = asyncio.create_task(front.proxy.close(PATIENCE))
            await asyncio.sleep(0)
            go.set()
            assert body_of(await read_answer(reader)) == b"ok"
            assert await reader.read() == b""
            await closing
        with contextlib.suppress(ConnectionError):
            writer.close()
