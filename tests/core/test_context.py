"""The request, before judgement."""

from __future__ import annotations

import pytest

from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target


def test_repeated_fields_stay_apart() -> None:
    """... keeps the lines of a repeated field apart and in order, whatever their case."""
    headers = Headers(((b"A", b"1"), (b"b", b"2"), (b"a", b"3")))
    assert headers.all(b"a") == ["1", "3"]
    assert headers.one(b"a") is None
    assert headers.one(b"b") == "2"
    assert headers.one(b"c") is None
    assert headers.octets(b"a") == [b"1", b"3"]
    assert list(headers.octets(b"c")) == []
    assert b"b" in headers
    assert list(headers) == [(b"A", b"1"), (b"b", b"2"), (b"a", b"3")]


def test_a_representation_shows_no_value() -> None:
    """... never shows a header's value where a log could catch it."""
    headers = Headers(((b"Authorization", b"Bearer secret"),))
    context = RequestContext("GET", "http", "h", parse_target("/"), "192.0.2.1", headers)
    assert "secret" not in repr(headers) + repr(context)
    assert "Authorization" in repr(headers)


@pytest.mark.parametrize(
    ("method", "websocket", "safe"),
    [
        ("GET", False, True),
        ("HEAD", False, True),
        ("OPTIONS", False, True),
        ("POST", False, False),
        ("GET", True, False),
    ],
)
def test_safe_methods(method: str, websocket: bool, safe: bool) -> None:
    """... counts a WebSocket handshake as unsafe, since it opens a channel for writing."""
    assert RequestContext(method, "http", "h", parse_target("/"), "", Headers(()), websocket).safe is safe
