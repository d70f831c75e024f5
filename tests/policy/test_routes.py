"""Routing: the first match wins, nothing matched is denied, lenient spellings change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import reasons
from gateway.core.target import parse_target
from gateway.errors import RequestError
from gateway.policy.assurance import Requirements
from gateway.policy.cross_site import Cors
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth, OnOutage, Route, RouteTable

TABLE = RouteTable(
    [
        Route("health", "/healthz", "app", Auth.PUBLIC),
        Route("static", "/static/**", "app", Auth.PUBLIC, methods=frozenset({"GET", "HEAD"})),
        Route("admin", "/admin/**", "app"),
        Route("photo", "/users/*/photo.png", "app", Auth.OPTIONAL),
        Route("api", "/**", "api", Auth.OPTIONAL, hosts=("api.example.com", "*.api.example.com")),
        Route("shop", "/shop/**", "app", Auth.PUBLIC),
        Route("rest", "/app/**", "app"),
    ]
)

MATCHES = [
    ("GET", "h", "/healthz", "health"),
    ("GET", "h", "/healthz?x=1", "health"),
    ("GET", "h", "/healthz/", None),
    ("GET", "h", "/healthzz", None),
    ("GET", "h", "/static", "static"),
    ("GET", "h", "/static/", "static"),
    ("GET", "h", "/static/a/b.js", "static"),
    ("POST", "h", "/static/a", None),
    ("GET", "h", "/staticx", None),
    ("GET", "h", "/admin", "admin"),
    ("GET", "h", "/admin/users?id=/static/", "admin"),
    ("GET", "h", "/%61dmin/x", "admin"),
    ("GET", "h", "/users/7/photo.png", "photo"),
    ("GET", "h", "/users/7/8/photo.png", None),
    ("GET", "h", "/users//photo.png", "refused"),
    ("GET", "api.example.com", "/x", "api"),
    ("GET", "api.example.com:8443", "/x", "api"),
    ("GET", "v1.api.example.com", "/x", "api"),
    ("GET", "a.b.api.example.com", "/x", None),
    ("GET", "apixexample.com", "/x", None),
    ("GET", "api.example.com.evil.test", "/x", None),
    ("GET", "h", "/", None),
    ("GET", "h", "/app/x", "rest"),
]


@pytest.mark.parametrize(("method", "host", "raw", "expected"), MATCHES)
def test_first_match(method: str, host: str, raw: str, expected: str | None) -> None:
    """... takes the first route whose path, host and method fit."""
    if expected == "refused":
        with pytest.raises(RequestError):
            parse_target(raw)
        return
    route = TABLE.match(method, host, parse_target(raw))
    assert (route.name if route is not None else None) == expected


LENIENT = RouteTable([Route("admin", "/admin/**", "app"), Route("open", "/**", "app", Auth.PUBLIC)])


@pytest.mark.parametrize(
    "raw",
    [
        "/ADMIN/x",
        "/Admin",
        "/admin;v=1/x",
        "/admin./x",
        "/admin%20/x",
        "/%EF%BD%81dmin/x",
        "/%2561dmin/x",
        "/ADMIN.;a/x",
    ],
)
def test_a_spelling_that_a_backend_may_read_as_a_stricter_route_is_refused(raw: str) -> None:
    """... refuses a public spelling of a guarded path."""
    with pytest.raises(RequestError) as caught:
        LENIENT.match("GET", "h", parse_target(raw))
    assert caught.value.reason is reasons.TARGET_AMBIGUOUS


@pytest.mark.parametrize("raw", ["/Users/Ada", "/file;v=1", "/notes.", "/a%20b", "/%E2%84%AB", "/100%2525", "/adminx"])
def test_unusual_spellings_pass_where_they_change_nothing(raw: str) -> None:
    """... lets honest applications spell as they like."""
    route = LENIENT.match("GET", "h", parse_target(raw))
    assert route is not None
    assert route.name == "open"


def test_a_stricter_match_is_not_refused_for_a_laxer_reading() -> None:
    """... never refuses a request because another reading would need less."""
    table = RouteTable([Route("Open", "/Open/**", "app"), Route("open", "/open/**", "app", Auth.PUBLIC)])
    route = table.match("GET", "h", parse_target("/Open/x"))
    assert route is not None
    assert route.name == "Open"


@pytest.mark.parametrize("pattern", ["", "a", "/a/**/b", "/**a", "/a**"])
def test_odd_patterns_are_refused(pattern: str) -> None:
    """... refuses a pattern that does not mean what it seems to."""
    with pytest.raises(ValueError, match=r"path pattern|last segment"):
        RouteTable([Route("r", pattern, "app")])


@pytest.mark.parametrize("host", ["*", "a.*.com", "*a.com", "", "*."])
def test_odd_hosts_are_refused(host: str) -> None:
    """... refuses a host pattern with a star in another place than its first label."""
    with pytest.raises(ValueError, match="first label"):
        RouteTable([Route("r", "/**", "app", hosts=(host,))])


def test_names_are_unique() -> None:
    """... refuses two routes of one name."""
    with pytest.raises(ValueError, match="same name"):
        RouteTable([Route("r", "/a", "app"), Route("r", "/b", "app")])


def test_pattern_characters_are_literal() -> None:
    """... gives no other character of a pattern a meaning."""
    table = RouteTable([Route("r", "/a.b+(c)/*", "app")])
    assert table.match("GET", "h", parse_target("/a.b+(c)/x")) is not None
    assert table.match("GET", "h", parse_target("/aXb+(c)/x")) is None


STRICTER: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, True),
    ({"auth": Auth.OPTIONAL}, {}, False),
    ({"auth": Auth.OPTIONAL}, {"auth": Auth.PUBLIC, "preset": Preset.PINNED}, True),
    ({"auth": Auth.OPTIONAL}, {"auth": Auth.OPTIONAL}, True),
    ({"auth": Auth.PUBLIC}, {"auth": Auth.OPTIONAL}, False),
    ({}, {"require": Requirements(verified_email=True)}, False),
    ({"require": Requirements(verified_email=True)}, {"require": Requirements(verified_email=True)}, True),
    ({"require": Requirements(verified_email=True)}, {}, True),
    ({"require": Requirements(max_auth_age=60)}, {"require": Requirements(max_auth_age=30)}, False),
    ({}, {"preset": Preset.STRICT}, False),
    ({"preset": Preset.PINNED}, {"preset": Preset.STRICT}, True),
    ({"preset": Preset.OFF}, {"preset": Preset.MONITOR}, False),
    ({"on_revocation_outage": OnOutage.ALLOW_UNTIL_EXP}, {"on_revocation_outage": OnOutage.DENY}, False),
    ({"on_revocation_outage": OnOutage.ALLOW_UNTIL_EXP}, {"on_revocation_outage": OnOutage.ALLOW_UNTIL_EXP}, True),
    ({"on_revocation_outage": OnOutage.DENY}, {"on_revocation_outage": OnOutage.ALLOW_UNTIL_EXP}, True),
    ({"cors": Cors(frozenset({"https://a"}), frozenset({"GET"}))}, {}, False),
    ({}, {"cors": Cors(frozenset({"https://a"}), frozenset({"GET"}))}, True),
]


@pytest.mark.parametrize(("taken", "read", "passes"), STRICTER)
def test_no_spelling_leads_around_what_another_route_demands(
    taken: dict[str, Any], read: dict[str, Any], passes: bool
) -> None:
    """... refuses a spelling of a path that a backend may read as one with demands that were not judged."""
    table = RouteTable([Route("guarded", "/admin/**", "app", **read), Route("rest", "/**", "app", **taken)])
    if passes:
        route = table.match("GET", "h", parse_target("/ADMIN/x"))
        assert route is not None
        assert route.name == "rest"
        return
    with pytest.raises(RequestError) as caught:
        table.match("GET", "h", parse_target("/ADMIN/x"))
    assert caught.value.reason is reasons.TARGET_AMBIGUOUS


def test_routes_are_listed_in_order() -> None:
    """... lists its routes as they are tried."""
    assert [route.name for route in LENIENT] == ["admin", "open"]


@pytest.mark.parametrize(
    ("patterns", "host", "fits"),
    [
        (("Api.Example.com",), "api.example.com", True),
        (("api.example.com",), "api.example.com:8443", True),
        (("*.Example.com",), "a.example.com", True),
        (("*.example.com",), "a.b.example.com", False),
        (("*.example.com",), "example.com", False),
        (("*.example.com",), ".example.com", False),
        (("x.test", "*.example.com", "y.test"), "y.test", True),
        (("x.test", "y.test"), "x.test|y.test", False),
        (("x.test",), "xxtest", False),
        (("[::1]",), "[::1]:8080", True),
        (("[::1]",), "[::1]", True),
    ],
)
def test_hosts_are_names_or_one_more_label(patterns: tuple[str, ...], host: str, fits: bool) -> None:
    """... compares hosts whole and without their port, `*.` standing for exactly one label."""
    route = RouteTable([Route("r", "/**", "app", hosts=patterns)]).match("GET", host, parse_target("/"))
    assert (route is not None) is fits


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/**", "/", True),
        ("/**", "/a/b", True),
        ("/a/**", "/a", True),
        ("/a/**", "/ab", False),
        ("/a", "/a/b", False),
        ("/a*c/d", "/abc/d", True),
        ("/a*c/d", "/ab/c/d", False),
        ("/a.b", "/axb", False),
        ("/a/**", "/a/b%C2%A0c", True),
    ],
)
def test_patterns_match_whole_paths(pattern: str, path: str, fits: bool) -> None:
    """... compares paths whole, `*` within a segment, a last `/**` for the path and all below."""
    route = RouteTable([Route("r", pattern, "app")]).match("GET", "h", parse_target(path))
    assert (route is not None) is fits


@pytest.mark.parametrize(
    ("routes", "told"),
    [
        ([Route("a", "x", "app")], "^a path pattern starts with /$"),
        ([Route("a", "/**/x", "app")], r"^\*\* may only stand as the last segment$"),
        ([Route("a", "/", "app", hosts=("a.*",))], r"^'a\.\*': \* may only stand as the first label of a host$"),
        ([Route("a", "/", "app", hosts=("*",))], "first label"),
        ([Route("a", "/", "app", hosts=("*.*.b",))], "first label"),
        ([Route("a", "/", "app", hosts=("",))], "first label"),
        ([Route("a", "/", "app"), Route("a", "/b", "app")], "^two routes have the same name$"),
    ],
)
def test_what_cannot_be_a_route_is_told(routes: list[Route], told: str) -> None:
    """... says why a row cannot be used."""
    with pytest.raises(ValueError, match=told):
        RouteTable(routes)


def test_readings_are_looked_up_like_the_request_itself() -> None:
    """... compares a lenient reading with routes of the request's own method and host."""
    table = RouteTable(
        [
            Route("admin", "/admin/**", "app", hosts=("a.test",), methods=frozenset({"POST"})),
            Route("open", "/**", "app", Auth.PUBLIC),
        ]
    )
    for method, host in (("GET", "a.test"), ("POST", "b.test")):
        route = table.match(method, host, parse_target("/ADMIN/x"))
        assert route is not None
        assert route.name == "open"
    with pytest.raises(RequestError, match="the path could also be read as one of the stricter route admin"):
        table.match("POST", "a.test", parse_target("/ADMIN/x"))
