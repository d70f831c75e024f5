"""Forward auth: what each proxy asks, and what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest

from gateway import reasons
from gateway.adapters.memory import MemoryDenyList
from gateway.clock import SystemClock
from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.errors import RequestError
from gateway.forward_auth import Dialect, ForwardAuth, dialect_of, original_request
from gateway.guard import SessionGuard
from gateway.http.cookies import SessionCookieSettings
from gateway.http.endpoints import Endpoints, LoginSettings
from gateway.http.enforce import Enforcer
from gateway.http.reply import Replies, Reply
from gateway.http.scripts import WorkerSettings
from gateway.mutators.identity import IdentityWriter
from gateway.policy.routes import RouteTable
from tests.support.wire import GOOD, ROUTES, FakeAssets, FakeRevocation, FakeVerifier, Recorder

PROXY = "10.0.0.1"
ALL = list(Dialect)
Pairs = Sequence[tuple[str, str]]


@dataclass
class Gate:
    """A gateway that proxies may ask, and what they ask with."""

    forward_auth: ForwardAuth
    guard: SessionGuard
    audit: Recorder
    revocation: FakeRevocation
    fields: list[tuple[str, str]] = field(default_factory=list)

    async def ask(
        self,
        dialect: Dialect,
        target: str = "/x",
        *more: tuple[str, str],
        method: str = "GET",
        host: str = "app.example",
        token: str | None = GOOD,
        peer: str = PROXY,
        behind: str = "",
    ) -> Reply:
        fields = [("X-Forwarded-For", "192.0.2.7"), *more]
        if token is not None:
            fields.append(("Authorization", f"Bearer {token}"))
        context = question(dialect, target, fields, method=method, host=host, peer=peer, behind=behind)
        answer = await self.forward_auth.answer(context, self.guard, "request-1")
        assert answer is not None
        return answer.reply


def question(
    dialect: Dialect,
    target: str,
    fields: Pairs,
    *,
    method: str = "GET",
    host: str = "app.example",
    peer: str = PROXY,
    behind: str = "",
) -> RequestContext:
    """What the proxy sends, as each one does it."""
    path, asked_method, asked_host, told = (
        f"/.gateway/auth/{dialect}{behind}",
        "GET",
        "gateway:8080",
        list[tuple[str, str]](),
    )
    if dialect is Dialect.ENVOY:
        path, asked_method, asked_host = f"{path}{target}", method, host
    elif dialect is Dialect.NGINX:
        asked_host, told = host, [("X-Original-Method", method), ("X-Original-URI", target)]
    else:
        told = [("X-Forwarded-Method", method), ("X-Forwarded-Uri", target), ("X-Forwarded-Host", host)]
    lines = [("Host", asked_host), *told, *fields]
    headers = Headers(tuple((name.encode(), value.encode()) for name, value in lines))
    return RequestContext(asked_method, "http", asked_host, parse_target(path), peer, headers)


@pytest.fixture
def gate() -> Gate:
    audit, revocation, verifier = Recorder(), FakeRevocation(), FakeVerifier()
    cookie = SessionCookieSettings().cookie
    guard = SessionGuard(
        routes=RouteTable(ROUTES),
        verifier=verifier,
        revocation=revocation,
        addresses=AddressResolver([ip_network("10.0.0.0/8")]),
        clock=SystemClock(),
        deny_list=MemoryDenyList(SystemClock()),
        cookies={cookie: verifier},
    )
    assets = FakeAssets()
    replies = Replies(assets, title="Acme")
    login = LoginSettings(api_key="key", project_id="demo")
    enforcer = Enforcer(Endpoints(assets, replies, login, WorkerSettings(api_key="key")), replies, audit)
    return Gate(ForwardAuth(enforcer, IdentityWriter()), guard, audit, revocation)


def one(reply: Reply, name: str) -> str | None:
    values = [value for given, value in reply.headers if given.lower() == name.lower()]
    assert len(values) < 2
    return values[0] if values else None


# ---- passing ----


@pytest.mark.parametrize("dialect", ALL)
async def test_who_calls_is_told(gate: Gate, dialect: Dialect) -> None:
    """... lets a good session pass and tells the backend who it is and under which id it is recorded."""
    reply = await gate.ask(dialect, "/x?a=1", method="POST")
    assert reply.status == 200
    assert one(reply, "X-Forwarded-User") == "alice"
    assert one(reply, "X-Request-Id") == "request-1"
    assert one(reply, "Authorization") is None
    (event,) = gate.audit.events
    assert (event.method, event.host, event.path, event.client) == ("POST", "app.example", "/x", "192.0.2.7")


@pytest.mark.parametrize("dialect", ALL)
async def test_nobody_is_nobody(gate: Gate, dialect: Dialect) -> None:
    """... says nothing about who calls where nobody does, and has Envoy remove what the client wrote."""
    forged = [("X-Forwarded-User", "root"), ("X-Gateway-Jwt-Assertion", "x.y.z")]
    for target in ("/public/x", "/optional/x"):
        reply = await gate.ask(dialect, target, *forged, token=None)
        assert reply.status == 200
        assert one(reply, "X-Forwarded-User") is None
        removed = (one(reply, "X-Envoy-Auth-Headers-To-Remove") or "").split(",")
        expected = {
            "x-forwarded-user",
            "x-forwarded-email",
            "x-forwarded-groups",
            "x-gateway-jwt-assertion",
            "authorization",
        }
        assert (expected <= set(removed)) is (dialect is Dialect.ENVOY)


@pytest.mark.parametrize("dialect", ALL)
async def test_the_token_stays_here_unless_the_route_passes_it_on(gate: Gate, dialect: Dialect) -> None:
    """... hands the ID token to the backend only on routes that say so."""
    assert one(await gate.ask(dialect, "/x"), "Authorization") is None
    reply = await gate.ask(dialect, "/passing/x")
    assert one(reply, "Authorization") == f"Bearer {GOOD}"
    assert "authorization" not in (one(reply, "X-Envoy-Auth-Headers-To-Remove") or "").split(",")


@pytest.mark.parametrize("dialect", ALL)
async def test_the_session_cookie_stays_here(gate: Gate, dialect: Dialect) -> None:
    """... tells which cookies the backend may have: all but its own."""
    proof = ("Sec-Fetch-Site", "same-origin"), ("X-Forwarded-Proto", "https")
    cookie = ("Cookie", f"a=1; __Host-session={GOOD}; b=2")
    reply = await gate.ask(dialect, "/x", cookie, *proof, token=None)
    assert reply.status == 200
    assert one(reply, "X-Forwarded-User") == "alice"
    assert one(reply, "Cookie") == "a=1; b=2"
    reply = await gate.ask(dialect, "/x", ("Cookie", f"__Host-session={GOOD}"), *proof, token=None)
    assert one(reply, "Cookie") is None
    assert ("cookie" in (one(reply, "X-Envoy-Auth-Headers-To-Remove") or "").split(",")) is (dialect is Dialect.ENVOY)


# ---- refusing ----


@pytest.mark.parametrize("dialect", [Dialect.TRAEFIK, Dialect.CADDY, Dialect.ENVOY])
async def test_refusals_are_as_the_client_is_to_get_them(gate: Gate, dialect: Dialect) -> None:
    """... answers with the redirect, the problem or the page that the proxy itself would have sent."""
    page = ("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")
    reply = await gate.ask(dialect, "/x?a=1", *page, token=None)
    assert (reply.status, one(reply, "Location")) == (302, "/.gateway/login?rd=/x%3Fa%3D1&reason=sign_in_required")
    reply = await gate.ask(dialect, "/api/x", *page, token=None)
    assert reply.status == 401
    assert one(reply, "WWW-Authenticate") == 'Bearer realm="Acme"'
    reply = await gate.ask(dialect, "/x", ("Origin", "https://evil.example"), method="POST")
    assert reply.status == 403
    gate.revocation.down = True
    reply = await gate.ask(dialect, "/x")
    assert (reply.status, one(reply, "Retry-After")) == (503, "7")


async def test_nginx_gets_what_auth_request_understands(gate: Gate) -> None:
    """... answers nginx with 401 or 403 alone, and with the whole refusal where nginx fetches it."""
    page = ("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")
    foreign = ("Origin", "https://evil.example")
    for more, method, short, whole in ((page, "GET", 401, 302), ((foreign,), "POST", 403, 403), ((), "GET", 401, 401)):
        token = GOOD if method == "POST" else None
        reply = await gate.ask(Dialect.NGINX, "/x", *more, method=method, token=token)
        assert (reply.status, reply.body) == (short, b"")
        reply = await gate.ask(Dialect.NGINX, "/x", *more, method=method, token=token, behind="/refusal")
        assert reply.status == whole
    gate.revocation.down = True
    assert (await gate.ask(Dialect.NGINX, "/x")).status == 401
    assert (await gate.ask(Dialect.NGINX, "/x", behind="/refusal")).status == 503


async def test_a_refusal_that_is_none_any_more_lets_nobody_pass(gate: Gate) -> None:
    """... answers "try again" when what was refused a moment ago is good now, never with what a backend would say."""
    reply = await gate.ask(Dialect.NGINX, "/x", behind="/refusal")
    assert (reply.status, one(reply, "Retry-After")) == (503, "0")
    assert one(reply, "X-Forwarded-User") is None


# ---- whom to believe, and what ----


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("peer", ["192.0.2.1", "11.0.0.1", "", "::1"])
async def test_only_named_proxies_may_ask(gate: Gate, dialect: Dialect, peer: str) -> None:
    """... refuses the question of anybody who is not a configured proxy, token or not, and says so in the log."""
    reply = await gate.ask(dialect, "/x", peer=peer)
    assert reply.status == 403
    assert one(reply, "X-Forwarded-User") is None
    assert gate.audit.reasons == ["proxy_not_trusted"]


@pytest.mark.parametrize("dialect", [Dialect.NGINX, Dialect.TRAEFIK, Dialect.CADDY])
@pytest.mark.parametrize("fault", ["absent", "doubled", "empty"])
@pytest.mark.parametrize("which", [0, 1, 2])
async def test_the_original_request_is_told_once(dialect: Dialect, fault: str, which: int) -> None:
    """... refuses a question whose method, target or host is absent, doubled or empty."""
    context = question(dialect, "/x", [])
    names = {
        Dialect.NGINX: (b"X-Original-Method", b"X-Original-URI", b"Host"),
    }.get(dialect, (b"X-Forwarded-Method", b"X-Forwarded-Uri", b"X-Forwarded-Host"))
    lines: list[tuple[bytes, bytes]] = []
    for name, value in context.headers.raw:
        if name != names[which]:
            lines.append((name, value))
        elif fault != "absent":
            lines += [(name, value), (name, value)] if fault == "doubled" else [(name, b"")]
    broken = RequestContext("GET", "http", "app.example", context.target, PROXY, Headers(tuple(lines)))
    with pytest.raises(RequestError) as caught:
        original_request(broken, dialect, "/")
    assert caught.value.reason is reasons.REQUEST_MALFORMED


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/public/../x", 400),
        ("/public/%2e%2e/x", 400),
        ("/public//x", 400),
        ("/public/%2fx", 400),
        ("/public/%5cx", 400),
    ],
)
async def test_an_ambiguous_target_is_refused(gate: Gate, dialect: Dialect, target: str, status: int) -> None:
    """... refuses a target with more than one reading, whichever proxy tells it."""
    if dialect is Dialect.ENVOY:
        with pytest.raises(RequestError):  # the intake refuses it before anybody is asked
            question(dialect, target, [])
        return
    reply = await gate.ask(dialect, target, token=None, behind="/refusal" if dialect is Dialect.NGINX else "")
    assert reply.status == 400


@pytest.mark.parametrize("dialect", [Dialect.NGINX, Dialect.TRAEFIK, Dialect.CADDY])
@pytest.mark.parametrize("target", ["x", "/a b", "/a#b", "", "http://other.example/x", "/\x7f"])
async def test_what_is_no_target_is_refused(gate: Gate, dialect: Dialect, target: str) -> None:
    """... refuses what is no request target, and one that names another host than the host field."""
    behind = "/refusal" if dialect is Dialect.NGINX else ""
    reply = await gate.ask(dialect, target, token=None, behind=behind)
    assert reply.status == 400


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_some_methods_are_nobodys(gate: Gate, dialect: Dialect, method: str) -> None:
    """... refuses methods that no backend should get."""
    behind = "/refusal" if dialect is Dialect.NGINX else ""
    if dialect is Dialect.ENVOY:
        behind = ""
    reply = await gate.ask(dialect, "/public/x", method=method, token=None, behind=behind)
    assert reply.status == 405


@pytest.mark.parametrize("dialect", ALL)
async def test_other_dialects_fields_mean_nothing(gate: Gate, dialect: Dialect) -> None:
    """... reads the fields of its own dialect only: a client's other ones change nothing."""
    misleading = [("X-Rewrite-Url", "/public/x"), ("X_Original_URI", "/public/x"), ("X-Forwarded-Prefix", "/public")]
    if dialect is not Dialect.NGINX:
        misleading.append(("X-Original-URI", "/public/x"))
    if dialect in {Dialect.NGINX, Dialect.ENVOY}:
        misleading += [("X-Forwarded-Uri", "/public/x"), ("X-Forwarded-Method", "OPTIONS")]
    reply = await gate.ask(dialect, "/api/x", *misleading, token=None)
    assert reply.status == 401
    assert gate.audit.events[-1].path == "/api/x"


@pytest.mark.parametrize("dialect", ALL)
async def test_its_own_addresses_are_no_backends(gate: Gate, dialect: Dialect) -> None:
    """... never lets a request for its own addresses pass to the backend."""
    behind = "/refusal" if dialect is Dialect.NGINX else ""
    for target in ("/service-worker.js", "/.gateway/login", "/.gateway/auth/nginx"):
        reply = await gate.ask(dialect, target, behind=behind)
        assert reply.status == 404


@pytest.mark.parametrize("dialect", ALL)
async def test_a_handshake_by_cookie_needs_its_origin(gate: Gate, dialect: Dialect) -> None:
    """... knows a WebSocket handshake by its key, and asks a cookie's for proof of its origin."""
    cookie = ("Cookie", f"__Host-session={GOOD}"), ("X-Forwarded-Proto", "https")
    handshake = (*cookie, ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
    assert (await gate.ask(dialect, "/x", *cookie, token=None)).status == 200
    assert (await gate.ask(dialect, "/x", *handshake, token=None)).status == 403
    assert (await gate.ask(dialect, "/x", *handshake, ("Origin", "https://app.example"), token=None)).status == 200


@pytest.mark.parametrize("agent", ["GoogleHC/1.0", "kube-probe/1.29", "ELB-HealthChecker/2.0", "curl/8"])
@pytest.mark.parametrize("dialect", ALL)
async def test_nobody_passes_for_being_a_health_check(gate: Gate, dialect: Dialect, agent: str) -> None:
    """... decides nothing by User-Agent."""
    reply = await gate.ask(dialect, "/x", ("User-Agent", agent), token=None)
    assert reply.status == 401


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/.gateway/auth/nginx", (Dialect.NGINX, "")),
        ("/.gateway/auth/nginx/refusal", (Dialect.NGINX, "refusal")),
        ("/.gateway/auth/nginx/other", None),
        ("/.gateway/auth/traefik", (Dialect.TRAEFIK, "")),
        ("/.gateway/auth/traefik/refusal", None),
        ("/.gateway/auth/envoy", (Dialect.ENVOY, "/")),
        ("/.gateway/auth/envoy/a/b", (Dialect.ENVOY, "/a/b")),
        ("/.gateway/auth/other", None),
        ("/.gateway/auth", None),
        ("/auth/nginx", None),
    ],
)
def test_endpoints(path: str, found: object) -> None:
    """... knows its four endpoints and nothing beside them."""
    assert dialect_of(path, "/.gateway/") == found
