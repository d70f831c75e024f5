"""Heads of answers, rewritten line by line, against the functions of the ordinary way."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway import reasons
from gateway.core.decision import Allow, Conditions
from gateway.core.session import NetworkLevel, Session
from gateway.errors import UpstreamProtocolError
from gateway.mutators.headers import response_fields
from gateway.policy.routes import Auth, Route
from gateway.proxy import plain_answer
from gateway.proxy.answer import AnswerHead, parse_head
from gateway.proxy.forward import head_bytes
from gateway.proxy.plain_answer import RewrittenHead, rewrite
from tests.support.wire import claims_of

CONDITIONS = Conditions(1.0, 1, None, "all", 0)
NOBODY = Allow(reasons.PUBLIC_ROUTE, "all", None, CONDITIONS)
SOMEBODY = Allow(reasons.SESSION_VALID, "all", Session(claims_of(), None, NetworkLevel.SAME), CONDITIONS)
ROUTES = [Route("all", "/**", "app", auth) for auth in Auth]

NAMES = st.sampled_from(
    b"Cache-Control|cache-control|Vary|Connection|Content-Length|Transfer-Encoding|Close|Keep-Alive|Content_Length|"
    b"X-Request-Id|Set-Cookie|Service-Worker-Allowed|Access-Control-Allow-Origin|X-A|X A|".split(b"|")
)
VALUES = st.sampled_from(
    b"private|no-store|s-maxage=1|*|Accept|keep-alive|close|5|05|+5|chunked|CHUNKED|gzip|\x80||public, max-age=5|"
    b"cookie, Authorization|Keep-Alive, X-A| a\t|a\nb|a\rb|a\0b".split(b"|")
)
LINES = st.lists(st.builds(lambda name, value: name + b": " + value, NAMES, VALUES), max_size=6)
STATUS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.1 103 Early",
        b"HTTP/1.1 099 No",
        b"HTTP/2 200",
        b"HTTP/1.1 200 OK\nX: 1",
        b"junk",
        b"",
    ]
)


def ordinary(raw: bytes, decision: Allow, route: Route) -> RewrittenHead | AnswerHead | None:
    """What the ordinary way makes of a head; None for a refusal."""
    try:
        head = parse_head(raw)
    except UpstreamProtocolError:
        return None
    if head.status < 200:
        return head
    written = head_bytes(head, response_fields(head.fields, decision, route, "id"))
    assert written.endswith(b"\r\nX-Request-Id: id\r\n\r\n")
    written = written.removesuffix(b"X-Request-Id: id\r\n\r\n")
    return RewrittenHead(head.status, written, head.length, head.chunked, head.persistent)


@settings(max_examples=600, deadline=None)
@given(STATUS, LINES, st.sampled_from([NOBODY, SOMEBODY]), st.sampled_from(ROUTES))
@example(b"HTTP/1.1 200 OK", [b"Connection: close", b"Close: 1"], SOMEBODY, ROUTES[0])
@example(b"HTTP/1.1 200 OK", [b"Content-Length: 5", b"Transfer-Encoding: chunked"], SOMEBODY, ROUTES[0])
def test_it_is_the_ordinary_way_for_less(status: bytes, lines: list[bytes], decision: Allow, route: Route) -> None:
    """writes the same head and refuses the same, whatever the lines and whether they are known or new."""
    raw = b"\r\n".join([status, *lines]) + b"\r\n\r\n"
    for _ in range(3):  # new lines, known lines, a known head
        found: RewrittenHead | AnswerHead | None
        try:
            found = rewrite(raw, decision, route)
        except UpstreamProtocolError:
            found = None
        assert found == ordinary(raw, decision, route)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """remembers no cookies, no long lines, and never more than a fixed number."""
    monkeypatch.setattr(plain_answer, "_MAX_LINES", 10)
    monkeypatch.setattr(plain_answer, "_MAX_HEADS", 10)
    plain_answer._known.clear()
    for heads in plain_answer._heads:
        heads.clear()
    for number in range(50):
        rewrite(b"HTTP/1.1 200 %d\r\nX-A: %d\r\n\r\n" % (number, number), NOBODY, ROUTES[0])
        assert len(plain_answer._known) <= 10
        assert max(map(len, plain_answer._heads)) <= 10
        assert len(plain_answer._statuses) <= 60
    rewrite(b"HTTP/1.1 200 OK\r\nSet-Cookie: secret\r\nX-B: %b\r\n\r\n" % (b"x" * 300), NOBODY, ROUTES[0])
    remembered = [*plain_answer._known, *(head for heads in plain_answer._heads for head in heads)]
    assert not [piece for piece in remembered if b"secret" in piece or b"X-B" in piece]
