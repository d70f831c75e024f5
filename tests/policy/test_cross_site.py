"""Requests that a foreign page started."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.policy.cross_site import Cors, is_cross_site, is_same_origin, requested_method

OWN, FOREIGN = b"http://app.test", b"https://evil.test"

ROWS = [
    # method, websocket, Origin lines, Sec-Fetch-Site lines, cross-site
    ("GET", False, [FOREIGN], [b"cross-site"], False),
    ("HEAD", False, [], [b"cross-site"], False),
    ("POST", False, [], [], False),
    ("POST", False, [OWN], [], False),
    ("POST", False, [b"HTTP://APP.TEST"], [], False),
    ("POST", False, [b"https://app.test"], [], False),
    ("POST", False, [b"http://app.test:80"], [], False),
    ("POST", False, [b"https://app.test:443"], [], False),
    ("POST", False, [], [b"same-origin"], False),
    ("POST", False, [], [b"none"], False),
    ("POST", False, [OWN], [b"same-origin"], False),
    ("POST", False, [FOREIGN], [], True),
    ("POST", False, [b"null"], [], True),
    ("POST", False, [b""], [], True),
    ("POST", False, [b"http://app.test.evil.test"], [], True),
    ("POST", False, [b"http://evil.test/app.test"], [], True),
    ("POST", False, [b"http://app.test:8080"], [], True),
    ("POST", False, [b"http://app.test/"], [], True),
    ("POST", False, [b"ftp://app.test"], [], True),
    ("POST", False, [OWN, FOREIGN], [], True),
    ("POST", False, [OWN], [b"cross-site"], True),
    ("POST", False, [OWN], [b"same-site"], True),
    ("POST", False, [], [b"same-site"], True),
    ("POST", False, [], [b"cross-site"], True),
    ("POST", False, [], [b"same-origin", b"cross-site"], True),
    ("DELETE", False, [FOREIGN], [], True),
    ("PUT", False, [FOREIGN], [], True),
    ("PATCH", False, [FOREIGN], [], True),
    ("BREW", False, [FOREIGN], [], True),
    ("GET", True, [FOREIGN], [], True),
    ("GET", True, [OWN], [], False),
    ("GET", True, [], [], False),
]


@pytest.mark.parametrize(("method", "websocket", "origins", "sites", "expected"), ROWS)
def test_foreign_pages_may_not_change_state(
    method: str, websocket: bool, origins: list[bytes], sites: list[bytes], expected: bool
) -> None:
    """... recognises an unsafe request or handshake of a foreign page."""
    lines = [(b"Origin", value) for value in origins] + [(b"Sec-Fetch-Site", value) for value in sites]
    context = RequestContext(method, "http", "app.test", parse_target("/"), "", Headers(tuple(lines)), websocket)
    assert is_cross_site(context) is expected


OWN_ORIGIN, FOREIGN_ORIGIN, LISTED = "https://app.test", "https://evil.test", "https://pages.test"
LISTS = Cors(origins=frozenset({LISTED}), methods=frozenset({"GET", "POST"}))
WITH_COOKIES = Cors(origins=frozenset({LISTED}), methods=frozenset({"GET", "POST"}), credentials=True)

# Origin, Sec-Fetch-Site; refused with a bearer, with a cookie; the same where the route lists one origin, and where it
# also takes cookies from there. "-" is a field that is not sent.
MATRIX = [
    # origin         site            bearer cookie | listed: bearer cookie | with cookies: cookie
    ("-",            "-",            False, True,    False, True,   True),
    ("-",            "same-origin",  False, False,   False, False,  False),
    ("-",            "none",         False, False,   False, False,  False),
    ("-",            "same-site",    True,  True,    True,  True,   True),
    ("-",            "cross-site",   True,  True,    True,  True,   True),
    (OWN_ORIGIN,     "-",            False, False,   False, False,  False),
    (OWN_ORIGIN,     "same-origin",  False, False,   False, False,  False),
    (OWN_ORIGIN,     "same-site",    True,  True,    True,  True,   True),
    (OWN_ORIGIN,     "cross-site",   True,  True,    True,  True,   True),
    (FOREIGN_ORIGIN, "-",            True,  True,    True,  True,   True),
    (FOREIGN_ORIGIN, "same-origin",  True,  True,    True,  True,   True),
    (FOREIGN_ORIGIN, "cross-site",   True,  True,    True,  True,   True),
    ("null",         "-",            True,  True,    True,  True,   True),
    ("null",         "none",         True,  True,    True,  True,   True),
    ("null",         "cross-site",   True,  True,    True,  True,   True),
    (LISTED,         "-",            True,  True,    False, True,   False),
    (LISTED,         "cross-site",   True,  True,    False, True,   False),
    (LISTED,         "same-site",    True,  True,    False, True,   False),
    (LISTED.upper(), "cross-site",   True,  True,    True,  True,   True),
    (LISTED + ":443", "cross-site",  True,  True,    True,  True,   True),
]  # fmt: skip


def started(method: str, origin: str, site: str, *, websocket: bool = False) -> RequestContext:
    sent = ((b"Origin", origin), (b"Sec-Fetch-Site", site))
    lines = tuple((name, value.encode()) for name, value in sent if value != "-")
    return RequestContext(method, "http", "app.test", parse_target("/"), "", Headers(lines), websocket)


@pytest.mark.parametrize("row", MATRIX, ids=str)
@pytest.mark.parametrize(("method", "websocket"), [("POST", False), ("GET", True), ("GET", False)])
def test_carrier_origin_and_method_together(method: str, websocket: bool, row: tuple[Any, ...]) -> None:
    """... demands of a cookie what it does not of a bearer, and lets only listed origins in from elsewhere."""
    origin, site, *refused = row
    context = started(method, origin, site, websocket=websocket)
    found = (
        is_cross_site(context),
        is_cross_site(context, ambient=True),
        is_cross_site(context, cors=LISTS),
        is_cross_site(context, ambient=True, cors=LISTS),
        is_cross_site(context, ambient=True, cors=WITH_COOKIES),
    )
    safe = method == "GET" and not websocket
    assert found == ((False,) * 5 if safe else tuple(refused))


@pytest.mark.parametrize(
    ("origin", "host", "foreign"),
    [
        ("http://app.test", "app.test:80", False),
        ("https://app.test", "app.test:443", False),
        ("https://app.test:8443", "app.test:8443", False),
        ("https://app.test", "app.test:80", True),
        ("http://app.test", "app.test:8080", True),
    ],
)
def test_a_default_port_makes_no_other_site(origin: str, host: str, foreign: bool) -> None:
    """... takes a default port for what it is on both sides, and any other for another site."""
    context = RequestContext("POST", "http", host, parse_target("/"), "", Headers(((b"Origin", origin.encode()),)))
    assert is_cross_site(context) is foreign


def test_a_listed_origin_gets_the_listed_methods_only() -> None:
    """... holds a page to the methods that the route lists for it, whether or not there was a preflight."""
    assert not is_cross_site(started("POST", LISTED, "cross-site"), cors=LISTS)
    assert is_cross_site(started("DELETE", LISTED, "cross-site"), cors=LISTS)


@pytest.mark.parametrize(
    ("method", "lines", "expected"),
    [
        ("OPTIONS", [(b"Origin", b"https://a"), (b"Access-Control-Request-Method", b"PUT")], "PUT"),
        ("OPTIONS", [(b"Access-Control-Request-Method", b"PUT")], None),
        ("OPTIONS", [(b"Origin", b"https://a")], None),
        ("OPTIONS", [(b"Origin", b"https://a"), (b"Origin", b"b"), (b"Access-Control-Request-Method", b"PUT")], None),
        ("GET", [(b"Origin", b"https://a"), (b"Access-Control-Request-Method", b"PUT")], None),
    ],
)
def test_a_preflight_is_recognised(method: str, lines: list[tuple[bytes, bytes]], expected: str | None) -> None:
    """... tells a preflight from any other OPTIONS request."""
    context = RequestContext(method, "http", "app.test", parse_target("/"), "", Headers(tuple(lines)))
    assert requested_method(context) == expected


AMBIENT_ROWS = [
    # host, method, websocket, Origin lines, Sec-Fetch-Site lines, cross-site
    ("app.test", "GET", False, [FOREIGN], [b"cross-site"], False),
    ("app.test", "GET", False, [], [], False),
    ("app.test", "POST", False, [], [], True),
    ("app.test", "POST", False, [b"https://app.test"], [], False),
    ("app.test", "POST", False, [b"https://app.test:443"], [], False),
    ("app.test", "POST", False, [b"https://app.test"], [b"same-origin"], False),
    ("app.test", "POST", False, [b"https://app.test"], [b"none"], False),
    ("app.test", "POST", False, [], [b"same-origin"], False),
    ("app.test", "POST", False, [], [b"none"], False),
    ("app.test", "POST", False, [], [b""], True),
    ("app.test", "POST", False, [], [b"same-site"], True),
    ("app.test", "POST", False, [b"https://app.test"], [b"same-site"], True),
    ("app.test", "POST", False, [b"http://app.test"], [], True),
    ("app.test", "POST", False, [b"http://app.test"], [b"same-origin"], True),
    ("app.test", "POST", False, [b"null"], [b"same-origin"], False),
    ("app.test", "POST", False, [b"null"], [b"same-site"], True),
    ("app.test", "POST", False, [b"null"], [b"same-origin", b"same-origin"], True),
    ("app.test", "POST", False, [b"null", b"null"], [b"same-origin"], True),
    ("app.test", "GET", True, [b"null"], [b"same-origin"], True),
    ("app.test", "POST", False, [FOREIGN], [b"none"], True),
    ("localhost:8080", "POST", False, [b"http://localhost:8080"], [], False),
    ("localhost:8080", "POST", False, [b"http://localhost:9090"], [], True),
    ("127.0.0.1:8080", "DELETE", False, [b"http://127.0.0.1:8080"], [b"same-origin"], False),
    ("app.test", "GET", True, [], [], True),
    ("app.test", "GET", True, [b"https://app.test"], [], False),
    ("app.test", "GET", True, [FOREIGN], [], True),
]


@pytest.mark.parametrize(("host", "method", "websocket", "origins", "sites", "expected"), AMBIENT_ROWS)
def test_an_ambient_credential_needs_proof(
    host: str, method: str, websocket: bool, origins: list[bytes], sites: list[bytes], expected: bool
) -> None:
    """... wants to be shown that this site started an unsafe request or handshake that only a cookie vouches for."""
    lines = [(b"Origin", value) for value in origins] + [(b"Sec-Fetch-Site", value) for value in sites]
    context = RequestContext(method, "http", host, parse_target("/"), "", Headers(tuple(lines)), websocket)
    assert is_cross_site(context, ambient=True) is expected


@pytest.mark.parametrize("ambient", [True, False])
def test_the_method_is_left_out_of_the_question_who_started_it(ambient: bool) -> None:
    """... can ask the same of a request whatever its method."""
    context = RequestContext("GET", "http", "app.test", parse_target("/"), "", Headers(((b"Origin", FOREIGN),)))
    assert not is_same_origin(context, ambient=ambient)
    assert not is_cross_site(context, ambient=ambient)
