"""Bodies, framing and failures of one forwarded request, over real sockets on both sides."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os

import pytest

from gateway.proxy.upstream import Timeouts
from tests.support.wire import (
    PATIENCE,
    Conversation,
    answers,
    backend,
    body_of,
    gateway,
    head_of,
    read_answer,
    request,
    says,
    status_of,
)

FIVE_MB = 5 * 1024 * 1024
QUICK = Timeouts(connect=0.3, first_byte=0.2, idle=0.3)


async def test_a_target_leaves_byte_for_byte() -> None:
    """passes the raw target on unchanged: escapes, case, query and all."""
    targets = ["/a%20b", "/%C3%BC?x=%2F..%2f", "/q?a=b&&c=%zz", "/x;v=1/y", "/UPPER%7e", "/a?", "/?next=//x&y=[1]"]
    async with backend(answers()) as server, gateway(server.url) as front:
        for target in targets:
            assert status_of(await front.speak(request(f"GET {target} HTTP/1.1"))) == 200, target
        for target in targets:
            assert b"GET " + target.encode() + b" HTTP/1.1\r\n" in server.received


async def test_a_five_megabyte_upload_arrives_whole() -> None:
    """streams a large body with its Content-Length kept, every byte in place."""
    body = os.urandom(FIVE_MB)
    digest = hashlib.sha256()

    async def script(conversation: Conversation) -> None:
        head = await conversation.reader.readuntil(b"\r\n\r\n")
        assert b"\r\nContent-Length: %d\r\n" % FIVE_MB in head
        digest.update(await conversation.reader.readexactly(FIVE_MB))
        await conversation.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    async with backend(script) as server, gateway(server.url) as front:
        answer = await front.speak(
            request("POST /up HTTP/1.1", "Content-Type: multipart/form-data; boundary=x", body=body)
        )
    assert status_of(answer) == 201
    assert digest.digest() == hashlib.sha256(body).digest()


async def test_a_large_download_arrives_whole() -> None:
    """streams a large answer to a client that reads slowly."""
    body = os.urandom(FIVE_MB)
    async with backend(answers(body)) as server, gateway(server.url) as front:
        answer = await front.speak(request("GET /down HTTP/1.1"))
    assert hashlib.sha256(body_of(answer)).digest() == hashlib.sha256(body).digest()


async def test_a_chunked_upload_stays_chunked() -> None:
    """passes a body of unknown length on in chunks."""
    body = b"4\r\nWiki\r\n6;ext=1\r\npedia \r\n0\r\n\r\n"
    async with backend(answers()) as server, gateway(server.url) as front:
        assert status_of(await front.speak(request("POST /c HTTP/1.1", "Transfer-Encoding: chunked", body=body))) == 200
        head, _, rest = server.received.partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    payload = b"".join(line for line in rest.split(b"\r\n") if line in {b"Wiki", b"pedia ", b"Wikipedia "})
    assert payload == b"Wikipedia "


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ("POST /p HTTP/1.1", "Content-Length: 0", b"\r\nContent-Length: 0\r\n"),
        ("GET /g HTTP/1.1", "Range: bytes=0-9", b"\r\nRange: bytes=0-9\r\n"),
        ("DELETE /d HTTP/1.1", "If-Match: *", b"\r\nIf-Match: *\r\n"),
    ],
)
async def test_requests_without_a_body_keep_their_framing(line: str, field: str, expected: bytes) -> None:
    """adds no body and no length of its own."""
    async with backend(answers()) as server, gateway(server.url) as front:
        assert status_of(await front.speak(request(line, field))) == 200
        assert expected in server.received
        assert b"ransfer-" not in server.received


@pytest.mark.parametrize(
    ("line", "data", "status", "body", "fields"),
    [
        (
            "HEAD /h HTTP/1.1",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4711\r\n\r\n",
            200,
            b"",
            {"content-length": "4711"},
        ),
        ("GET /n HTTP/1.1", b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", 204, b"", {"x-a": "b"}),
        (
            "GET /m HTTP/1.1",
            b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 9\r\n\r\n',
            304,
            b"",
            {"etag": '"a"'},
        ),
        (
            "GET /r HTTP/1.1",
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/10\r\nContent-Length: 4\r\n\r\nabcd",
            206,
            b"abcd",
            {"content-range": "bytes 0-3/10", "content-length": "4"},
        ),
        (
            "GET /c HTTP/1.1",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            200,
            b"3\r\nabc\r\n0\r\n\r\n",
            {"transfer-encoding": "chunked"},
        ),
        (
            "GET /s HTTP/1.1",
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nSet-Cookie: c=3\r\nContent-Length: 0\r\n\r\n",
            200,
            b"",
            {"set-cookie": "a=1 | b=2 | c=3"},
        ),
        (
            "GET /l HTTP/1.1",
            b"HTTP/1.1 200 \xdcber\r\nX-Latin: caf\xe9\r\nContent-Length: 0\r\n\r\n",
            200,
            b"",
            {"x-latin": "caf\xe9"},
        ),
        ("GET /o HTTP/1.1", b"HTTP/1.0 404 Nope\r\nContent-Length: 2\r\n\r\nno", 404, b"no", {"content-length": "2"}),
    ],
)
async def test_answers_keep_status_fields_and_framing(
    line: str, data: bytes, status: int, body: bytes, fields: dict[str, str]
) -> None:
    """relays an answer as the upstream framed it, repeated fields and odd bytes included."""
    async with backend(says(data)) as server, gateway(server.url) as front:
        answer = await front.speak(request(line))
    assert status_of(answer) == status
    assert body_of(answer) == body
    assert fields.items() <= head_of(answer).items()


async def test_a_body_that_ends_with_the_connection_becomes_chunks() -> None:
    """gives a clear end to an answer that has none, and keeps the client's connection."""
    data = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end"
    async with backend(says(data, close=True)) as server, gateway(server.url) as front:
        answer = await front.speak(request("GET /e HTTP/1.1"))
    assert b"until the end" in body_of(answer)
    assert answer.endswith(b"0\r\n\r\n")
    assert "connection" not in head_of(answer)


async def test_an_old_client_gets_no_chunks() -> None:
    """ends the connection instead of sending chunks to an HTTP/1.0 client."""
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with backend(says(data)) as server, gateway(server.url) as front:
        answer = await front.speak(request("GET /old HTTP/1.0"), until_close=True)
    assert body_of(answer) == b"abc"
    assert head_of(answer)["connection"] == "close"


async def test_trailers_reach_a_client_that_wants_them() -> None:
    """passes trailers on when the client said TE: trailers, without those that would change the message."""
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 42\r\nSet-Cookie: x=1\r\n\r\n"
    async with backend(says(data)) as server, gateway(server.url) as front:
        with_trailers = await front.speak(request("GET /t HTTP/1.1", "TE: trailers", "Connection: TE"))
        assert b"TE: trailers" in server.received
        without = await front.speak(request("GET /t HTTP/1.1"))
    assert body_of(with_trailers) == b"1\r\na\r\n0\r\nX-Sum: 42\r\n\r\n"
    assert body_of(without) == b"1\r\na\r\n0\r\n\r\n"


async def test_events_are_passed_on_at_once() -> None:
    """sends the head before the first event and each event as it comes."""
    go_on = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(3):
            await go_on.wait()
            go_on.clear()
            event = b"data: %d\n\n" % number
            await conversation.send(b"%x\r\n%b\r\n" % (len(event), event))
        await go_on.wait()

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /events HTTP/1.1"))
        async with asyncio.timeout(PATIENCE):
            assert b"text/event-stream" in await reader.readuntil(b"\r\n\r\n")
            for number in range(3):
                go_on.set()
                assert await reader.readuntil(b"\n\n\r\n") == b"9\r\ndata: %d\n\n\r\n" % number
        writer.close()


async def test_interim_answers_are_relayed() -> None:
    """passes 100 and 103 on, and waits with the body as the client does."""

    async def script(conversation: Conversation) -> None:
        head = await conversation.head()
        assert b"\r\nExpect: 100-continue\r\n" in head
        await conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await conversation.exactly(5)
        await conversation.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("PUT /e HTTP/1.1", "Expect: 100-continue", "Content-Length: 5"))
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(b"hello")
            answer = await read_answer(reader)
        assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n")
        writer.close()


async def test_an_early_refusal_of_an_upload_reaches_the_client() -> None:
    """relays an answer that comes before the upload is through."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("POST /big HTTP/1.1", "Content-Length: 100000000") + b"x" * 1000)
        async with asyncio.timeout(PATIENCE):
            answer = await read_answer(reader)
        writer.close()
    assert status_of(answer) == 413
    assert body_of(answer) == b"big"


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


@pytest.mark.parametrize("fields", [("Content-Length: 1000",), ("Transfer-Encoding: chunked",)])
async def test_half_an_upload_never_looks_whole(fields: tuple[str, ...]) -> None:
    """ends the upstream's request unfinished when the client goes away within its body."""
    async with backend(answers()) as server, gateway(server.url) as front:
        _, writer = await front.connect()
        piece = b"5\r\nhello\r\n" if "chunked" in fields[0] else b"hello"
        writer.write(request("POST /u HTTP/1.1", *fields) + piece)
        await writer.drain()
        async with asyncio.timeout(PATIENCE):
            while b"hello" not in (server.received or b""):
                if server.conversations and b"hello" in server.conversations[0].reader._buffer:  # type: ignore[attr-defined]
                    break
                await asyncio.sleep(0.01)
        writer.close()
        await asyncio.wait_for(server.closed.wait(), 1.0)
        assert b"0\r\n\r\n" not in server.received.partition(b"\r\n\r\n")[2]


async def test_a_broken_chunk_ends_the_upload() -> None:
    """answers 400 and leaves the upstream without the end of the body when a chunk is malformed."""
    async with backend(answers()) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("POST /u HTTP/1.1", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
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


async def test_memory_does_not_grow_with_a_body() -> None:
    """stops reading from the upstream while the client does not read."""
    sent = 0
    stalled = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        nonlocal sent
        await conversation.head()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            try:
                async with asyncio.timeout(0.5):
                    await conversation.send(b"x" * 1_000_000)
            except TimeoutError:
                stalled.set()
                return
            sent += 1_000_000

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port, limit=1024)
        writer.write(request("GET /huge HTTP/1.1"))
        await asyncio.wait_for(stalled.wait(), 10)
        assert sent < 32_000_000
        assert not reader.at_eof()
        writer.transport.abort()
