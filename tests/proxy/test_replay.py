"""The fast path gives the same bytes as the ordinary way, on both sides, and is never used a request too long."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from gateway.clock import SystemClock
from gateway.core.client_ip import AddressResolver, IPNetwork
from gateway.demo.network import AWAY, HOME, DemoNetwork
from gateway.guard import SessionGuard
from gateway.http.cookies import SessionCookieSettings
from gateway.http.trail import TrailReaders
from gateway.policy.routes import Auth, Route, RouteTable
from gateway.proxy.replay import TwoGenerations
from tests.support.backends import Conversation, answers, backend
from tests.support.wire import (
    FAR_FUTURE,
    GOOD,
    PATIENCE,
    ROUTES,
    Gateway,
    body_of,
    claims_of,
    gateway,
    head_of,
    read_answer,
    request,
    status_of,
)

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
OTHER = "good.token.two"
TOKENS = {GOOD: claims_of(), OTHER: claims_of("bob", groups=["a", "b,c"], email="bob@example.com")}
LONG = "x" * 1_500


def normal(data: bytes) -> bytes:
    """Without what differs from one run to the next."""
    return re.sub(rb"(?mi)^(X-Request-Id|Date): [^\r]*|[0-9a-f]{32}", b"-", data)


ORDINARY, REPLAYED, JUDGED = "the ordinary way", "by an earlier decision", "by a decision made at once"


@dataclass
class Case:
    """One request and the way that it takes behind ``primer``."""

    data: bytes
    way: str
    primer: bytes | None = None
    trusted: Sequence[IPNetwork] = ()
    head_only: bool = False


def plain(
    *fields: str, line: str = "GET /api/x HTTP/1.1", token: str | None = GOOD, host: str = "app.example"
) -> bytes:
    return request(line, *fields, token=token, host=host)


FORWARDED = ("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https")
PUBLIC = plain(line="GET /public/x HTTP/1.1", token=None)
OPTIONAL = plain(line="GET /optional/x HTTP/1.1", token=None)
PASSING = plain(line="GET /passing/x HTTP/1.1")
BEHIND = plain(*FORWARDED)

CASES: dict[str, Case] = {
    # What replays.
    "the same again": Case(plain(), REPLAYED),
    "another target of the route": Case(plain(line="GET /api/y?q=1&r=%20 HTTP/1.1"), REPLAYED),
    "a long query": Case(plain(line=f"GET /api/y?{LONG} HTTP/1.1"), REPLAYED),
    "HEAD": Case(plain(line="HEAD /api/x HTTP/1.1"), REPLAYED, head_only=True),
    "keep-alive": Case(plain("Connection: keep-alive"), REPLAYED),
    "keep-alive, shouted": Case(plain("CONNECTION: KEEP-ALIVE"), REPLAYED),
    "a browser's fields": Case(
        plain("User-Agent: Mozilla/5.0 (X11)", "Accept: */*", "Accept-Language: de,en;q=0.5", "Cookie: a=b; c=d"),
        REPLAYED,
    ),
    "a field twice": Case(plain("Accept: a/b", "Accept: c/d", "X-Thing: 1", "X-Thing: 2"), REPLAYED),
    "conditional and range": Case(plain('If-None-Match: "x"', "Range: bytes=0-1", "If-Range: x"), REPLAYED),
    "a long field": Case(plain(f"X-Long: {LONG}"), REPLAYED),
    "tab-free oddities": Case(plain("X-Odd: !#$%&'()*+,-./:;<=>?@[]^_`{|}~ \""), REPLAYED),
    "another host": Case(plain(host="Other.Example:8080"), REPLAYED),
    "an upper-case host": Case(plain(host="APP.EXAMPLE"), REPLAYED),
    "the worker's report": Case(plain("X-Gateway-Fetch: mode=cors"), REPLAYED),
    "a spoofed user": Case(plain("X-Forwarded-User: eve", "X-Forwarded-Email: eve@example.com"), REPLAYED),
    "a spoofed user twice": Case(plain("X-Forwarded-User: eve", "x-forwarded-user: mallory"), REPLAYED),
    "other spoofed identities": Case(
        plain("Remote-User: eve", "X-Auth-Request-User: eve", "X-Real-IP: 1.2.3.4"), REPLAYED
    ),
    "a spoofed chain": Case(plain("X-Forwarded-For: 198.51.100.1", "Forwarded: for=198.51.100.1"), REPLAYED),
    "a client's request id": Case(plain("X-Request-Id: mine"), REPLAYED),
    "method override": Case(plain("X-HTTP-Method-Override: DELETE", "X-Original-URL: /admin"), REPLAYED),
    "a public page": Case(PUBLIC, REPLAYED, PUBLIC),
    "a public page with a token": Case(plain(line="GET /public/x HTTP/1.1"), REPLAYED, PUBLIC),
    "a public page with a forged token": Case(plain(line="GET /public/x HTTP/1.1", token="forged"), REPLAYED, PUBLIC),
    "an optional page, anonymous": Case(OPTIONAL, REPLAYED, OPTIONAL),
    "a route that passes the token on": Case(PASSING, REPLAYED, PASSING),
    "a lower-case authorization": Case(plain("Accept: a", f"authorization: Bearer {GOOD}", token=None), REPLAYED),
    "behind a trusted proxy": Case(BEHIND, REPLAYED, BEHIND, (LOOPBACK,)),
    "a trusted proxy's id": Case(plain(*FORWARDED, "X-Request-Id: abc-1"), REPLAYED, BEHIND, (LOOPBACK,)),
    "a trusted proxy's bad id": Case(plain(*FORWARDED, "X-Request-Id: a b"), REPLAYED, BEHIND, (LOOPBACK,)),
    "a longer chain to the same client": Case(
        plain("X-Forwarded-For: 10.9.9.9, 203.0.113.7", "X-Forwarded-Proto: http"), REPLAYED, BEHIND, (LOOPBACK,)
    ),
    # What is judged first, or does not pass.
    "another client behind the proxy": Case(plain("X-Forwarded-For: 203.0.113.8"), JUDGED, BEHIND, (LOOPBACK,)),
    "a broken chain": Case(plain("X-Forwarded-For: nobody"), ORDINARY, BEHIND, (LOOPBACK,)),
    "another token": Case(plain(token=OTHER), JUDGED),
    "a token with a letter more": Case(plain(token=GOOD + "x"), ORDINARY),
    "no token": Case(plain(token=None), ORDINARY),
    "another route": Case(plain(line="GET /other HTTP/1.1"), JUDGED),
    "a token twice": Case(plain(f"Authorization: Bearer {GOOD}"), ORDINARY),
    "two schemes": Case(plain("Authorization: Basic eDp5"), ORDINARY),
    "two spaces before the token": Case(plain(f"Authorization: Bearer  {GOOD}", token=None), ORDINARY),
    "space behind the token": Case(plain(f"Authorization: Bearer {GOOD} ", token=None), ORDINARY),
    "a scheme in another case": Case(plain(f"Authorization: bearer {GOOD}", token=None), JUDGED),
    "an optional page with a bad token": Case(plain(line="GET /optional/x HTTP/1.1", token="forged"), JUDGED, OPTIONAL),
    "an optional page, renewal failed": Case(
        plain("X-Gateway-Fetch: token=failed", line="GET /optional/x HTTP/1.1", token=None), JUDGED, OPTIONAL
    ),
    "a session cookie": Case(plain("Cookie: __Host-session=x; a=b"), JUDGED),
    "another session cookie": Case(plain("Cookie: a=b; __session=x"), JUDGED),
    "the SDK's cookie": Case(plain("Cookie: __HOST-FIREBASE_[DEFAULT]=x"), REPLAYED),
    "an origin": Case(plain("Origin: http://app.example"), REPLAYED),
    "POST": Case(request("POST /api/x HTTP/1.1", body=b"hello"), JUDGED),
    "DELETE": Case(plain(line="DELETE /api/x HTTP/1.1"), JUDGED),
    "OPTIONS": Case(plain(line="OPTIONS /api/x HTTP/1.1"), ORDINARY),
    "GET with a body": Case(request("GET /api/x HTTP/1.1", body=b"hello"), ORDINARY),
    "GET with a length of 0": Case(plain("Content-Length: 0"), ORDINARY),
    "chunked": Case(request("GET /api/x HTTP/1.1", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), ORDINARY),
    "length and chunked": Case(plain("Content-Length: 4", "Transfer-Encoding: chunked"), ORDINARY),
    "trailers wanted": Case(plain("TE: trailers"), ORDINARY),
    "close": Case(plain("Connection: close"), ORDINARY),
    "nominated identity": Case(plain("Connection: X-Forwarded-User", "X-Forwarded-User: eve"), ORDINARY),
    "nominated and kept": Case(plain("Connection: keep-alive, X-Thing", "X-Thing: 1"), ORDINARY),
    "an underscore name": Case(plain("X_Forwarded_User: eve"), ORDINARY),
    "an odd name": Case(plain("X-Forwarded-User!: eve"), ORDINARY),
    "an expectation": Case(plain("Expect: 100-continue"), ORDINARY),
    "h2c": Case(plain("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAA"), ORDINARY),
    "HTTP/1.0": Case(plain(line="GET /api/x HTTP/1.0"), ORDINARY),
    "HTTP/2.0": Case(plain(line="GET /api/x HTTP/2.0"), ORDINARY),
    "absolute form": Case(plain(line="GET http://app.example/api/x HTTP/1.1"), ORDINARY),
    "a double slash": Case(plain(line="GET /api//x HTTP/1.1"), ORDINARY),
    "a dot segment": Case(plain(line="GET /api/../api/x HTTP/1.1"), ORDINARY),
    "an escaped slash": Case(plain(line="GET /api/%2fx HTTP/1.1"), ORDINARY),
    "a fragment": Case(plain(line="GET /api/x#y HTTP/1.1"), ORDINARY),
    "a target beyond ASCII": Case(plain(line="GET /api/\xe9 HTTP/1.1"), ORDINARY),
    "two spaces in the request line": Case(plain(line="GET  /api/x HTTP/1.1"), ORDINARY),
    "the gateway's own page": Case(plain(line="GET /.gateway/login HTTP/1.1"), ORDINARY),
    "two hosts": Case(plain("Host: app.example"), ORDINARY),
    "no host": Case(b"GET /api/x HTTP/1.1\r\nAuthorization: Bearer " + GOOD.encode() + b"\r\n\r\n", ORDINARY),
    "a bad host": Case(plain(host="app.example/x"), ORDINARY),
    "space before the colon": Case(plain("X-Thing : 1"), ORDINARY),
    "no space behind the colon": Case(plain("X-Thing:1"), ORDINARY),
    "a tab": Case(plain("X-Thing: a\tb"), ORDINARY),
    "an empty value": Case(plain("X-Empty:"), ORDINARY),
    "a folded line": Case(plain("X-Thing: a\r\n b"), ORDINARY),
    "a bare LF": Case(plain("X-Thing: a\nX-Forwarded-User: eve"), ORDINARY),
    "a bare CR": Case(plain("X-Thing: a\rX-Forwarded-User: eve"), ORDINARY),
    "a NUL": Case(plain("X-Thing: a\0b"), ORDINARY),
    "a control in the authorization": Case(
        plain("Authorization: Bearer a\x01b", line="GET /public/x HTTP/1.1", token=None), ORDINARY, PUBLIC
    ),
    "bytes beyond ASCII": Case(plain("X-Thing: \xe9"), ORDINARY),
    "a user agent twice": Case(plain("User-Agent: a", "User-Agent: b"), ORDINARY),
    "very many fields": Case(plain(*(f"X-{number}: 1" for number in range(70))), ORDINARY),
    "too many fields": Case(plain(*(f"X-{number}: 1" for number in range(200))), ORDINARY),
    "too long a target": Case(plain(line=f"GET /api/{'x' * 9000} HTTP/1.1"), ORDINARY),
    "a head of 40 KB": Case(plain(*(f"X-{number}: {LONG}" for number in range(26))), ORDINARY),
    "an empty body": Case(plain("Content-Length: 0", line="POST /api/x HTTP/1.1"), JUDGED),
    "a padded length": Case(request("POST /api/x HTTP/1.1", "Content-Length: 005", body=b"hello"), ORDINARY),
    "two lengths": Case(
        request("POST /api/x HTTP/1.1", "Content-Length: 5", "Content-Length: 5", body=b"hello"), ORDINARY
    ),
    "an expected upload": Case(request("POST /api/x HTTP/1.1", "Expect: 100-continue", body=b"hello"), ORDINARY),
    "a method of its own": Case(request("PROPFIND /api/x HTTP/1.1", body=b"hello"), ORDINARY),
}

Exchanged = tuple[bytes, bytes, list[str], str]


async def exchanged(case: Case, *, fast_path: bool, cookies: bool = False, before: int = 0) -> Exchanged:
    """Client's answer, what the backend received, what was recorded, and which way the case took.

    :param before: how often it was sent before.
    """
    async with (
        backend(answers(b"hello", fields=[b"Cache-Control: max-age=5", b"Vary: Accept", b"X-A: 1"])) as server,
        gateway(
            server.url,
            tokens=TOKENS,
            trusted=case.trusted,
            fast_path=fast_path,
            session=SessionCookieSettings("id_token") if cookies else None,
        ) as front,
    ):
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(case.primer or plain())
            await read_answer(reader)
            for _ in range(before):
                writer.write(case.data)
                await read_answer(reader, head_only=case.head_only)
            await rested(front)
            received, recorded = len(server.received), len(front.audit.events)
            replayed, judged = front.replayed, front.judged
            writer.write(case.data)
            answer = b""
            with contextlib.suppress(asyncio.IncompleteReadError):
                answer = await read_answer(reader, head_only=case.head_only)
        writer.close()
        events = [
            f"{event.decision.reason.id} {event.method} {event.host} {event.path} {event.client} {event.decision.route}"
            for event in front.audit.events[recorded:]
        ]
        ways = {(0, 0): ORDINARY, (1, 0): REPLAYED, (0, 1): JUDGED}
        way = ways[front.replayed - replayed, front.judged - judged]
        return normal(answer), normal(server.received[received:]), events, way


async def rested(front: Gateway) -> None:
    """Wait until every connection waits for its next request."""
    server = front.proxy._server
    assert server is not None
    while not all(connection.resting for connection in server.connections):  # type: ignore[attr-defined] # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)


@pytest.mark.parametrize("name", CASES)
async def test_both_ways_give_the_same_bytes(name: str) -> None:
    """gives client, backend and audit the same with the fast path and without, and takes it for what is plain only."""
    case = CASES[name]
    fast = await exchanged(case, fast_path=True)
    ordinary = await exchanged(case, fast_path=False)
    assert fast[:3] == ordinary[:3]
    assert (fast[3], ordinary[3]) == (case.way, ORDINARY)
    assert fast[0]
    assert bool(fast[1]) == (fast[0].startswith(b"HTTP/1.1 200") and b"/.gateway/login" not in case.data)


async def test_a_revocation_counts_from_the_next_request_on() -> None:
    """refuses a revoked session that it replayed a moment ago."""
    async with backend(answers()) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            assert await statuses(front, reader, writer, 3) == [200, 200, 200]
            assert front.replayed == 2
            front.revocation.revoke()
            writer.write(request())
            answer = await read_answer(reader)
        writer.close()
    assert (status_of(answer), json.loads(body_of(answer))["code"]) == (401, "session_revoked")
    assert front.replayed == 2


async def statuses(
    front: Gateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int, data: bytes = b""
) -> list[int]:
    found = []
    for _ in range(count):
        writer.write(data or request())
        found.append(status_of(await read_answer(reader)))
        await rested(front)
    return found


async def test_expiry_between_two_requests() -> None:
    """lets no token live on by replaying it: from its expiry on, every request is judged."""
    clock = [1_000_000.0]
    async with backend(answers()) as server, gateway(server.url, now=lambda: clock[0]) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            await statuses(front, reader, writer, 2)
            assert (front.replayed, front.verifier.asked) == (1, 1)
            clock[0] = FAR_FUTURE
            await statuses(front, reader, writer, 1)
            assert (front.replayed, front.verifier.asked) == (1, 2)
            front.verifier.tokens.clear()
            assert await statuses(front, reader, writer, 1) == [401]
        writer.close()


async def test_a_change_of_address_between_two_requests() -> None:
    """judges a token anew when it comes from another address, on the same connection or on another."""
    here, there = plain("X-Forwarded-For: 203.0.113.7"), plain("X-Forwarded-For: 198.51.100.9")
    tokens = {GOOD: claims_of(signInIpAddress="203.0.113.7")}
    async with backend(answers()) as server, gateway(server.url, tokens=tokens, trusted=[LOOPBACK]) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            assert await statuses(front, reader, writer, 2, here) == [200, 200]
            assert await statuses(front, reader, writer, 1, there) == [401]
            assert await statuses(front, reader, writer, 1, here) == [200]
            assert front.replayed == 2
            writer.close()
            assert status_of(await front.speak(there)) == 401
            # The connection's own address counts as soon as the peer is not believed any more.
            guard = front.proxy.guard
            front.proxy.replace(
                SessionGuard(
                    routes=guard.routes, verifier=front.verifier, revocation=front.revocation,
                    addresses=AddressResolver(), clock=SystemClock(), generation=1,
                ),
                front.proxy.upstreams,
            )  # fmt: skip
            assert status_of(await front.speak(here)) == 200
            assert front.audit.events[-1].client == "127.0.0.1"


async def test_a_journey_in_the_demo_counts_from_the_next_request_on() -> None:
    """replays where the address source is another than the usual, and judges anew as soon as its answers change."""
    network = DemoNetwork()
    tokens = {GOOD: claims_of(signInIpAddress=str(HOME))}
    async with backend(answers()) as server, gateway(server.url, tokens=tokens, addresses=network) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            data = plain()
            assert await statuses(front, reader, writer, 3, data) == [200, 200, 200]
            network.travel_to(AWAY)
            assert await statuses(front, reader, writer, 1, data) == [401]
            network.go_home()
            assert await statuses(front, reader, writer, 1, data) == [200]
        writer.close()
    assert front.replayed == 3
    assert [event.client for event in front.audit.events] == [str(HOME)] * 3 + [str(AWAY), str(HOME)]


async def test_readers_of_trails_are_told_every_time() -> None:
    """judges each request of a caller who is told how it was judged."""
    async with backend(answers()) as server, gateway(server.url, readers=TrailReaders([LOOPBACK])) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                writer.write(plain())
                assert "x-gateway-trail" in head_of(await read_answer(reader))
                await rested(front)
        writer.close()
    assert (front.replayed, front.judged) == (0, 0)


async def test_a_new_configuration_counts_from_the_next_request_on() -> None:
    """forgets every decision of an earlier configuration, even one with the same number."""
    for generation in (0, 1):
        async with backend(answers()) as server, gateway(server.url) as front:
            reader, writer = await front.connect()
            async with asyncio.timeout(PATIENCE):
                public = plain(line="GET /public/x HTTP/1.1", token=None)
                assert await statuses(front, reader, writer, 2, public) == [200, 200]
                assert front.replayed == 1
                guard = SessionGuard(
                    routes=RouteTable([Route("all", "/**", "app", Auth.REQUIRED)]),
                    verifier=front.verifier,
                    revocation=front.revocation,
                    addresses=AddressResolver(),
                    clock=SystemClock(),
                    generation=generation,
                )
                front.proxy.replace(guard, front.proxy.upstreams)
                assert await statuses(front, reader, writer, 1, public) == [401]
                assert front.replayed == 1
            writer.close()


async def test_a_session_is_not_lent_to_another_route() -> None:
    """judges the first request of a token on each route, since each has its own rules."""
    async with backend(answers()) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            for path in ("/api/x", "/x", "/api/x", "/x"):
                assert await statuses(front, reader, writer, 1, plain(line=f"GET {path} HTTP/1.1")) == [200]
        writer.close()
    assert (front.replayed, front.verifier.asked) == (2, 2)
    assert [event.decision.route for event in front.audit.events] == ["api", "all", "api", "all"]


async def test_the_audit_knows_every_replay() -> None:
    """records replays like other decisions, under the id that client and backend are told, without the claims."""
    async with backend(answers()) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            await statuses(front, reader, writer, 1)
            writer.write(request())
            answer = await read_answer(reader)
        writer.close()
        event = front.audit.events[-1]
    assert front.replayed == 1
    told = re.findall(rb"X-Request-Id: (\w+)", server.received)[-1].decode()
    assert event.request_id == head_of(answer)["x-request-id"] == told
    session = event.decision.session  # type: ignore[union-attr]
    assert session is not None
    assert (session.principal.uid, session.claims.payload) == ("alice", {})


async def test_sessions_of_different_users_stay_apart() -> None:
    """tells the backend on every replay whose session it is, however connections are shared."""

    async def script(conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            user = re.findall(rb"X-Forwarded-User: (\w+)", head)
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + b"".join(user).ljust(5))

    async with backend(script) as server, gateway(server.url, tokens=TOKENS) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            seen = []
            for token in (GOOD, OTHER, GOOD, OTHER, OTHER, GOOD):
                writer.write(request(token=token))
                seen.append(body_of(await read_answer(reader)).strip())
                await rested(front)
        writer.close()
    assert seen == [b"alice", b"bob", b"alice", b"bob", b"bob", b"alice"]
    assert front.replayed == 4


async def test_tables_are_bounded() -> None:
    """forgets what was not used for long, and keeps what is."""
    table: TwoGenerations[int, str] = TwoGenerations(10)
    for number in range(100):
        table.put(number, str(number))
        assert table.get(0) == "0"
        assert len(table) <= 11
    assert table.get(50) is None
    assert table.get(99) == "99"


def test_the_table_of_cases_is_large_enough() -> None:
    """is compared with itself on at least thirty requests that it replays, and on as many that it does not."""
    ways = Counter(case.way for case in CASES.values())
    assert min(ways[REPLAYED], ways[JUDGED] + ways[ORDINARY]) >= 30
    assert {route.name for route in ROUTES} >= {"public", "optional", "passing", "api"}
