"""Heads that came before, known again by all of their bytes but the credentials."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.known_heads import MAX_KEY, Cut, cut, without_credentials
from gateway.proxy.plain import MAX_HEAD, read_plain

HEAD = (
    b"GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer secret\r\nX-A: 1\r\nCookie: a=private; b=c\r\n"
    b"X-Forwarded-For: 198.51.100.1\r\n\r\n"
)
PIECES = st.sampled_from(
    b"\r\nAuthorization: |\r\nCookie: |\r\nAuthorization:|\r\ncookie: |\r\n|\r|\n|Bearer a.b.c|a=b|Host: h|X-A: 1|"
    b"GET / HTTP/1.1|\r\n\r\n|: ".split(b"|")
)


def joined(pieces: Cut) -> bytes:
    """The message again."""
    data, authorization, cookie = pieces
    for line in (cookie, authorization):
        if line is not None:
            name = b"\r\n" + line.partition(b" ")[0] + b" "
            before, mark, behind = data.partition(name)
            data = before + mark + line.partition(b" ")[2].removesuffix(b"\r") + behind
    return data


def test_a_head_without_its_credentials() -> None:
    """cuts both credentials out and keeps every other byte, their places included."""
    pieces = cut(HEAD)
    assert pieces is not None
    assert pieces[1:] == (b"Authorization: Bearer secret\r", b"Cookie: a=private; b=c\r")
    assert pieces[0] == HEAD.replace(b"Bearer secret", b"").replace(b"a=private; b=c", b"")


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=14).map(b"".join))
def test_messages_with_one_key_differ_in_credentials_alone(data: bytes) -> None:
    """cuts so that key and credentials make the very message again, and a credential holds no line's end."""
    pieces = cut(data)
    if pieces is None:
        assert b"uthorization: " in data or b"ookie: " in data  # one of them that has no end
        return
    assert joined(pieces) == data
    for line in pieces[1:]:
        assert line is None or b"\r\n" not in line


def test_nothing_is_kept_of_anybodys_credentials() -> None:
    """remembers a head without the credentials, and knows where they stood."""
    pieces, plain = cut(HEAD), read_plain(HEAD)
    assert pieces is not None
    assert plain is not None
    kept = without_credentials(pieces, plain)
    assert kept is not None
    assert (kept.authorized_at, kept.cookie_at, kept.kept) == (0, 1, [b"X-A: 1\r", b""])
    assert (kept.line, kept.host, kept.reserved) == (plain.line, plain.host, plain.reserved)
    assert not any(
        b"secret" in repr(value).encode() or b"private" in repr(value).encode() for value in vars(kept).values()
    )
    assert plain.kept[1] == b"Cookie: a=private; b=c\r"  # the request itself goes on with its own


@pytest.mark.parametrize(
    "data",
    [
        HEAD.replace(b"GET", b"POST").replace(b"X-A: 1", b"Content-Length: 5") + b"hello",
        HEAD.replace(b"GET", b"POST").replace(b"X-A: 1", b"Content-Length: 0"),
        HEAD.replace(b"X-A: 1", b"X-Request-Id: one"),
        HEAD.replace(b"Authorization", b"authorization"),
        HEAD.replace(b"Cookie", b"cookie"),
        HEAD.replace(b"X-A: 1", b"X-A: " + b"1" * MAX_KEY),
    ],
)
def test_what_is_not_remembered(data: bytes) -> None:
    """remembers no message with a body, none with an id of its own, none whose credentials it did not cut out."""
    pieces, plain = cut(data), read_plain(data)
    assert pieces is not None
    assert plain is not None
    assert without_credentials(pieces, plain) is None


def test_what_is_too_long_is_not_looked_up() -> None:
    """takes nothing for a known head that the reader of plain heads would not take either."""
    assert cut(HEAD.replace(b"secret", b"s" * MAX_HEAD)) is None
