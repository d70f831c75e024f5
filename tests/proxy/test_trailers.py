"""Trailers of requests and answers: which of them pass, and that nothing can be smuggled in as one."""

from __future__ import annotations

import asyncio

import pytest

from gateway.proxy.trailers import TrailerWatch, announced, of_request, passing
from tests.support.backends import Conversation, backend
from tests.support.wire import PATIENCE, gateway, read_answer, request, status_of

HEAD = b"POST /u HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b"4\r\nWiki\r\n0\r\nX-Sum: 42\r\n\r\n"
FOUND = ((b"X-Sum", b"42"),)

DANGEROUS = [
    b"Content-Length",
    b"Transfer-Encoding",
    b"Host",
    b"Connection",
    b"Trailer",
    b"TE",
    b"Authorization",
    b"Cookie",
    b"Set-Cookie",
    b"Cache-Control",
    b"Content-Type",
    b"Content-Encoding",
    b"If-Match",
    b"X-Forwarded-User",
    b"X_Forwarded_User",
    b"X-Gateway-Jwt-Assertion",
    b"X-Original-URL",
    b"X-HTTP-Method-Override",
    b"Forwarded",
]


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_belongs_in_a_head_is_no_trailer(name: bytes) -> None:
    """passes no trailer on that frames, routes or authenticates a request, or that only the gateway may set."""
    fields = [(b"X-Sum", b"42"), (name, b"1"), (name.lower(), b"2"), (name.upper(), b"3")]
    assert of_request(tuple(fields)) == [(b"X-Sum", b"42")]
    assert announced([(b"Trailer", b"X-Sum, " + name), (b"trailer", name)]) == [(b"Trailer", b"X-Sum")]
    assert announced([(b"Trailer", name)]) == []


def test_an_answer_says_nothing_behind_its_body_that_browsers_act_upon() -> None:
    """passes checksums and timings of an answer on, but no cookie and no policy."""
    fields = [
        (name, b"x")
        for name in (b"Server-Timing", b"Digest", b"Set-Cookie", b"Clear-Site-Data", b"Access-Control-Allow-Origin")
    ]
    assert passing(fields) == fields[:2]


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_trailers_are_found_however_the_body_is_cut(step: int) -> None:
    """finds a request's trailers in any number of reads, the head's own included."""
    watch = TrailerWatch()
    watch.fed(HEAD + BODY[:step], resting=True)
    watch.fed(b"", resting=False)
    for start in range(step, len(BODY), step):
        assert watch.take() == ()
        watch.fed(BODY[start : start + step], resting=False)
    assert watch.take() == FOUND
    assert watch.take() == ()


@pytest.mark.parametrize(
    ("data", "resting"),
    [
        (HEAD.replace(b"Transfer-Encoding: chunked", b"Content-Length: 26") + BODY, True),
        (HEAD.replace(b"Trailer: X-Sum\r\n", b"") + BODY, True),
        (HEAD + BODY, False),
        (HEAD + BODY + HEAD, True),
        (HEAD[:-2], True),
        (HEAD + b"zz\r\n" + BODY, True),
    ],
    ids=["another framing", "no announcement", "not first", "not last", "half a head", "no chunks"],
)
def test_doubt_finds_nothing(data: bytes, resting: bool) -> None:
    """drops the trailers of a request whose bounds are not beyond doubt."""
    watch = TrailerWatch()
    watch.fed(data, resting=resting)
    assert watch.take() == ()


def test_trailers_belong_to_one_request() -> None:
    """never gives the trailers of one request, which nobody took, to the next."""
    watch = TrailerWatch()
    watch.fed(HEAD + BODY, resting=True)
    watch.fed(HEAD, resting=False)
    assert watch.take() == ()
    watch.fed(HEAD + BODY, resting=True)
    watch.fed(HEAD + b"0\r\n\r\n", resting=True)
    assert watch.take() == ()


async def test_a_request_keeps_its_trailers() -> None:
    """passes a request's announced trailers on, and none that could be taken for its head."""
    bodies: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.head()
            body = await conversation.until(b"0\r\n")
            while not body.endswith(b"\r\n\r\n"):
                body += await conversation.until(b"\r\n")
            bodies.append(body)
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    sent = b"4\r\nWiki\r\n0\r\nX-Sum: 42\r\nX-Forwarded-User: root\r\nCookie: root=1\r\nX-Other: a b\r\n\r\n"
    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            for announcement in ("Trailer: X-Sum, X-Forwarded-User", "trailer: Cookie", "X-Nothing: announced"):
                writer.write(request("POST /u HTTP/1.1", "Transfer-Encoding: chunked", announcement, body=sent))
                assert status_of(await read_answer(reader)) == 200
        writer.close()
        heads = bytes(server.received)
    whole = b"4\r\nWiki\r\n0\r\nX-Sum: 42\r\nX-Other: a b\r\n\r\n"
    assert bodies == [whole, whole, b"4\r\nWiki\r\n0\r\n\r\n"]
    assert heads.count(b"\r\nTrailer: X-Sum\r\n") == 1
    assert b"root" not in heads


async def test_an_answer_announces_its_trailers() -> None:
    """passes the names of an answer's trailers on to a client that takes them."""

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.head()
            await conversation.send(
                b"HTTP/1.1 200 OK\r\nTrailer: X-Sum, Set-Cookie\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"1\r\na\r\n0\r\nX-Sum: 42\r\nSet-Cookie: a=b\r\n\r\n"
            )

    async with backend(script) as server, gateway(server.url) as front:
        with_trailers = await front.speak(request("GET /t HTTP/1.1", "TE: trailers"))
        without = await front.speak(request("GET /t HTTP/1.1"))
    assert b"\r\nTrailer: X-Sum\r\n" in with_trailers
    assert with_trailers.endswith(b"0\r\nX-Sum: 42\r\n\r\n")
    assert b"Trailer" not in without
    assert without.endswith(b"1\r\na\r\n0\r\n\r\n")
