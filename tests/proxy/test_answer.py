"""The strict reader of upstream answers, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamProtocolError
from gateway.proxy.answer import MAX_CHUNK_LINE, MAX_HEAD_SIZE, MAX_TRAILER_SIZE, ChunkedBody, head_end, parse_head


def test_a_head_is_read() -> None:
    """reads status, reason, fields and framing."""
    head = parse_head(b"HTTP/1.1 200 Very OK\r\nX-A:  b \r\nx-a:\r\nContent-Length: 007\r\n\r\n")
    assert (head.status, head.reason, head.length, head.chunked, head.persistent) == (200, b"Very OK", 7, False, True)
    assert head.fields == ((b"X-A", b"b"), (b"x-a", b""), (b"Content-Length", b"007"))


@pytest.mark.parametrize(
    ("raw", "persistent"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200\r\nConnection: x, CLOSE\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
def test_persistence_is_told_by_version_and_connection(raw: bytes, persistent: bool) -> None:
    """knows whether the upstream takes another request (RFC 9112 section 9.3)."""
    assert parse_head(raw).persistent is persistent


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: v\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA B: v\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: v\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: v\r\n\tfolded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_malformed_head_is_refused(raw: bytes) -> None:
    """passes no head on that another reader could understand differently."""
    with pytest.raises(UpstreamProtocolError):
        parse_head(raw)


@pytest.mark.parametrize(
    ("method", "status", "bodyless"),
    [
        ("HEAD", 200, True),
        ("GET", 204, True),
        ("GET", 304, True),
        ("GET", 101, True),
        ("GET", 200, False),
        ("POST", 205, False),
    ],
)
def test_some_answers_have_no_body(method: str, status: int, bodyless: bool) -> None:
    """knows which answers end with their head (RFC 9112 section 6.3)."""
    assert parse_head(b"HTTP/1.1 %d X\r\n\r\n" % status).bodyless(method) is bodyless


def test_a_head_has_an_end_and_a_limit() -> None:
    """finds the end of a head and gives up on one without."""
    assert head_end(b"a\r\n\r\nrest") == 5
    assert head_end(b"") == head_end(b"HTT") == head_end(b"HTTP/1.1 200 OK\r\n\r") == -1
    with pytest.raises(UpstreamProtocolError):
        head_end(b"a" * MAX_HEAD_SIZE)


@pytest.mark.parametrize(
    "data",
    [b"h", b"hello", b"HTTP/2", b"PRI * HTTP/2.0\r\n", b"\r\nHTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\nX: y\n\n"],
)
def test_what_cannot_become_a_head_is_not_waited_for(data: bytes) -> None:
    """refuses HTTP/0.9, HTTP/2 and lines that end in LF alone at their first bytes, not at a deadline."""
    with pytest.raises(UpstreamProtocolError, match="no answer"):
        head_end(data)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 20))
def test_chunks_are_decoded_however_they_are_cut(pieces: list[bytes], step: int) -> None:
    """decodes the same body from the same bytes whatever segments they come in."""
    coded = b"".join(b"%X;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX-T: 1\r\n\r\nrest"
    body, decoded = ChunkedBody(), b""
    for start in range(0, len(coded), step):
        decoded += body.feed(coded[start : start + step])
    assert decoded == b"".join(pieces)
    assert body.done
    assert body.rest == b"rest"
    assert body.trailers == ((b"X-T", b"1"),)


@pytest.mark.parametrize(
    "coded",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1\n",
        b"1\r\nab\r\n",
        b"1\r\na\n\r",
        b"1;a\x00\r\n",
        b"1;a\nb\r\n",
        b"fffffffffffffffff\r\n",
        b"1;" + b"x" * MAX_CHUNK_LINE,
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\nX: " + b"a" * MAX_TRAILER_SIZE + b"\r\n\r\n",
        b"0\r\n" + b"X: a\r\n" * MAX_TRAILER_SIZE,
    ],
)
def test_malformed_chunks_are_refused(coded: bytes) -> None:
    """passes on no chunked coding that another reader could cut differently."""
    body = ChunkedBody()
    with pytest.raises(UpstreamProtocolError):
        body.feed(coded + b"1\r\na\r\n0\r\n\r\n" if coded == b"1\n" else coded)
