"""Exactly one bearer credential, or none."""

from __future__ import annotations

import pytest

from gateway import reasons
from gateway.core.context import Headers
from gateway.core.credential import (
    Carrier,
    CookieName,
    Credential,
    find_cookie,
    find_credential,
    find_credentials,
    is_local_http,
)
from gateway.reasons import Reason

ROWS: list[tuple[list[tuple[bytes, bytes]], str | Reason | None]] = [
    ([], None),
    ([(b"Authorization", b"Bearer a.b.c")], "a.b.c"),
    ([(b"authorization", b"bearer a.b.c")], "a.b.c"),
    ([(b"AUTHORIZATION", b"BEARER a-b_c=")], "a-b_c="),
    ([(b"Authorization", b"Bearer a.b.c"), (b"Authorization", b"Bearer a.b.c")], reasons.CREDENTIAL_AMBIGUOUS),
    ([(b"Authorization", b"Bearer a.b.c"), (b"authorization", b"Basic eDp5")], reasons.CREDENTIAL_AMBIGUOUS),
    ([(b"Authorization", b"Bearer a.b.c, Bearer d.e.f")], reasons.CREDENTIAL_AMBIGUOUS),
    ([(b"Authorization", b"Bearer a.b.c trailing")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer a.b.c,")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer  a.b.c")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer\ta.b.c")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer ")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"a.b.c")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Basic eDp5")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer a.b.c\xff")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer=a.b.c")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization_", b"Bearer a.b.c")], None),
    ([(b"Proxy-Authorization", b"Bearer a.b.c")], None),
    ([(b"Cookie", b"Authorization=Bearer a.b.c")], None),
]


@pytest.mark.parametrize(("lines", "expected"), ROWS)
def test_one_credential_or_none(lines: list[tuple[bytes, bytes]], expected: str | Reason | None) -> None:
    """... takes the one bearer token of a request, and refuses a choice."""
    assert find_credential(Headers(tuple(lines))) == expected


COOKIE_ROWS: list[tuple[list[bytes], str | Reason | None]] = [
    ([], None),
    ([b"__Host-session=a.b.c"], "a.b.c"),
    ([b"other=1; __Host-session=a.b.c; more=2"], "a.b.c"),
    ([b"other=1;__Host-session=a.b.c"], "a.b.c"),
    ([b"other=1", b"__Host-session=a.b.c"], "a.b.c"),
    ([b"__Host-session=a=b"], "a=b"),
    ([b'__Host-session="a.b.c"'], '"a.b.c"'),
    ([b"__Host-session="], None),
    ([b"__Host-session"], None),
    ([b"__host-session=a.b.c"], None),
    ([b"__Host-session2=a.b.c"], None),
    ([b"x__Host-session=a.b.c"], None),
    ([b"x=__Host-session=a.b.c"], None),
    ([b"__session=a.b.c"], None),
    ([b"__Host-session=a.b.c; __Host-session=a.b.c"], reasons.CREDENTIAL_AMBIGUOUS),
    ([b"__Host-session=; __Host-session=a.b.c"], reasons.CREDENTIAL_AMBIGUOUS),
    ([b"__Host-session=a.b.c", b"__Host-session=d.e.f"], reasons.CREDENTIAL_AMBIGUOUS),
]


@pytest.mark.parametrize(("lines", "expected"), COOKIE_ROWS)
def test_one_session_cookie_or_none(lines: list[bytes], expected: str | Reason | None) -> None:
    """... takes the one cookie of exactly that name, and refuses a choice."""
    assert find_cookie(Headers(tuple((b"Cookie", line) for line in lines)), "__Host-session") == expected


LOCAL_SITES = [
    ("http", "localhost", True),
    ("http", "localhost:8080", True),
    ("http", "app.localhost:8080", True),
    ("http", "127.0.0.1:8080", True),
    ("http", "127.9.9.9", True),
    ("http", "[::1]:8080", True),
    ("http", "[::1]", True),
    ("https", "localhost", False),
    ("http", "app.example", False),
    ("http", "localhost.example:80", False),
    ("http", "127.0.0.1.example", False),
    ("http", "128.0.0.1", False),
    ("http", "[::2]:80", False),
    ("http", "127.", False),
]


@pytest.mark.parametrize(("scheme", "host", "local"), LOCAL_SITES)
def test_the_name_follows_the_site(scheme: str, host: str, local: bool) -> None:
    """... drops the __Host- prefix on plain http on this machine and nowhere else."""
    assert is_local_http(scheme, host) is local
    name = CookieName(Carrier.COOKIE, "__Host-session", "__session").on(scheme, host)
    assert name == ("__session" if local else "__Host-session")


COOKIE = CookieName(Carrier.COOKIE, "__Host-session", "__session")
SDK = CookieName(Carrier.SDK_COOKIE, "__HOST-FIREBASE_[DEFAULT]", "__dev_FIREBASE_[DEFAULT]")
BEARER_LINE = (b"Authorization", b"Bearer a.b.c")
COOKIE_LINE = (b"Cookie", b"__Host-session=d.e.f; __HOST-FIREBASE_[DEFAULT]=g.h.i")
IN_COOKIE = Credential(Carrier.COOKIE, "d.e.f", "__Host-session")
IN_SDK_COOKIE = Credential(Carrier.SDK_COOKIE, "g.h.i", "__HOST-FIREBASE_[DEFAULT]")


def found(*lines: tuple[bytes, bytes], cookies: tuple[CookieName, ...] = (COOKIE, SDK)) -> object:
    return find_credentials(Headers(lines), cookies, "https", "app.test")


def test_the_bearer_token_comes_first() -> None:
    """... puts the bearer token before the cookies, and those in their order."""
    assert found(BEARER_LINE, COOKIE_LINE) == [Credential(Carrier.BEARER, "a.b.c"), IN_COOKIE, IN_SDK_COOKIE]
    assert found(COOKIE_LINE, cookies=(SDK,)) == [IN_SDK_COOKIE]
    assert found(COOKIE_LINE, cookies=()) is None
    assert found() is None


def test_anothers_authorization_is_no_second_credential() -> None:
    """... lets the cookie count beside an Authorization of another scheme, which is the application's."""
    assert found((b"Authorization", b"Basic eDp5"), COOKIE_LINE) == [IN_COOKIE, IN_SDK_COOKIE]
    assert found((b"Authorization", b"Basic eDp5")) is reasons.CREDENTIAL_UNSUPPORTED


@pytest.mark.parametrize("value", [b"Bearer", b"Bearer ", b"bearer a.b.c x", b"", b"a.b.c"])
def test_a_broken_bearer_token_is_not_overlooked(value: bytes) -> None:
    """... refuses a malformed bearer token although a cookie stands beside it."""
    assert found((b"Authorization", value), COOKIE_LINE) is reasons.CREDENTIAL_UNSUPPORTED


def test_two_of_a_kind_are_refused() -> None:
    """... refuses two bearer tokens, and two cookies of one name, whatever else is there."""
    assert found(BEARER_LINE, BEARER_LINE, COOKIE_LINE) is reasons.CREDENTIAL_AMBIGUOUS
    assert found(BEARER_LINE, COOKIE_LINE, COOKIE_LINE) is reasons.CREDENTIAL_AMBIGUOUS


def test_a_credential_does_not_print_itself() -> None:
    """... keeps the token out of whatever prints a credential."""
    assert "d.e.f" not in repr(IN_COOKIE)
