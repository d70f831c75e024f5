"""What a backend gets to see: the spoof table, what is set, what a token's text becomes, what an answer loses."""

from __future__ import annotations

import ipaddress
from email.header import decode_header
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import reasons
from gateway.core.client_ip import AddressResolver, IPNetwork
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Conditions
from gateway.core.session import NetworkLevel, Session
from gateway.core.target import parse_target
from gateway.mutators.headers import (
    encode_value,
    fold,
    forwarding_fields,
    identity_fields,
    response_fields,
    strip_request,
    upstream_fields,
)
from gateway.policy.cross_site import Cors
from gateway.policy.routes import Auth, Route
from tests.support.spoofed import SPOOFED
from tests.support.wire import claims_of

ROUTE = Route("all", "/**", "app")


def session(uid: str = "alice", **payload: object) -> Session:
    return Session(claims_of(uid, **payload), ipaddress.ip_address("192.0.2.7"), NetworkLevel.SAME)


def allow(who: Session | None = None, ignored: reasons.Reason | None = None) -> Allow:
    conditions = Conditions(1e12, -1, None, "all", 0)
    return Allow(reasons.SESSION_VALID if who else reasons.ANONYMOUS, "all", who, conditions, ignored)


def context(*fields: tuple[bytes, bytes], peer: str = "192.0.2.7", host: str = "app.example") -> RequestContext:
    return RequestContext("GET", "http", host, parse_target("/"), peer, Headers(fields))


def told(context: RequestContext, decision: Allow, route: Route = ROUTE, *trusted: IPNetwork) -> dict[str, list[str]]:
    """What the backend reads, by folded name, as the most forgiving one would."""
    seen: dict[str, list[str]] = {}
    for name, value in upstream_fields(context, decision, route, AddressResolver(trusted), "the-id"):
        seen.setdefault(fold(name).decode(), []).append(value.decode("latin-1"))
    return seen


@pytest.mark.parametrize("name", SPOOFED)
@pytest.mark.parametrize("auth", [Auth.PUBLIC, Auth.OPTIONAL, Auth.REQUIRED])
def test_a_client_cannot_speak_in_the_gateways_name(name: str, auth: Auth) -> None:
    """lets none of the names it vouches for through, in any spelling, on any route."""
    request = context((name.encode(), b"spoofed"), (name.encode(), b"spoofed too"), (b"X-App", b"mine"))
    seen = told(request, allow(), Route("all", "/**", "app", auth))
    assert not [value for values in seen.values() for value in values if "spoofed" in value]
    assert seen["x-app"] == ["mine"]


def test_an_empty_spoofed_field_is_dropped_too() -> None:
    """removes an empty identity field as well: its mere presence may mean something to a backend."""
    assert "x-forwarded-user" not in told(context((b"X-Forwarded-User", b"")), allow())


@pytest.mark.parametrize(
    "nominated", [b"X-Forwarded-User", b"x-forwarded-user, close", b"X_FORWARDED_USER", b"close,,X-Forwarded-User ,"]
)
def test_connection_deletes_nothing_of_the_gateways(nominated: bytes) -> None:
    """adds its own fields after nominated ones were removed, so that Connection cannot name them away."""
    seen = told(context((b"Connection", nominated), (b"X-Forwarded-User", b"eve")), allow(session()))
    assert seen["x-forwarded-user"] == ["alice"]
    assert "connection" not in seen


def test_nominated_fields_of_the_client_are_dropped() -> None:
    """treats what Connection nominates as hop-by-hop, in any letter case and in several lines."""
    seen = told(
        context(
            (b"Connection", b"x-one"), (b"connection", b"X-TWO"), (b"X-One", b"1"), (b"x-two", b"2"), (b"X-Three", b"3")
        ),
        allow(),
    )
    assert "x-one" not in seen
    assert "x-two" not in seen
    assert seen["x-three"] == ["3"]


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ],
)
def test_hop_by_hop_fields_stop_here(name: str) -> None:
    """forwards no hop-by-hop field (RFC 9110 section 7.6.1)."""
    assert name.lower() not in told(context((name.encode(), b"x")), allow())


def test_ordinary_fields_keep_order_case_and_bytes() -> None:
    """forwards everything else as it came, repeated fields and bytes above ASCII included."""
    fields = [
        (b"accept", b"*/*"),
        (b"X-B", b"\xff\xfe"),
        (b"x-b", b"2"),
        (b"User-Agent", b""),
        (b"Sec-Fetch-Mode", b"cors"),
    ]
    assert strip_request(Headers(tuple(fields))) == fields


def test_the_credential_stays_here() -> None:
    """removes Authorization unless the route says otherwise, and never forwards a credential it did not believe."""
    request = context((b"Authorization", b"Bearer t"))
    passing = Route("all", "/**", "app", forward_authorization=True)
    assert "authorization" not in told(request, allow(session()))
    assert told(request, allow(session()), passing)["authorization"] == ["Bearer t"]
    assert "authorization" not in told(request, allow(ignored=reasons.TOKEN_EXPIRED), passing)


@pytest.mark.parametrize(
    ("cookie", "left"),
    [
        (b"a=1; __session=t; b=2", b"a=1; b=2"),
        (b"__session=t", None),
        (b"__Host-session=t;a=1", b"a=1"),
        (b"a=1;__session=t", b"a=1"),
        (b" __session =t; a=__session=no", b"a=__session=no"),
        (b"x__session=1; __sessions=2", b"x__session=1; __sessions=2"),
        (b"__session=1; __session=2; a=b", b"a=b"),
        (b'a="x;y"; b=2', b'a="x;y"; b=2'),
    ],
)
def test_only_the_gateways_cookies_are_taken_out(cookie: bytes, left: bytes | None) -> None:
    """removes its session cookies and leaves every other byte of Cookie alone."""
    kept = dict(strip_request(Headers(((b"Cookie", cookie),))))
    assert kept.get(b"Cookie") == left


def test_the_identity_is_told_as_the_route_wants() -> None:
    """sets user, email and groups, each once, and only those that the route names."""
    who = session(groups=["staff", "a,b", "Büro"], team=["red"])
    seen = told(context(), allow(who))
    assert seen["x-forwarded-user"] == ["alice"]
    assert seen["x-forwarded-email"] == ["alice@example.com"]
    assert seen["x-forwarded-groups"] == ["staff,UTF-8''a%2Cb,UTF-8''B%C3%BCro"]
    only = told(context(), allow(who), Route("all", "/**", "app", identity=("groups",), groups_claim="team"))
    assert only["x-forwarded-groups"] == ["red"]
    assert "x-forwarded-user" not in only


@pytest.mark.parametrize("groups", [{"a": 1}, 7, [1], ["ok", None], ["ok", "bad\nline"], [], "", [""], True])
def test_groups_of_another_shape_grant_nothing(groups: object) -> None:
    """leaves the groups field out when the claim is not text or a list of texts."""
    assert b"X-Forwarded-Groups" not in dict(identity_fields(session(groups=groups), ROUTE))


def test_a_visitor_has_no_identity() -> None:
    """tells the backend of nobody when there is no session."""
    assert identity_fields(None, ROUTE) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("alice", b"alice"),
        ("Alice B. Toklas", b"Alice B. Toklas"),
        ("a,b", b"a,b"),
        ("Müller", b"UTF-8''M%C3%BCller"),
        (" alice", b"UTF-8''%20alice"),
        ("UTF-8''alice", b"UTF-8''UTF-8%27%27alice"),
        ("日本", b"UTF-8''%E6%97%A5%E6%9C%AC"),
        ("a\r\nX: y", None),
        ("a\0", None),
        ("a\x7f", None),
        ("a\x85b", None),
        ("a\u2028b", None),
        ("\ud800", None),
        ("", None),
    ],
)
def test_text_becomes_a_field_value(text: str, value: bytes | None) -> None:
    """encodes what is not visible ASCII and leaves out what holds a control character."""
    assert encode_value(text) == value


@given(st.text())
def test_encoding_loses_nothing_and_is_always_visible(text: str) -> None:
    """gives every text one value that decodes to that text alone."""
    value = encode_value(text)
    if value is not None:
        assert all(0x20 <= byte < 0x7F for byte in value)
        shown = value.decode()
        assert (unquote(shown.removeprefix("UTF-8''")) if shown.startswith("UTF-8''") else shown) == text


LOCAL = ipaddress.ip_network("10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "chain", "expected"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "1.1.1.1", "192.0.2.7"),
        ("::ffff:192.0.2.7", None, "192.0.2.7"),
        ("fe80::1%eth0", None, "fe80::1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9, 10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", "junk, 203.0.113.9:4711", "203.0.113.9, 10.0.0.1"),
        ("", "203.0.113.9", None),
    ],
)
def test_the_chain_is_rebuilt(peer: str, chain: str | None, expected: str | None) -> None:
    """writes X-Forwarded-For from addresses it believes, and forgets what a client put in front."""
    fields = [(b"X-Forwarded-For", chain.encode())] if chain is not None else []
    seen = told(context(*fields, peer=peer), allow(), ROUTE, LOCAL)
    assert seen.get("x-forwarded-for") == ([expected] if expected is not None else None)


def test_scheme_host_and_port_are_rebuilt() -> None:
    """says how the client reached it, and believes a trusted proxy about the scheme only."""
    told_by = (b"X-Forwarded-Proto", b"https")
    forged = dict(forwarding_fields(context(told_by, host="a.example:8080"), AddressResolver((LOCAL,))))
    assert (forged[b"X-Forwarded-Proto"], forged[b"X-Forwarded-Port"]) == (b"http", b"8080")
    true = dict(forwarding_fields(context(told_by, peer="10.1.1.1", host="a.example"), AddressResolver((LOCAL,))))
    assert (true[b"X-Forwarded-Proto"], true[b"X-Forwarded-Port"]) == (b"https", b"443")
    assert true[b"X-Forwarded-Host"] == b"a.example"


def response(
    *fields: tuple[bytes, bytes], who: Session | None = None, auth: Auth = Auth.REQUIRED
) -> list[tuple[bytes, bytes]]:
    return response_fields(fields, allow(who), Route("all", "/**", "app", auth), "the-id")


def test_an_answer_loses_what_is_not_the_upstreams_to_say() -> None:
    """strips hop-by-hop, nominated and worker fields, and puts its own request id."""
    fields = response(
        (b"Connection", b"X-Hop, close"),
        (b"X-Hop", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Service-Worker-Allowed", b"/"),
        (b"X-Request-Id", b"theirs"),
        (b"Content-Length", b"3"),
        (b"Set-Cookie", b"a=1"),
        auth=Auth.PUBLIC,
    )
    assert fields == [(b"Set-Cookie", b"a=1"), (b"X-Request-Id", b"the-id")]


def test_a_route_with_lists_answers_foreign_pages_itself() -> None:
    """takes off the upstream's CORS fields where the route has lists, adds its own, and only there."""
    lists = Cors(frozenset({"https://pages.test"}), frozenset({"GET"}))
    theirs = ((b"Access-Control-Allow-Origin", b"*"), (b"access_control_expose_headers", b"x"), (b"X-Own", b"1"))
    ours = [(b"Access-Control-Allow-Origin", b"https://pages.test")]
    route = Route("all", "/**", "app", Auth.PUBLIC, cors=lists)
    fields = response_fields(theirs, allow(), route, "the-id", ours)
    assert fields == [(b"X-Own", b"1"), *ours, (b"X-Request-Id", b"the-id")]
    without = response_fields(theirs, allow(), Route("all", "/**", "app", Auth.PUBLIC), "the-id")
    assert without == [*theirs, (b"X-Request-Id", b"the-id")]


def test_an_answer_with_a_trail_is_for_one_caller() -> None:
    """keeps an answer that carries its reasons out of shared caches, and takes nobody else's for its own."""
    route = Route("all", "/**", "app", Auth.PUBLIC)
    sent = ((b"Cache-Control", b"public, max-age=60"), (b"X-Gateway-Trail", b"theirs"))
    fields = response_fields(sent, allow(), route, "the-id", [(b"X-Gateway-Trail", b"ours")])
    assert fields == [
        (b"Cache-Control", b"private, max-age=60"),
        (b"X-Gateway-Trail", b"ours"),
        (b"X-Request-Id", b"the-id"),
    ]


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ([], b"private"),
        ([b"max-age=60"], b"private, max-age=60"),
        ([b"public, max-age=60, s-maxage=99"], b"private, max-age=60"),
        ([b"Public"], b"private"),
        ([b"no-store"], b"no-store"),
        ([b"max-age=1", b"PRIVATE"], b"max-age=1"),
        ([b"no-cache"], b"private, no-cache"),
    ],
)
def test_a_persons_answer_stays_out_of_shared_caches(sent: list[bytes], received: bytes) -> None:
    """marks answers to a session private unless the upstream was stricter."""
    fields = response(*((b"Cache-Control", value) for value in sent), who=session())
    assert dict(reversed(fields))[b"Cache-Control"] == received


@pytest.mark.parametrize(
    ("auth", "sent", "received"),
    [
        (Auth.REQUIRED, [], [b"Authorization, Cookie"]),
        (Auth.OPTIONAL, [b"Accept"], [b"Accept", b"Authorization, Cookie"]),
        (Auth.REQUIRED, [b"cookie, accept"], [b"cookie, accept", b"Authorization"]),
        (Auth.REQUIRED, [b"*"], [b"*"]),
        (Auth.PUBLIC, [], []),
    ],
)
def test_caches_learn_what_the_answer_depends_on(auth: Auth, sent: list[bytes], received: list[bytes]) -> None:
    """names the fields that a session comes in wherever one may change the answer."""
    fields = response(*((b"Vary", value) for value in sent), auth=auth)
    assert [value for name, value in fields if name == b"Vary"] == received


def test_a_public_answer_is_left_alone() -> None:
    """changes nothing about the caching of a public answer."""
    assert (b"Cache-Control", b"public, max-age=60") in response(
        (b"Cache-Control", b"public, max-age=60"), auth=Auth.PUBLIC
    )


# ---- further claims ----


def fields_of(route: Route, **payload: Any) -> dict[bytes, bytes]:
    return dict(identity_fields(session(**payload), route))


def test_named_claims_become_fields() -> None:
    """... tells the claims that a route names, each in the form that its kind asks for."""
    names = (("X-Forwarded-Role", "role"), ("X-Forwarded-Teams", "teams"), ("X-Gateway-Limits", "limits"))
    route = Route("all", "/**", "app", identity=(), claim_fields=names)
    told = fields_of(route, role="müller", teams=["a", "b,c"], limits={"n": 3, "é": True})
    assert told == {
        b"X-Forwarded-Role": b"UTF-8''m%C3%BCller",
        b"X-Forwarded-Teams": b"a,UTF-8''b%2Cc",
        b"X-Gateway-Limits": b'{"n":3,"\\u00e9":true}',
    }
    assert fields_of(route, role="a\r\nX-Forwarded-User: root", teams=[], limits=None) == {}
    assert fields_of(route, role=False) == {b"X-Forwarded-Role": b"false"}


@pytest.mark.parametrize("text", ["müller", "=?UTF-8?B?eA==?=", "=?", "日本", " x", "a"])
def test_encoded_words_are_read_by_the_standard_library(text: str) -> None:
    """... writes text that is no visible ASCII as encoded words (RFC 2047) where a route says so, and nothing else."""
    value = encode_value(text, base64=True)
    assert value is not None
    ((octets, charset),) = decode_header(value.decode("ascii"))
    assert (octets if isinstance(octets, str) else octets.decode(charset or "ascii")) == text
    assert (value == text.encode()) is (text == "a")


def test_control_characters_pass_in_no_encoding() -> None:
    """... leaves out what holds a control character, however it could be encoded."""
    for text in ("a\nb", "a\x00", "\x85", "\u2028"):
        assert encode_value(text, base64=True) is None
    assert encode_value("\ud800", base64=True) is None
