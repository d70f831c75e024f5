"""A plain request, understood: cookies apart, and what a decision on it hangs on."""

from __future__ import annotations

import pytest

from gateway.core.context import Headers
from gateway.core.credential import cookie_values
from gateway.core.target import parse_target
from gateway.policy.routes import Route
from gateway.proxy.plain import read_plain
from gateway.proxy.understood import NO_COOKIES, Asked, Caller, Found, Way, read_cookies
from gateway.proxy.upstream import Upstream

NAMES = frozenset({b"__Host-session", b"__session"})
WAY = Way(Route("all", "/**", "app"), b"0000", Upstream("app", ["http://127.0.0.1:9"]))


@pytest.mark.parametrize(
    ("value", "credentials", "passing"),
    [
        (b"a=b", b"", b"a=b"),
        (b"a=b; __session=t", b"__session=t", b"a=b"),
        (b"__session=t", b"__session=t", b""),
        (b"__session=t; __session=u", b"__session=t;__session=u", b""),
        (b"__Host-session=t;a=b;  __session=u ;c", b"__Host-session=t;__session=u", b"a=b;c"),
        (b"__session = t", b"__session=t", b""),
        (b"__session", b"__session=", b""),
        (b"x__session=t; __sessions=u", b"", b"x__session=t; __sessions=u"),
        (b"a=__session=t", b"", b"a=__session=t"),
    ],
)
def test_cookies_apart(value: bytes, credentials: bytes, passing: bytes) -> None:
    """finds every cookie that the guard could take for a credential, and hands none of them on."""
    line = b"Cookie: " + value + b"\r"
    found = read_cookies(line, NAMES, NAMES)
    assert found is not None
    assert found.credentials == credentials
    assert found.passing == (b"Cookie: " + passing + b"\r" if passing else b"")
    headers = Headers(((b"Cookie", value),))
    for name in NAMES:
        kept = [pair.partition(b"=")[2].decode() for pair in credentials.split(b";") if pair.startswith(name + b"=")]
        assert cookie_values(headers, name.decode()) == kept


def test_a_cookie_line_that_is_not_plain() -> None:
    """leaves odd bytes among cookies to the parser."""
    assert read_cookies(b"Cookie: a=\x01\r", NAMES, NAMES) is None
    assert read_cookies(b"Cookie: a=\xe9\r", NAMES, NAMES) is None
    assert read_cookies(b"Cookie:a=b\r", NAMES, NAMES) is None


def mark(method: str = "GET", *, cookie: str = "", scheme: str = "https", **fields: str) -> object:
    """The mark of a request with these fields."""
    lines = [f"{method} / HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    if cookie:
        lines.append(f"Cookie: {cookie}")
    plain = read_plain("\r\n".join(lines).encode() + b"\r\n\r\n")
    assert plain is not None
    cookies = read_cookies(plain.cookie, NAMES, NAMES) if plain.cookie is not None else NO_COOKIES
    assert cookies is not None
    return Found(Asked(method, parse_target("/")), plain, WAY, Caller("", scheme), cookies, plain.authorization).mark


HERE = {"Host": "h", "Authorization": "Bearer t"}


def test_what_a_decision_on_a_read_hangs_on() -> None:
    """compares the token alone where nothing else counts, and cookies, host and scheme where a cookie may."""
    assert mark(**HERE) == mark(**HERE, X_A="1", Origin="x", Sec_Fetch_Site="y")
    assert mark(**HERE) == mark("HEAD", **HERE, cookie="a=b")
    assert mark(**HERE) != mark(Host="h", Authorization="Bearer u")
    assert mark(**HERE) != mark(**HERE, cookie="__session=t")
    by_cookie = mark(Host="h", cookie="__session=t; a=b")
    assert by_cookie == mark("HEAD", Host="h", cookie="c=d; __session=t")
    assert by_cookie != mark(Host="h", cookie="__session=u; a=b")
    assert by_cookie != mark(Host="i", cookie="__session=t; a=b")
    assert by_cookie != mark(Host="h", cookie="__session=t; a=b", scheme="http")


def test_what_a_decision_on_a_change_hangs_on() -> None:
    """compares method, host and who started it as well where something may be changed."""
    usual = mark("POST", **HERE, Origin="o", Sec_Fetch_Site="s")
    assert usual == mark("POST", **HERE, Origin="o", Sec_Fetch_Site="s", X_A="1")
    for other in (
        mark(**HERE, Origin="o", Sec_Fetch_Site="s"),
        mark("PUT", **HERE, Origin="o", Sec_Fetch_Site="s"),
        mark("POST", **HERE, Origin="p", Sec_Fetch_Site="s"),
        mark("POST", **HERE, Origin="o"),
        mark("POST", **HERE, Sec_Fetch_Site="s"),
        mark("POST", **HERE, Origin="o s"),
        mark("POST", Host="i", Authorization="Bearer t", Origin="o", Sec_Fetch_Site="s"),
    ):
        assert usual != other
