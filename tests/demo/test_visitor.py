"""How the backend reads the gateway's identity headers."""

from __future__ import annotations

import pytest

from gateway.demo.visitor import PRESENT, Visitor, headers_received, kind_of, visitor_of

Raw = tuple[tuple[bytes, bytes], ...]


@pytest.mark.parametrize(
    ("raw", "visitor"),
    [
        (((b"X-Forwarded-User", b"u1"),), Visitor("u1", "", ())),
        (
            ((b"x-forwarded-user", b"u1"), (b"X-FORWARDED-EMAIL", b"a@b.example"), (b"X-Forwarded-Groups", b"a, b,,c")),
            Visitor("u1", "a@b.example", ("a", "b", "c")),
        ),
        (((b"X-Forwarded-Email", b"a@b.example"),), None),
        (((b"X-Forwarded-User", b""),), None),
        (((b"X-Forwarded-User", b"  "),), None),
        (((b"X-Forwarded-User", b"u1"), (b"x-forwarded-user", b"u2")), None),
        (((b"X-Forwarded-User", b"u1"), (b"X-Forwarded-User", b"u1")), None),
        (((b"X_Forwarded_User", b"u1"),), None),
        ((), None),
    ],
)
def test_who_is_calling(raw: Raw, visitor: Visitor | None) -> None:
    """The backend knows whom the gateway names exactly once, and otherwise nobody."""
    assert visitor_of(raw) == visitor


def test_a_doubled_email_is_no_email() -> None:
    """The backend believes neither of two e-mail addresses."""
    raw = ((b"X-Forwarded-User", b"u1"), (b"X-Forwarded-Email", b"a@x.example"), (b"X-Forwarded-Email", b"b@x.example"))
    assert visitor_of(raw) == Visitor("u1", "", ())


@pytest.mark.parametrize("name", [b"Authorization", b"AUTHORIZATION", b"Cookie", b"X-Gateway-Jwt-Assertion"])
def test_credentials_are_withheld(name: bytes) -> None:
    """The backend says that a credential is there, and never shows it."""
    rows = dict(headers_received(((name, b"s3cret"),)))
    assert rows[name.decode()] == PRESENT


def test_a_token_in_any_other_header_is_withheld() -> None:
    """The backend shows no token, wherever somebody put it."""
    token = b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2ln"
    rows = dict(headers_received(((b"X-Note", b"see " + token + b"!"),)))
    assert rows["X-Note"] == "see (token withheld)!"


def test_headers_are_sorted_and_authorization_is_always_listed() -> None:
    """The backend lists headers by name, repeated ones too, with Authorization shown absent."""
    raw = ((b"b", b"1"), (b"Z", b"2"), (b"a", b"3"), (b"b", b"4"))
    assert headers_received(raw) == [("a", "3"), ("Authorization", "absent"), ("b", "1"), ("b", "4"), ("Z", "2")]


def test_bytes_that_are_no_text_are_replaced() -> None:
    """The backend shows undecodable bytes as replacement characters instead of failing."""
    raw = ((b"X-Forwarded-User", b"u\xff1"), (b"X-Odd", b"\xc3\x28"))
    assert visitor_of(raw) == Visitor("u\ufffd1", "", ())
    assert dict(headers_received(raw))["X-Odd"] == "\ufffd("


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("X-Forwarded-User", "identity"),
        ("authorization", "credential"),
        ("Accept", "plain"),
        ("X-Forwarded-For", "plain"),
    ],
)
def test_kinds_of_headers(name: str, kind: str) -> None:
    """The backend marks what it believes and what it withholds."""
    assert kind_of(name) == kind
