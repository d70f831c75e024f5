"""Raw sockets on both sides of the proxy: a client that writes any bytes, a backend that records every byte.

``backend(script)`` runs a script per connection; ``gateway(url)`` is a proxy with fakes for the judge's ports in front
of it; ``Gateway.speak`` sends bytes and collects what comes back.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from gateway import reasons
from gateway.adapters.memory import MemoryDenyList
from gateway.clock import SystemClock
from gateway.core.claims import Claims, Principal
from gateway.core.client_ip import AddressResolver, IPNetwork
from gateway.core.ports import AddressSource, DecisionEvent, Standing
from gateway.errors import BadSignature, KeysUnavailable, RevocationUnavailable, TokenExpired
from gateway.guard import SessionGuard
from gateway.http.cookies import SessionCookieSettings, sdk_id_cookie
from gateway.http.cookies_proxy import SdkCookies, SdkServices
from gateway.http.endpoints import Endpoints, LoginSettings
from gateway.http.reply import Replies
from gateway.http.scripts import WorkerSettings
from gateway.http.session_cookie import SessionCookieEndpoint
from gateway.http.sessions import SignOut
from gateway.http.trail import TrailReaders
from gateway.mutators.identity import IdentityWriter
from gateway.policy.routes import Auth, Route, RouteTable, Unauthenticated
from gateway.proxy.limits import Limits
from gateway.proxy.live import LiveSettings
from gateway.proxy.server import ProxyServer, Questions
from gateway.proxy.upstream import Timeouts, Upstream

PATIENCE = 5.0
"""Seconds after which a test that waits for bytes fails."""

GOOD = "good.token.one"
FAR_FUTURE = 4_000_000_000


@dataclass(frozen=True)
class FakeAsset:
    name: str
    body: bytes
    content_type: str
    etag: str = 'W/"0123456789abcdef"'
    version: str = "0123456789abcdef"
    gzipped: bytes | None = None


class FakeAssets:
    """A small set of pages and scripts."""

    def __init__(self, **changed: FakeAsset) -> None:
        html, script = "text/html; charset=utf-8", "text/javascript; charset=utf-8"
        files = [
            FakeAsset(
                "login.html",
                b'<title>{{title}}</title><meta name="gateway-config" content="{{config}}">'
                b'<script src="{{prefix}}assets/login.js"></script>',
                html,
            ),
            FakeAsset(
                "error.html",
                b"<title>{{title}}</title><h1>{{heading}}</h1><p>{{advice}}</p>"
                b"<code>{{status}} {{reason}} {{request_id}}</code>"
                b'<a href="{{home}}">home</a><link href="{{prefix}}assets/app.css">',
                html,
            ),
            FakeAsset("login.js", b"console.log('login')", script, gzipped=b"\x1f\x8bzipped"),
            FakeAsset("sw.js", b"console.log('worker')", script),
            FakeAsset("sw-off.js", b"console.log('off')", script),
            FakeAsset("sw-sdk.js", b"console.log('sdk')", script),
            FakeAsset("session.js", b"console.log('helper')", script),
            FakeAsset("app.css", b"body{}", "text/css; charset=utf-8"),
        ]
        self._files = {file.name: file for file in files} | changed

    def get(self, name: str) -> FakeAsset | None:
        return self._files.get(name)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells, like the state of a socket's other end."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)


def claims_of(uid: str = "alice", **payload: Any) -> Claims:
    """Claims as a verifier would give them."""
    return Claims(
        principal=Principal("demo", None, uid),
        issued_at=payload.get("issued_at", 1_000),
        expires_at=payload.get("expires_at", FAR_FUTURE),
        auth_time=payload.get("auth_time", 1_000),
        email=payload.get("email", "alice@example.com"),
        email_verified=True,
        name=payload.get("name", "Alice"),
        sign_in_provider="password",
        second_factor=None,
        sign_in_ip=payload.get("signInIpAddress"),
        payload={"sub": uid, "aud": "demo", **payload},
    )


class FakeVerifier:
    """Knows tokens by heart; ``expired`` and ``down`` are what they say, everything else is forged."""

    def __init__(self, tokens: Mapping[str, Claims] | None = None) -> None:
        self.tokens = dict(tokens or {GOOD: claims_of()})
        self.asked = 0

    async def verify(self, token: str) -> Claims:
        claims = self.peek(token)
        if claims is None:
            raise KeysUnavailable("no keys", retry_after=7)
        return claims

    def peek(self, token: str) -> Claims | None:
        if token == "down":
            return None
        self.asked += 1
        if token == "expired":
            raise TokenExpired("too old")
        if token not in self.tokens:
            raise BadSignature("forged")
        return self.tokens[token]


class FakeRevocation:
    """Everybody stands, until :meth:`revoke`.

    ``down``: it answers nothing and cannot be told of a revocation; ``open`` cleared: being told takes until it is set.
    """

    def __init__(self) -> None:
        self.valid_since = 0
        self.down = False
        self.told: list[Principal] = []
        self.open = asyncio.Event()
        self.open.set()

    async def revoke_now(self, principal: Principal) -> None:
        self.told.append(principal)
        await self.open.wait()
        if self.down:
            raise RevocationUnavailable("down", retry_after=7)
        self.revoke()

    def revoke(self) -> None:
        self.valid_since = FAR_FUTURE

    def peek(self, principal: Principal) -> Standing | None:
        return None if self.down else self._standing()

    async def standing(self, principal: Principal) -> Standing:
        if self.down:
            raise RevocationUnavailable("down", retry_after=7)
        return self._standing()

    def last_known(self, principal: Principal) -> Standing:
        return self._standing()

    def _standing(self) -> Standing:
        return Standing(exists=True, disabled=False, valid_since=self.valid_since, epoch=self.valid_since, checked_at=0)


class Recorder:
    """An audit sink that keeps everything."""

    def __init__(self) -> None:
        self.events: list[DecisionEvent] = []

    def record(self, event: DecisionEvent) -> None:
        self.events.append(event)

    @property
    def reasons(self) -> list[str]:
        return [event.decision.reason.id for event in self.events]


@dataclass
class Gateway:
    """A running proxy and what it was built from."""

    proxy: ProxyServer
    port: int
    verifier: FakeVerifier
    revocation: FakeRevocation
    audit: Recorder
    upstream: Upstream
    routes: list[Route] = field(default_factory=list)

    @property
    def replayed(self) -> int:
        """Requests that took the fast path by an earlier decision."""
        return self.proxy.fast.replayed if self.proxy.fast is not None else 0

    @property
    def judged(self) -> int:
        """Requests that took the fast path by a decision of their own."""
        return self.proxy.fast.judged if self.proxy.fast is not None else 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)

    async def speak(self, data: bytes, *, until_close: bool = False) -> bytes:
        """Send ``data`` on a new connection; give back one whole answer, or everything until the gateway closes."""
        reader, writer = await self.connect()
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(data)
                await writer.drain()
                if until_close:
                    return await reader.read()
                return await read_answer(reader, head_only=data.startswith(b"HEAD "))
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> bytes:
    """One whole answer in the bytes it came in, interim answers included."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if 100 <= status < 200 and status != 101:
        return head + await read_answer(reader, head_only=head_only)
    if head_only or status in {101, 204, 304}:
        return head
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length is not None:
        return head + await reader.readexactly(int(length.group(1)))
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head) is None:
        return head + await reader.read()
    while not head.endswith(b"\r\n0\r\n\r\n"):
        line = await reader.readuntil(b"\r\n")
        head += line
        if line == b"0\r\n":
            while line != b"\r\n":
                line = await reader.readuntil(b"\r\n")
                head += line
            break
        head += await reader.readexactly(int(line, 16) + 2)
    return head


def status_of(answer: bytes) -> int:
    """The status of an answer; 0 when there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def head_of(answer: bytes) -> dict[str, str]:
    """Fields of an answer by lower-case name, repeated ones joined with a bar."""
    fields: dict[str, str] = {}
    for line in answer.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        fields[name.lower()] = f"{fields[name.lower()]} | {value.strip()}" if name.lower() in fields else value.strip()
    return fields


def body_of(answer: bytes) -> bytes:
    """What follows the head."""
    return answer.partition(b"\r\n\r\n")[2]


def request(
    line: str = "GET / HTTP/1.1", *fields: str, body: bytes = b"", token: str | None = GOOD, host: str = "app.example"
) -> bytes:
    """A request's bytes, with a Host and, unless it is None, a bearer token."""
    lines = [line, f"Host: {host}", *fields]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body and not any(field.lower().startswith(("content-length", "transfer-encoding")) for field in fields):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


ROUTES = (
    Route("public", "/public/**", "app", Auth.PUBLIC),
    Route("optional", "/optional/**", "app", Auth.OPTIONAL),
    Route("passing", "/passing/**", "app", forward_authorization=True),
    Route("api", "/api/**", "app", unauthenticated=Unauthenticated.UNAUTHORIZED),
    Route("all", "/**", "app"),
)


@asynccontextmanager
async def gateway(
    *urls: str,
    routes: Sequence[Route] = ROUTES,
    trusted: Sequence[IPNetwork] = (),
    tokens: Mapping[str, Claims] | None = None,
    timeouts: Timeouts | None = None,
    upstream: Upstream | None = None,
    head_deadline: float = 10.0,
    limits: Limits | None = None,
    assets: Any = None,
    readers: TrailReaders | None = None,
    signs_out: bool = True,
    revokes: bool = True,
    proxy_protocol: bool = False,
    session: SessionCookieSettings | None = None,
    cookie_source: Any = None,
    clock: Any = None,
    sdk_services: SdkServices | None = None,
    fast_path: bool = True,
    now: Callable[[], float] = time.time,
    revocation: FakeRevocation | None = None,
    addresses: AddressSource | None = None,
    live: LiveSettings | None = None,
    questions: Questions | None = None,
    identity: IdentityWriter | None = None,
) -> AsyncIterator[Gateway]:
    """A running proxy in front of the backend at ``urls``; ``session`` and ``sdk_services`` switch cookies on.

    ``upstream`` replaces what ``urls`` and ``timeouts`` say.
    """
    verifier, revocation, audit = FakeVerifier(tokens), revocation or FakeRevocation(), Recorder()
    clock = clock or SystemClock()
    deny_list = MemoryDenyList(SystemClock())
    settings = session or SessionCookieSettings("off")
    cookies = {settings.cookie: verifier} if settings.mode != "off" else {}
    if sdk_services is not None:
        cookies[sdk_id_cookie()] = verifier
    guard = SessionGuard(
        routes=RouteTable(routes),
        verifier=verifier,
        revocation=revocation,
        addresses=addresses or AddressResolver(trusted),
        clock=clock,
        deny_list=deny_list,
        cookies=cookies,
    )
    files = assets if assets is not None else FakeAssets()
    replies = Replies(files, title="Acme")
    client = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) if sdk_services is not None else None
    endpoints = Endpoints(
        files,
        replies,
        LoginSettings(api_key="key", project_id="demo", title="Acme"),
        WorkerSettings(api_key="key", cookie=settings.mode != "off"),
        sign_out=(
            SignOut(replies, deny_list, revocation.revoke_now if revokes else None, cookies=settings)
            if signs_out
            else None
        ),
        session_cookie=SessionCookieEndpoint(settings, replies, clock, source=cookie_source),
        sdk_cookies=SdkCookies(sdk_services, client, replies, clock) if client is not None and sdk_services else None,
    )
    upstream = upstream or Upstream("app", urls, timeouts)
    proxy = ProxyServer(
        guard,
        {"app": upstream},
        endpoints,
        replies,
        audit,
        readers=readers,
        limits=limits or Limits(head=head_deadline),
        proxy_protocol=proxy_protocol,
        fast_path=fast_path,
        now=now,
        live=live,
        questions=questions,
        identity=identity,
    )
    port = await proxy.start("127.0.0.1", 0)
    try:
        yield Gateway(proxy, port, verifier, revocation, audit, upstream, list(routes))
    finally:
        await proxy.close(0)
        if client is not None:
            await client.close()


KNOWN_REASONS = frozenset(reasons.TABLE)
