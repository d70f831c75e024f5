"""Routing: the first match wins, nothing matched is denied, lenient spellings change nothing."""

from __future__ import annotations

import pytest

from gateway import reasons
from gateway.core.target import parse_target
from gateway.errors import RequestError
from gateway.policy.routes import Auth, Route, RouteTable

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
