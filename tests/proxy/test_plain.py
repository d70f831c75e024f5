"""The reader of plain requests understands less than aiohttp's parser, never more."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import http_exceptions
from aiohttp.http_parser import HttpRequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy import plain
from gateway.proxy.plain import may_become_plain, read_plain, request_target, value_of, well_formed

HEAD = b"GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n"


def test_a_plain_head() -> None:
    """sorts the lines of a plain head by what becomes of them."""
    found = read_plain(
        b"HEAD /a?b HTTP/1.1\r\nhost: H\r\nX-A: 1\r\nauthorization: Bearer t\r\nX-B: 2\r\nRemote-User: eve\r\n"
        b"X-Gateway-Fetch: mode=cors\r\nX-Request-Id: i\r\nConnection: keep-alive\r\n\r\n"
    )
    assert found is not None
    assert (found.host, found.authorization, found.authorized_at) == (b"host: H\r", b"authorization: Bearer t\r", 1)
    assert (found.kept, found.reserved) == ([b"X-A: 1\r", b"X-B: 2\r"], [b"Remote-User: eve\r"])
    assert (found.fetch, found.request_id) == (True, b"X-Request-Id: i\r")
    assert request_target(found.line) == "/a?b"


POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nOrigin: o\r\nSec-Fetch-Site: s\r\nCookie: a=b\r\n\r\n"


def test_a_plain_upload() -> None:
    """knows how long the body is, what of it is there, who started the request, and where the cookies stand."""
    found = read_plain(POST + b"hel")
    assert found is not None
    assert (found.length, found.body, found.origin, found.site) == (5, b"hel", b"o", b"s")
    assert (found.cookie, found.cookie_at) == (b"Cookie: a=b\r", 2)
    assert [value_of(line) for line in found.fields] == [b"h", b"5", b"o", b"s", b"a=b"]
    whole = read_plain(POST + b"\r\n\r\n!")
    assert whole is not None
    assert whole.body == b"\r\n\r\n!"


@pytest.mark.parametrize(
    "data",
    [
        POST + b"hello!",
        POST.replace(b"POST", b"GET") + b"hello",
        POST.replace(b"POST", b"HEAD"),
        POST.replace(b"Content-Length: 5\r\n", b"") + b"hello",
        *(POST.replace(b": 5", b": " + length) for length in (b"05", b"+5", b"5,5", b"-0", b"5 5", b"0x5", b"9" * 16)),
        *(POST.replace(line, line + line) for line in (b"Content-Length: 5\r\n", b"Origin: o\r\n", b"Cookie: a=b\r\n")),
        POST.replace(b"Sec-Fetch-Site: s\r\n", b"Sec-Fetch-Site: s\r\nsec-fetch-site: s\r\n"),
        POST.replace(b"Cookie", b"Transfer-Encoding: chunked\r\nCookie"),
        POST.replace(b"Cookie", b"Expect: 100-continue\r\nCookie"),
    ],
)
def test_what_is_no_plain_upload(data: bytes) -> None:
    """leaves bodies to the parser whose length is told in any but the one way, and whatever stands twice."""
    assert read_plain(data) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\r\n\r\n", HEAD[:-1], HEAD + b"x", HEAD + HEAD, b"\r\n" + HEAD, HEAD.replace(b"\r\n", b"\n"), b"\n" + HEAD],
)
def test_what_is_not_one_head(data: bytes) -> None:
    """reads one complete head and nothing before or behind it."""
    found = read_plain(data)
    assert found is None or request_target(found.line) is None


class Flow(asyncio.Protocol):
    """What aiohttp's parser wants for flow control."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


PIECES = st.lists(
    st.sampled_from(
        [
            b"GET /a HTTP/1.1\r\n",
            b"Host: h\r\n",
            b"X-A: 1\r\n",
            b"X-A:1\r\n",
            b"X-A : 1\r\n",
            b" X: 1\r\n",
            b"\r\n",
            b"X: a\rb\r\n",
            b"X: a\nb: c\r\n",
            b"X: \x00\r\n",
            b"X: \x80\r\n",
            b"x\r\n",
            b": 1\r\n",
            b"X:\r\n",
            b"Content-Length: 3\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: keep-alive\r\n",
            b"\r\n\r\n",
            b"Connection: close\r\n",
            b"Upgrade: websocket\r\n",
            b"Host: i\r\n",
            b"Authorization: a\r\n",
            b"\n",
            b"User-Agent: x\r\n",
            b"X_A: 1\r\n",
            b"Cookie: a=b\r\n",
            b"GET http://h/ HTTP/1.1\r\n",
            b"abc",
        ]
    ),
    max_size=8,
).map(lambda pieces: b"GET /a HTTP/1.1\r\nHost: h\r\n" + b"".join(pieces) + b"\r\n")


@settings(max_examples=800, deadline=None)
@given(PIECES)
def test_it_never_reads_what_the_parser_reads_otherwise(data: bytes) -> None:
    """agrees with aiohttp's parser on every field of whatever it takes for a plain request."""
    found = read_plain(data)
    if found is None or request_target(found.line) is None:
        return
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(Flow(), loop, 2**16, max_line_size=8190, max_field_size=32_768)  # type: ignore[arg-type]
        try:
            messages, upgraded, tail = parser.feed_data(data)
        except http_exceptions.HttpProcessingError as error:
            raise AssertionError(f"the parser refuses {data!r}: {error}") from error
    finally:
        loop.close()
    assert (len(messages), upgraded, tail) == (1, False, b"")
    message, payload = messages[0]
    assert payload.is_eof()
    assert (message.method, message.path.encode()) == ("GET", b"/a")
    lines = [b"%b: %b\r" % pair for pair in message.raw_headers]
    special = {found.host, found.authorization, found.request_id, b"Connection: keep-alive\r"}
    assert [line for line in lines if line not in special] == [*found.kept, *found.reserved]
    assert [value_of(line) for line in found.fields] == [value for _, value in message.raw_headers]
    assert not message.should_close


def test_beginnings_of_heads() -> None:
    """waits for the rest of a head only behind a plain request line."""
    assert may_become_plain(HEAD[:-4])
    assert may_become_plain(b"GET /a HTTP/1.1\r\n")
    assert not may_become_plain(HEAD)
    for data in (
        b"GET /a HTTP/1.1\r",
        b"OPTIONS /a HTTP/1.1\r\n",
        b"\x16\x03\x01\r\n",
        b"GET /a\r\n",
        HEAD[:-4] + b"x" * 40_000,
    ):
        assert not may_become_plain(data)


def test_what_is_remembered_is_bounded_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """remembers no credentials and never more than a fixed number of lines."""
    monkeypatch.setattr(plain, "_MAX_LINES", 10)
    plain._known.clear()
    for number in range(50):
        read_plain(b"GET / HTTP/1.1\r\nHost: h\r\nCookie: k\r\nauthorization: s\r\nX-A: %d\r\n\r\n" % number)
        assert len(plain._known) <= 10
    assert not [line for line in plain._known if line.startswith((b"Cookie", b"authorization"))]
    assert well_formed(b"A: b\r")
    assert not well_formed(b"A: b\x01\r")
