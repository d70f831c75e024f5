"""One decision table through every enforcement point: no two of them may differ."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway import session_of
from gateway.clock import SystemClock
from gateway.core.client_ip import AddressResolver
from gateway.errors import RequestError
from gateway.forward_auth import Dialect, ForwardAuth
from gateway.guard import SessionGuard
from gateway.http.cookies import SessionCookieSettings
from gateway.http.endpoints import Endpoints, LoginSettings
from gateway.http.enforce import Enforcer
from gateway.http.negotiate import PROBLEM
from gateway.http.reply import Replies
from gateway.http.scripts import WorkerSettings
from gateway.middleware import Enforcement, install
from gateway.mutators.identity import IdentityWriter
from gateway.policy.routes import Route, RouteTable
from tests.enforcement.decisions import CLIENT, ROUTES, Row, rows, tokens
from tests.support.wire import (
    FakeAssets,
    FakeRevocation,
    FakeVerifier,
    Recorder,
    head_of,
    read_answer,
    status_of,
)
from tests.support.wire import gateway as proxied
from tests.test_forward_auth import question

TRUSTED = [ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")]
TABLE = rows()
FORWARDED = (("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "https"))


@dataclass(frozen=True)
class Found:
    """What became of a request at one enforcement point."""

    reason: str
    status: int
    uid: str | None = None
    where: str = ""


Ask = Callable[[Row], Awaitable[Found]]
POINTS = ("proxy, fast path", "proxy, ordinary way", "middleware", *(f"forward auth, {dialect}" for dialect in Dialect))


def raw(row: Row) -> bytes:
    lines = [f"{row.method} {row.target} HTTP/1.1", f"Host: {row.host}"]
    lines += [f"{name}: {value}" for name, value in (*FORWARDED, *row.sent)]
    if row.method in {"POST", "PUT", "PATCH", "DELETE"}:
        lines.append("Content-Length: 0")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


async def speak(port: int, row: Row) -> Found:
    """Send the row's request and read what comes back; the reason is for whoever judged it to tell."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw(row))
        async with asyncio.timeout(5):
            answer = await read_answer(reader, head_only=row.method == "HEAD")
    finally:
        writer.close()
    head = head_of(answer)
    return Found("", status_of(answer), head.get("x-seen-user") or None, head.get("location", ""))


async def who(request: web.Request) -> web.Response:
    """An application that says whose request it takes a request for."""
    session = session_of(request)
    return web.Response(headers={"X-Seen-User": session.principal.uid if session is not None else ""})


async def backend_says(request: web.Request) -> web.Response:
    """A backend that says whose request it takes a request for."""
    return web.Response(headers={"X-Seen-User": request.headers.get("X-Forwarded-User", "")})


def catch_all(handler: Callable[[web.Request], Awaitable[web.Response]]) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    return app


def parts(audit: Recorder) -> tuple[SessionGuard, Enforcer]:
    """A judge and an enforcer as the proxy of these tests has them."""
    verifier = FakeVerifier(tokens(time.time()))
    guard = SessionGuard(
        routes=RouteTable(ROUTES),
        verifier=verifier,
        revocation=FakeRevocation(),
        addresses=AddressResolver(TRUSTED),
        clock=SystemClock(),
        cookies={SessionCookieSettings().cookie: verifier},
    )
    assets = FakeAssets()
    replies = Replies(assets, title="Acme")
    endpoints = Endpoints(
        assets, replies, LoginSettings(api_key="key", project_id="demo"), WorkerSettings(api_key="key")
    )
    return guard, Enforcer(endpoints, replies, audit)


@asynccontextmanager
async def proxy(*, fast: bool) -> AsyncIterator[Ask]:
    async with TestServer(catch_all(backend_says)) as backend:
        url = str(backend.make_url("")).rstrip("/")
        cookie = SessionCookieSettings()
        options = {"routes": ROUTES, "trusted": TRUSTED, "tokens": tokens(time.time()), "session": cookie}
        async with proxied(url, fast_path=fast, **options) as server:  # type: ignore[arg-type] # mixed values

            async def ask(row: Row) -> Found:
                found = None
                # The first is judged; the others may be replayed.
                for _ in range(3 if fast else 1):
                    again = await speak(server.port, row)
                    assert found is None or again == found, row.name
                    found = again
                assert found is not None
                return Found(server.audit.reasons[-1], found.status, found.uid, found.where)

            yield ask
            if fast:
                assert server.replayed > len(TABLE) / 4, "the fast path was hardly taken"


@asynccontextmanager
async def middleware() -> AsyncIterator[Ask]:
    audit = Recorder()
    guard, enforcer = parts(audit)
    enforcement = Enforcement()
    enforcement.open(lambda: guard, enforcer, Route("default", "/**", ""))
    app = catch_all(who)
    install(app, enforcement)
    async with TestServer(app) as server:

        async def ask(row: Row) -> Found:
            found = await speak(server.port or 0, row)
            return Found(audit.reasons[-1], found.status, found.uid, found.where)

        yield ask


@asynccontextmanager
async def forward_auth(dialect: Dialect) -> AsyncIterator[Ask]:
    audit = Recorder()
    guard, enforcer = parts(audit)
    asked = ForwardAuth(enforcer, IdentityWriter())

    async def ask(row: Row) -> Found:
        found, short = None, 0
        for behind in ("", "/refusal") if dialect is Dialect.NGINX else ("",):
            short = found.status if found is not None else 0
            found = await once(row, behind)
            if found.status == 200:
                break
        assert found is not None
        if short:  # what auth_request understands
            assert short == (403 if found.status == 403 else 401), row.name
        return found

    async def once(row: Row, behind: str) -> Found:
        fields = [(name, value) for name, value in row.sent if name not in {"Upgrade", "Connection"}]
        sent = (*FORWARDED, *fields)
        try:
            context = question(dialect, row.target, sent, method=row.method, host=row.host, behind=behind)
        except RequestError as error:  # Envoy's question is refused by the intake, as any such request
            return Found(error.reason.id, enforcer.replies.failure(error.reason, "", PROBLEM).status)
        answer = await asked.answer(context, guard, "request-1")
        assert answer is not None
        head = {name.lower(): value for name, value in answer.reply.headers}
        return Found(audit.reasons[-1], answer.reply.status, head.get("x-forwarded-user"), head.get("location", ""))

    yield ask


def point(name: str) -> contextlib.AbstractAsyncContextManager[Ask]:
    """The enforcement point of that name, running."""
    if name == "middleware":
        return middleware()
    if name.startswith("proxy"):
        return proxy(fast=name.endswith("fast path"))
    return forward_auth(Dialect(name.rpartition(" ")[2]))


@pytest.mark.parametrize("name", POINTS)
async def test_every_point_gives_the_answer_of_the_table(name: str) -> None:
    """... gives every request of the table its answer, reason and user at every enforcement point."""
    differences = []
    async with point(name) as ask:
        for row in TABLE:
            found = await ask(row)
            expected = Found(row.reason, row.status, row.uid, row.where)
            if found != expected:
                differences.append(f"{row.name}: {found} instead of {expected}")
    assert not differences, "\n" + "\n".join(differences)


def test_the_table_is_a_table() -> None:
    """... has enough rows, each with a name of its own, and routes of all kinds among them."""
    assert len(TABLE) >= 80
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert {row.status for row in TABLE} >= {200, 204, 302, 400, 401, 403, 503}


def page() -> str:
    """The table as docs/reference/decisions.md has it; every column is one parameter of the test above."""
    lines = [
        "# Decisions",
        "",
        "<!-- Written by `python -m tests.enforcement.test_decisions` from tests/enforcement/decisions.py. -->",
        "",
        "The same requests through every enforcement point: the proxy with its fast path on and off, the middleware,",
        "and forward auth as nginx, Traefik, Caddy and Envoy ask. The tests send each of them to each point:",
        f"{len(TABLE)} requests, {len(POINTS)} points, 0 differences.",
        "",
        f"| request | method, target | reason | user | {' | '.join(POINTS)} |",
        "|---|---|---|---|" + "---:|" * len(POINTS),
    ]
    for row in TABLE:
        target = row.target.replace("|", "\\|")
        user = row.uid or ""
        cells = " | ".join([str(row.status)] * len(POINTS))
        lines.append(f"| {row.name} | `{row.method} {target}` | [`{row.reason}`](reasons.md) | {user} | {cells} |")
    return "\n".join([*lines, ""])


PAGE = Path(__file__).parents[2] / "docs" / "reference" / "decisions.md"


def test_the_docs_show_this_table() -> None:
    """... shows the table in the docs as it is tested."""
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.enforcement.test_decisions"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
