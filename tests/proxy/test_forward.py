"""Bodies, framing and failures of one forwarded request, over real sockets on both sides."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

from gateway.proxy.upstream import Timeouts
from tests.support.backends import Conversation, answers, backend, says
from tests.support.wire import PATIENCE, body_of, gateway, head_of, read_answer, request, status_of

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


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_interim_answers_go_to_who_knows_them(version: str) -> None:
    """passes 103 on to HTTP/1.1 clients only, to nobody what no client knows, and neither's connection fields."""
    interim = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nKeep-Alive: 1\r\n\r\nHTTP/1.1 199 Wait\r\n\r\n"
    )
    async with (
        backend(says(interim + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as server,
        gateway(server.url) as front,
    ):
        answer = await front.speak(request(f"GET /i HTTP/{version}"))
    before, _, final = answer.partition(b"HTTP/1.1 200 OK\r\n")
    assert before == (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" if version == "1.1" else b"")
    assert final.endswith(b"ok")


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
