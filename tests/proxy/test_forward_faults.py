"""What goes wrong between client and upstream: who is told what, and what never happens."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.proxy.upstream import Timeouts
from tests.support.backends import Conversation, answers, backend, says
from tests.support.wire import PATIENCE, body_of, eventually, gateway, head_of, read_answer, request, status_of

QUICK = Timeouts(connect=0.3, first_byte=0.2, idle=0.3)


async def test_a_client_that_leaves_takes_the_upstream_call_along() -> None:
    """cancels the upstream's request within a second when the client goes away while it waits."""
    arrived = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        arrived.set()
        await conversation.to_end()

    async with backend(script) as server, gateway(server.url) as front:
        _, writer = await front.connect()
        writer.write(request("GET /slow HTTP/1.1"))
        await asyncio.wait_for(arrived.wait(), PATIENCE)
        writer.close()
        await asyncio.wait_for(server.closed.wait(), 1.0)


def _heard(conversation: Conversation) -> bytes:
    return bytes(conversation.received + conversation.reader._buffer)  # type: ignore[attr-defined]


@pytest.mark.parametrize("fields", [("Content-Length: 1000",), ("Transfer-Encoding: chunked",)])
async def test_half_an_upload_never_looks_whole(fields: tuple[str, ...]) -> None:
    """ends the upstream's request unfinished when the client goes away within its body."""
    async with backend(answers()) as server, gateway(server.url) as front:
        _, writer = await front.connect()
        piece = b"5\r\nhello\r\n" if "chunked" in fields[0] else b"hello"
        writer.write(request("POST /u HTTP/1.1", *fields) + piece)
        await writer.drain()
        await eventually(lambda: bool(server.conversations) and b"hello" in _heard(server.conversations[0]))
        writer.close()
        await asyncio.wait_for(server.closed.wait(), 1.0)
        assert b"0\r\n\r\n" not in server.received.partition(b"\r\n\r\n")[2]


async def test_a_broken_chunk_ends_the_upload() -> None:
    """answers 400 and leaves the upstream without the end of the body when a chunk is malformed."""
    async with backend(answers()) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("POST /u HTTP/1.1", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        await eventually(lambda: bool(server.conversations) and b"hello" in _heard(server.conversations[0]))
        writer.write(b"zz\r\nbad\r\n0\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            answer = await read_answer(reader)
        writer.close()
        await asyncio.wait_for(server.closed.wait(), 1.0)
        assert not server.received.endswith(b"0\r\n\r\n")
    assert status_of(answer) == 400


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nparti\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nparti\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npartial too long\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_truncated_answer_is_never_a_clean_end(data: bytes, version: str) -> None:
    """breaks the client's connection when the upstream's answer breaks off or turns bad."""
    async with backend(says(data, close=True)) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request(f"GET /t HTTP/{version}"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):  # noqa: PT012 - one conversation
            async with asyncio.timeout(PATIENCE):
                await read_answer(reader)
                # Only reached by an HTTP/1.0 client, for whom an orderly end would look like success.
                raise asyncio.IncompleteReadError(b"", None) if version == "1.1" else AssertionError("a clean end")
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 40,
        b"HTTP/1.1 200 OK\r\nContent-",
    ],
)
async def test_a_bad_answer_is_a_502(data: bytes) -> None:
    """answers 502 for what is no answer, and drops that upstream connection."""
    async with backend(says(data, close=data.endswith(b"Content-"))) as server, gateway(server.url) as front:
        answer = await front.speak(request("GET /bad HTTP/1.0"))
        assert status_of(answer[answer.rfind(b"HTTP/1.") :].replace(b"HTTP/1.0", b"HTTP/1.1")) == 502
        assert json.loads(body_of(answer[answer.rfind(b"HTTP/1.") :]))["code"] == "upstream_protocol"
        await asyncio.wait_for(server.closed.wait(), 1.0)


async def test_no_upstream_is_a_502_page_and_problem() -> None:
    """tells a person and a script, each in their form, that the application does not answer."""
    async with gateway("http://127.0.0.1:1") as front:
        page = await front.speak(request("GET / HTTP/1.1", "Accept: text/html"))
        problem = await front.speak(request("GET / HTTP/1.1"))
    assert status_of(page) == status_of(problem) == 502
    assert b"<h1>The application does not answer.</h1>" in page
    assert json.loads(body_of(problem))["code"] == "upstream_unreachable"
    assert int(head_of(problem)["retry-after"]) > 0
    assert "no-store" in head_of(page)["cache-control"]


async def test_a_mute_upstream_is_a_504() -> None:
    """gives up on an upstream that takes the request and says nothing."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.to_end()

    async with backend(script) as server, gateway(server.url, timeouts=QUICK) as front:
        answer = await front.speak(request("GET /mute HTTP/1.1"))
        await asyncio.wait_for(server.closed.wait(), 1.0)
    assert status_of(answer) == 504
    assert json.loads(body_of(answer))["code"] == "upstream_timeout"


async def test_an_upstream_that_falls_silent_breaks_the_answer() -> None:
    """aborts an answer whose body stops coming."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial")
        await conversation.to_end()

    async with backend(script) as server, gateway(server.url, timeouts=QUICK) as front:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await front.speak(request("GET /drip HTTP/1.1"))


async def test_a_connection_is_used_again() -> None:
    """keeps the upstream's connection for the next request."""
    async with backend(answers()) as server, gateway(server.url) as front:
        for _ in range(5):
            assert status_of(await front.speak(request())) == 200
        assert len(server.conversations) == 1


async def test_a_connection_with_unread_bytes_is_not_used_again() -> None:
    """never gives the surplus of one answer to the next request."""
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    async with backend(says(data)) as server, gateway(server.url) as front:
        for _ in range(3):
            assert body_of(await front.speak(request())) == b"ok"
        assert len(server.conversations) == 3


async def test_a_connection_that_died_idle_costs_no_request() -> None:
    """repeats a GET on a fresh connection when the kept one was closed by the upstream meanwhile."""
    answered = 0

    async def script(conversation: Conversation) -> None:
        nonlocal answered
        await conversation.head()
        answered += 1
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await conversation.head()  # takes the second request and dies

    async with backend(script) as server, gateway(server.url) as front:
        assert body_of(await front.speak(request())) == b"ok"
        assert body_of(await front.speak(request())) == b"ok"
        assert answered == 2
        assert len(server.conversations) == 2


async def test_a_post_is_never_sent_twice() -> None:
    """answers 502 rather than repeating a request that may have had its effect."""

    async def script(conversation: Conversation) -> None:
        await conversation.body(await conversation.head())
        if len(server.conversations) == 1 and conversation.received.count(b"POST") < 2:
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await conversation.body(await conversation.head())

    async with backend(script) as server, gateway(server.url) as front:
        assert status_of(await front.speak(request("POST /p HTTP/1.1", body=b"once"))) == 200
        assert status_of(await front.speak(request("POST /p HTTP/1.1", body=b"twice"))) == 502
        assert server.received.count(b"twice") == 1


async def test_the_next_request_after_a_fault_is_answered_rightly() -> None:
    """keeps the client's connection usable after a 502."""
    faulty = True

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(b"junk\r\n\r\n" if faulty else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(request())
            assert status_of(await read_answer(reader)) == 502
            faulty = False
            writer.write(request())
            assert body_of(await read_answer(reader)) == b"ok"
        writer.close()
