"""Answers for pages of other sites."""

from __future__ import annotations

import pytest

from gateway.core.context import Headers
from gateway.http.cors import answer_fields, preflight
from gateway.policy.cross_site import Cors

LISTED = "https://pages.test"
LISTS = Cors(frozenset({LISTED}), frozenset({"POST", "GET"}), ("authorization", "x-a"), ("etag",), 600)


def headers(*origins: str) -> Headers:
    return Headers(tuple((b"Origin", origin.encode()) for origin in origins))


def test_a_listed_origin_is_named_back() -> None:
    """lets a page of a listed origin read the answer, and the headers that the route lists."""
    assert answer_fields(LISTS, headers(LISTED)) == (
        ("Vary", "Origin"),
        ("Access-Control-Allow-Origin", LISTED),
        ("Access-Control-Expose-Headers", "etag"),
    )


@pytest.mark.parametrize(
    "origins", [(), ("https://evil.test",), ("null",), (LISTED, LISTED), (LISTED.upper(),), (f"{LISTED}:443",), ("*",)]
)
def test_nobody_else_is(origins: tuple[str, ...]) -> None:
    """names no other origin, and tells caches that the answer depends on it all the same."""
    assert answer_fields(LISTS, headers(*origins)) == (("Vary", "Origin"),)


def test_cookies_are_a_choice_of_the_route() -> None:
    """says that cookies may come along only where the route says so."""
    lists = Cors(frozenset({LISTED}), frozenset({"GET"}), credentials=True)
    assert dict(answer_fields(lists, headers(LISTED)))["Access-Control-Allow-Credentials"] == "true"
    assert "Access-Control-Expose-Headers" not in dict(answer_fields(lists, headers(LISTED)))


def test_a_route_without_lists_says_nothing() -> None:
    """leaves answers of other routes to the backend."""
    assert answer_fields(None, headers(LISTED)) == ()


def test_a_preflight_is_answered_from_the_lists() -> None:
    """tells a browser which methods and headers a page may use, and for how long that holds."""
    reply = preflight(LISTS, "the-id")
    assert (reply.status, reply.body) == (204, b"")
    assert dict(reply.headers) == {
        "Vary": "Access-Control-Request-Method, Access-Control-Request-Headers",
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "authorization, x-a",
        "Access-Control-Max-Age": "600",
        "Cache-Control": "no-store",
        "X-Request-Id": "the-id",
    }
    bare = preflight(Cors(frozenset({LISTED}), frozenset({"GET"})), "the-id")
    assert "Access-Control-Allow-Headers" not in dict(bare.headers)
