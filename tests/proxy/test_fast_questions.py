"""Questions of proxies on the fast path: the same bytes as the ordinary way, and never a question too long."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.core.client_ip import AddressResolver, IPNetwork
from gateway.forward_auth import Dialect, ForwardAuth
from gateway.guard import SessionGuard
from gateway.http.cookies import SessionCookieSettings
from gateway.http.enforce import Enforcer
from gateway.mutators.identity import IdentityWriter
from gateway.policy.cross_site import Cors
from gateway.policy.routes import Route
from gateway.proxy.fast_questions import FastQuestions
from tests.support.wire import (
    GOOD,
    PATIENCE,
    ROUTES,
    Gateway,
    claims_of,
    gateway,
    read_answer,
    status_of,
)

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
OTHER, ENDING = "good.token.two", "good.token.three"
ENDS = 2_000_000_000
TOKENS = {
    GOOD: claims_of(role="owner"),
    OTHER: claims_of("bob", groups=["a", "b,c"], email="bob@example.com"),
    ENDING: claims_of("eve", expires_at=ENDS),
}
ALL_ROUTES = (
    Route("claims", "/claims/**", "app", claim_fields=(("X-Forwarded-Role", "role"),), base64=True),
    Route("shared", "/shared/**", "app", cors=Cors(frozenset({"https://other.example"}), frozenset({"GET"}))),
    *ROUTES,
)
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11)",
    "Accept: text/html",
    "Accept-Language: de",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: cors",
)
DIALECTS = list(Dialect)


def question(
    dialect: Dialect,
    target: str = "/x",
    *fields: str,
    method: str = "GET",
    host: str = "app.example",
    token: str | None = GOOD,
    client: str = "203.0.113.7",
    endpoint: str = "",
) -> bytes:
    """A question's bytes, as each proxy sends it."""
    path, asked, asked_host, told = endpoint or f"/.gateway/auth/{dialect}", "GET", "gateway:8080", list[str]()
    if dialect is Dialect.ENVOY:
        path, asked, asked_host = f"{path}{target}", method, host
    elif dialect is Dialect.NGINX:
        asked_host, told = host, [f"X-Original-Method: {method}", f"X-Original-URI: {target}"]
    else:
        told = [f"X-Forwarded-Method: {method}", f"X-Forwarded-Uri: {target}", f"X-Forwarded-Host: {host}"]
    lines = [f"{asked} {path} HTTP/1.1", f"Host: {asked_host}", *told, f"X-Forwarded-For: {client}"]
    if not any("equest-" in one for one in fields):
        # As each of them spells it.
        fields = (f"{'x-request-id' if dialect is Dialect.ENVOY else 'X-Request-Id'}: abc-1", *fields)
    lines += ["X-Forwarded-Proto: https", *fields]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def normal(data: bytes) -> bytes:
    """Without what differs from one run to the next."""
    return re.sub(rb"(?mi)^Date: [^\r]*|[0-9a-f]{32}", b"-", data)


@asynccontextmanager
async def asked(
    *, fast: bool = True, trusted: Sequence[IPNetwork] = LOOPBACK, dialects: Sequence[Dialect] = DIALECTS, **more: Any
) -> AsyncIterator[Gateway]:
    """A gateway that proxies on this machine may ask."""

    def questions(enforcer: Enforcer) -> ForwardAuth:
        return ForwardAuth(enforcer, more.get("identity") or IdentityWriter(), dialects=dialects)

    options: dict[str, Any] = {"tokens": TOKENS, "session": SessionCookieSettings(), "routes": ALL_ROUTES} | more
    async with gateway("http://127.0.0.1:1", trusted=trusted, fast_path=fast, questions=questions, **options) as front:
        yield front


def counted(front: Gateway) -> tuple[int, int]:
    """Questions that the fast path answered: by an earlier decision, and by one of their own."""
    assert front.proxy.fast is not None
    questions = front.proxy.fast.questions
    assert isinstance(questions, FastQuestions)
    return questions.replayed, questions.judged


def known(front: Gateway) -> int:
    """Questions that did not even have to be read."""
    assert front.proxy.fast is not None
    assert front.proxy.fast.questions is not None
    return front.proxy.fast.questions.known


async def warmed(front: Gateway, proxy: Proxy, *asked: bytes) -> None:
    """Ask until what is asked is known by its bytes."""
    for data in asked * 3:
        assert status_of(await proxy.ask(data)) == 200
    assert known(front) == len(asked)


class Proxy:
    """A proxy's connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, data: bytes, *, head_only: bool = False) -> bytes:
        async with asyncio.timeout(PATIENCE):
            self._writer.write(data)
            return await read_answer(self._reader, head_only=head_only)


@asynccontextmanager
async def connected(front: Gateway) -> AsyncIterator[Proxy]:
    reader, writer = await front.connect()
    try:
        yield Proxy(reader, writer)
    finally:
        writer.close()


# ---- the same bytes ----


@dataclass
class Case:
    """What is asked after ``primer``; ``replays`` whether it is answered by what that one left behind."""

    target: str = "/x"
    fields: Sequence[str] = ()
    replays: bool = True
    primer: str = "/x"
    primed: Sequence[str] = ()
    more: dict[str, Any] = field(default_factory=dict)
    primer_more: dict[str, Any] | None = None


COOKIE = f"Cookie: a=1; __Host-session={GOOD}; b=2"
FROM_HERE = "Origin: https://app.example"
CASES = {
    "the same again": Case(),
    "another target": Case("/y?q=1&r=%20"),
    "a browser's fields": Case(fields=BROWSER, primed=BROWSER),
    "HEAD": Case(more={"method": "HEAD"}),
    "cookies of the application": Case(fields=("Cookie: a=1; b=2",)),
    "the session's cookie": Case(fields=(COOKIE, BROWSER[3]), primed=(COOKIE, BROWSER[3]), more={"token": None}),
    "only the session's cookie": Case(
        fields=(f"Cookie: __Host-session={GOOD}", BROWSER[3]),
        primed=(f"Cookie: __Host-session={GOOD}", BROWSER[3]),
        more={"token": None},
    ),
    "a public page": Case("/public/y", primer="/public/x", more={"token": None}),
    "a public page with a token": Case("/public/y", primer="/public/x"),
    "an optional page, nobody": Case("/optional/y", primer="/optional/x", more={"token": None}),
    "an optional page, somebody": Case("/optional/y", primer="/optional/x"),
    "the token passed on": Case("/passing/y", primer="/passing/x"),
    "claims in fields of their own": Case("/claims/y", primer="/claims/x"),
    "a request id": Case(fields=("X-Request-Id: abc-2",)),
    "forged identity": Case(fields=("X-Forwarded-User: root", "X-Gateway-Something: 1"), replays=False),
    "a forged user alone": Case(fields=("X-Forwarded-User: root",)),
    "a chain to the same client": Case(more={"client": "10.9.9.9, 203.0.113.7"}),
    "a POST again": Case(more={"method": "POST"}, fields=(FROM_HERE,), primed=(FROM_HERE,)),
    "another host": Case(more={"host": "Other.Example"}, primer_more={}),
    # What no earlier decision answers.
    "a POST after a GET": Case(more={"method": "POST"}, primer_more={}, replays=False),
    "a foreign POST after one of ours": Case(
        more={"method": "POST"}, fields=("Origin: https://evil.example",), primed=(FROM_HERE,), replays=False
    ),
    "DELETE by nobody": Case(more={"method": "DELETE", "token": None}, primer_more={}, replays=False),
    "another session": Case(more={"token": OTHER}, primer_more={}, replays=False),
    "another client": Case(more={"client": "203.0.113.8"}, primer_more={}, replays=False),
    "another route": Case("/api/x", replays=False),
    "another cookie": Case(
        fields=(f"Cookie: __Host-session={OTHER}", BROWSER[3]),
        primed=(COOKIE, BROWSER[3]),
        replays=False,
        more={"token": None},
    ),
    "a cookie beside the token": Case(fields=(f"Cookie: __Host-session={OTHER}",), replays=False),
    "a forged token": Case(more={"token": "forged"}, primer_more={}, replays=False),
    "an expired token": Case(more={"token": "expired"}, primer_more={}, replays=False),
    "no token": Case(more={"token": None}, primer_more={}, replays=False, fields=BROWSER),
    "a token twice": Case(fields=(f"Authorization: Bearer {GOOD}",), replays=False),
    "keys that are not there": Case(more={"token": "down"}, primer_more={}, replays=False),
    "a page for other sites": Case("/shared/x", primer="/shared/x", replays=False),
    "a preflight": Case(
        "/shared/x",
        ("Origin: https://other.example", "Access-Control-Request-Method: GET"),
        more={"method": "OPTIONS", "token": None},
        primer_more={},
        replays=False,
    ),
    "the gateway's own address": Case("/.gateway/userinfo", replays=False),
    "a target with two readings": Case("/a//b", replays=False),
    "a dot segment": Case("/a/../x", replays=False),
    "a chain that is none": Case(more={"client": "nobody"}, primer_more={}, replays=False),
    "a WebSocket": Case(fields=("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",), replays=False),
    "a body": Case(fields=("Content-Length: 0",), replays=False),
    "a field with an underscore": Case(fields=("X_Forwarded_User: root",), replays=False),
    "a method that is none": Case(more={"method": "get"}, primer_more={}, replays=False),
    "a host that is none": Case(more={"host": "app.example/x"}, primer_more={}, replays=False),
    "an endpoint with a slash": Case(more={"endpoint": "/.gateway/auth/nginx/"}, primer_more={}, replays=False),
    "an endpoint with a query": Case(more={"endpoint": "/.gateway/auth/traefik?x"}, primer_more={}, replays=False),
    "an endpoint that is none": Case(more={"endpoint": "/.gateway/auth/squid"}, primer_more={}, replays=False),
    "what nginx fetches": Case(more={"endpoint": "/.gateway/auth/nginx/refusal"}, primer_more={}, replays=False),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", CASES)
async def test_both_ways_answer_alike(name: str, dialect: Dialect) -> None:
    """... answers and records a question on the fast path exactly as the ordinary way does, byte for byte."""
    case = CASES[name]
    primer_more = case.more if case.primer_more is None else case.primer_more
    first = question(dialect, case.primer, *case.primed, **primer_more)
    second = question(dialect, case.target, *case.fields, **case.more)
    head_only = dialect is Dialect.ENVOY and case.more.get("method") == "HEAD"
    answers, events, before = [], [], 0
    for fast in (True, False):
        async with asked(fast=fast) as front, connected(front) as proxy:
            given = [await proxy.ask(first, head_only=head_only)]
            if fast:
                before = counted(front)[0]
            given.append(await proxy.ask(second, head_only=head_only))
            if fast:
                assert (counted(front)[0] > before) is case.replays
            if case.replays:
                # What was replayed once is known again by its bytes.
                given += [await proxy.ask(one, head_only=head_only) for one in (second, first, second, first)]
                if fast:
                    assert known(front) > 0
        answers.append([normal(answer) for answer in given])
        events.append(
            [
                (event.method, event.host, event.path, event.client, event.decision.reason.id, event.decision.route)
                for event in front.audit.events
            ]
        )
    assert answers[0] == answers[1]
    assert events[0] == events[1]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_first_question_is_judged_at_once(dialect: Dialect) -> None:
    """... answers even the first question of a session on the fast path, when nothing has to be waited for."""
    async with asked() as front, connected(front) as proxy:
        for _ in range(3):
            assert status_of(await proxy.ask(question(dialect))) == 200
        assert counted(front) == (2, 1)
        assert front.audit.reasons == ["session_valid"] * 3


async def test_nothing_waits_on_the_fast_path() -> None:
    """... leaves a question to the ordinary way where the account service has to be asked first."""
    async with asked() as front, connected(front) as proxy:
        front.revocation.down = True
        assert status_of(await proxy.ask(question(Dialect.TRAEFIK))) == 503
        front.revocation.down = False
        assert status_of(await proxy.ask(question(Dialect.TRAEFIK))) == 200
        assert counted(front) == (0, 1)


# ---- the very next question ----


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fields", [(), (COOKIE, BROWSER[3])])
async def test_revocation_counts_for_the_next_question(dialect: Dialect, fields: Sequence[str]) -> None:
    """... refuses the first question after a session was revoked."""
    token = None if fields else GOOD
    async with asked() as front, connected(front) as proxy:
        await warmed(front, proxy, question(dialect, "/x", *fields, token=token))
        front.revocation.revoke()
        assert status_of(await proxy.ask(question(dialect, "/x", *fields, token=token))) == 401
        assert front.audit.reasons[-1] == "session_revoked"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_sign_out_counts_for_the_next_question(dialect: Dialect) -> None:
    """... refuses the first question after the session was signed out, and goes on answering for others."""
    async with asked() as front, connected(front) as proxy:
        await warmed(front, proxy, question(dialect), question(dialect, token=OTHER))
        front.proxy.guard._deny_list.deny(claims_of().principal, 1_000)  # type: ignore[union-attr]
        assert status_of(await proxy.ask(question(dialect))) == 401
        assert front.audit.reasons[-1] == "session_signed_out"
        assert status_of(await proxy.ask(question(dialect, token=OTHER))) == 200
        assert known(front) == 3


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_expiry_counts_for_the_next_question(dialect: Dialect) -> None:
    """... gives no decision again once the token's time is over."""
    at = [float(ENDS - 60)]
    async with asked(now=lambda: at[0]) as front, connected(front) as proxy:
        await warmed(front, proxy, question(dialect, token=ENDING))
        at[0] = float(ENDS)
        del front.verifier.tokens[ENDING]
        assert status_of(await proxy.ask(question(dialect, token=ENDING))) == 401


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_another_address_is_judged(dialect: Dialect) -> None:
    """... judges the first question that comes from another client's address, and gives it no other's answer."""
    async with asked() as front, connected(front) as proxy:
        clients = ["203.0.113.7"] * 3 + ["203.0.113.8"] * 3
        for client in clients:
            assert status_of(await proxy.ask(question(dialect, client=client))) == 200
        assert [event.client for event in front.audit.events] == clients
        assert (counted(front), known(front)) == ((4, 2), 2)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_nobody_else_may_ask(dialect: Dialect) -> None:
    """... refuses every question of a peer that is not configured, and one that is so no more from then on."""
    async with asked(trusted=()) as front, connected(front) as proxy:
        for _ in range(2):
            assert status_of(await proxy.ask(question(dialect))) == 403
        assert front.audit.reasons == ["proxy_not_trusted"] * 2
    async with asked() as front, connected(front) as proxy:
        await warmed(front, proxy, question(dialect))
        old = front.proxy.guard
        guard = SessionGuard(
            routes=old.routes,
            verifier=front.verifier,
            revocation=front.revocation,
            addresses=AddressResolver(),
            clock=old._clock,
            generation=1,
        )
        front.proxy.replace(guard, front.proxy.upstreams)
        assert status_of(await proxy.ask(question(dialect))) == 403


@pytest.mark.parametrize("dialect", [Dialect.NGINX, Dialect.TRAEFIK, Dialect.CADDY])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("shouted", [False, True])
async def test_a_doubled_original_is_refused(dialect: Dialect, which: int, *, shouted: bool) -> None:
    """... refuses a question that tells method or target twice, in whatever spelling, however warm its decision is."""
    prefix = "X-Original" if dialect is Dialect.NGINX else "X-Forwarded"
    line = (f"{prefix}-Method: GET", f"{prefix}-Uri: /x")[which]
    async with asked() as front, connected(front) as proxy:
        await warmed(front, proxy, question(dialect))
        answer = await proxy.ask(question(dialect, "/x", line.upper().replace("/X", "/x") if shouted else line))
        assert status_of(answer) == (401 if dialect is Dialect.NGINX else 400)
        assert front.audit.reasons[-1] == "request_malformed"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("absent", [b"X-Original-Method", b"X-Original-URI", b"X-Forwarded-Method", b"X-Forwarded-Uri"])
async def test_an_absent_original_is_refused(dialect: Dialect, absent: bytes) -> None:
    """... refuses a question that does not tell what its dialect tells."""
    whole = question(dialect)
    lacking = b"\r\n".join(line for line in whole.split(b"\r\n") if not line.startswith(absent + b":"))
    async with asked() as front, connected(front) as proxy:
        await warmed(front, proxy, whole)
        expected = 200 if lacking == whole else 401 if dialect is Dialect.NGINX else 400
        assert status_of(await proxy.ask(lacking)) == expected


async def test_only_configured_dialects_are_answered() -> None:
    """... answers the dialects that are switched on, on the fast path as elsewhere, and no other."""
    async with asked(dialects=[Dialect.CADDY]) as front, connected(front) as proxy:
        for dialect in DIALECTS:
            answer = await proxy.ask(question(dialect))
            assert status_of(answer) == (200 if dialect is Dialect.CADDY else 404)
        assert counted(front) == (0, 1)
    async with asked(dialects=[]) as front:
        assert front.proxy.fast is not None
        assert front.proxy.fast.questions is None
