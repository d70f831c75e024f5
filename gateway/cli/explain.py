"""``gateway explain``: the line one described request would walk, with each step's answer.

With ``--token-file`` the token is verified for real, certificates fetched and the account looked up. With ``--claims``
the claims are judged as if a token with them had verified, at any time that is wanted, and nothing leaves this machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from gateway.clock import SystemClock
from gateway.config.load import Loaded, load
from gateway.config.networks import network_settings
from gateway.config.rules import policy_routes
from gateway.core.client_ip import AddressResolver, parse_address
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Challenge, Preflight
from gateway.core.target import parse_target
from gateway.core.trail import Trail
from gateway.errors import ConfigError, RequestError
from gateway.guard import FOREVER, SessionGuard
from gateway.http.cors import answer_fields
from gateway.http.negotiate import form_of_challenge, form_of_refusal
from gateway.policy.cross_site import requested_method
from gateway.policy.networks import NetworkJudge
from gateway.policy.routes import RouteTable
from gateway.reasons import Outcome, Reason
from gateway.tokens.id_token import IdTokenRules, read_claims
from gateway.wiring import Gateway, locator_of

if TYPE_CHECKING:
    from gateway.core.claims import Claims
    from gateway.core.decision import Decision
    from gateway.core.ports import Clock

_REFUSED: Final = 1
_PRETENDED: Final = "claims.from-a-file.unsigned"


class _At:
    """A clock that stands at the moment which is asked about."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now


class _ClaimsVerifier:
    """Stands in for a verified token: the claims come from a file, every rule but the signature applies."""

    def __init__(self, payload: dict[str, Any], rules: IdTokenRules, clock: Clock) -> None:
        self._payload = payload
        self._rules = rules
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        del token
        return read_claims(self._payload, self._rules, self._clock.now())


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that is asked about. ``at``: the moment to judge at, ISO 8601 with its offset; only with claims."""

    url: str
    method: str = "GET"
    ip: str | None = None
    headers: Sequence[str] = ()
    at: str | None = None


def run_explain(
    asked: Asked, *, config: Path | None, token_file: Path | None, claims: Path | None, as_json: bool = False
) -> int:
    """Print the judgement; 0 when the request may pass, else 1.

    :raises ConfigError: the configuration or one of the arguments cannot be used.
    """
    if token_file is not None and claims is not None:
        raise ConfigError("--claims", "cannot be combined with --token-file", "give one of them")
    clock = _clock(asked.at, claims)
    loaded = load(config)
    routes = policy_routes(loaded.config)
    trail = Trail()
    token = _PRETENDED if claims is not None else _read_token(token_file)
    show = _print_json if as_json else _print
    try:
        context = _context(asked, token)
    except RequestError as error:
        trail.add("request", f"{error.reason.id}: {error.detail}", ok=False)
        trail.add("answer", str(error.reason.status), ok=False)
        show(trail, error.reason, None)
        return _REFUSED
    decision = asyncio.run(_judge(loaded, context, claims, trail, clock))
    if not isinstance(decision, Allow | Preflight):
        trail.add("answer", _answer(decision, context, routes), ok=False)
    _note_cors(trail, decision, context, routes)
    show(trail, decision.reason, decision)
    return 0 if decision.reason.outcome is Outcome.ALLOW else _REFUSED


def _clock(at: str | None, claims: Path | None) -> Clock:
    if at is None:
        return SystemClock()
    if claims is None:
        raise ConfigError("--at", "needs --claims", "a token can only be judged now")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError("--at", f"{at!r} is no moment with its offset", "such as 2026-10-02T09:30:00Z")
    return _At(moment.timestamp())


async def _judge(loaded: Loaded, context: RequestContext, claims: Path | None, trail: Trail, clock: Clock) -> Decision:
    if claims is None:
        gateway = Gateway(loaded)
        try:
            await gateway.open()
            return await gateway.guard.judge(context, trail)
        finally:
            await gateway.close()
    firebase = loaded.config.firebase
    rules = IdTokenRules(firebase.project_id, frozenset(firebase.tenants), int(firebase.clock_skew))
    listen = loaded.config.listen
    verifier = _ClaimsVerifier(_read_claims(claims), rules, clock)
    locator = locator_of(loaded, SystemClock())
    if locator is not None:
        await locator.start()
    try:
        guard = SessionGuard(
            routes=policy_routes(loaded.config),
            verifier=verifier,
            revocation=None,
            addresses=AddressResolver((network.block for network in listen.trusted_proxies), listen.forwarded),
            clock=clock,
            # Without a memory: what other requests of this session have taught a running gateway is not known here.
            networks=NetworkJudge(locator=locator, clock=clock, settings=network_settings(loaded.config)),
            max_age=loaded.config.session.max_age or FOREVER,
        )
        return await guard.judge(context, trail)
    finally:
        if locator is not None:
            await locator.close()


def _answer(decision: Decision, context: RequestContext, routes: RouteTable) -> str:
    """What the caller gets, as the enforcement points would put it."""
    reason = decision.reason
    if isinstance(decision, Challenge):
        form = form_of_challenge(context, routes.by_name[decision.route].unauthenticated)
        if form.redirect:
            return f"302 to the login page, reason={reason.id}"
    else:
        form = form_of_refusal(context.headers)
    text = f"{reason.status}, {'a page' if form.page else 'a problem document'}"
    if reason.bearer_error is not None:
        text += f', Bearer error="{reason.bearer_error}"'
    if isinstance(decision, Challenge) and decision.max_age is not None:
        text += f", max_age={decision.max_age}"
    if isinstance(decision, Challenge) and decision.acr_values is not None:
        text += f', acr_values="{decision.acr_values}"'
    return text


def _note_cors(trail: Trail, decision: Decision, context: RequestContext, routes: RouteTable) -> None:
    route = routes.by_name[decision.route] if decision.route is not None else None
    if route is None or route.cors is None or b"origin" not in context.headers:
        return
    if isinstance(decision, Preflight):
        method = requested_method(context)
        sends = method in route.cors.methods
        trail.add("cors", f"the browser will {'' if sends else 'not '}send {method}", ok=sends)
        return
    readable = any(name == "Access-Control-Allow-Origin" for name, _ in answer_fields(route.cors, context.headers))
    trail.add("cors", f"a page of that origin may {'' if readable else 'not '}read the answer", ok=readable)


def _read_token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            "--token-file", f"{path} cannot be read as ASCII text", "it should hold one ID token"
        ) from None
    return text.strip()


def _read_claims(path: Path) -> dict[str, Any]:
    try:
        payload = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else "is not JSON"
        raise ConfigError("--claims", f"{path}: {what}", 'a JSON object such as {"sub": "u1", …}') from None
    if not isinstance(payload, dict):
        raise ConfigError("--claims", f"{path} is not a JSON object", 'such as {"sub": "u1", …}')
    return payload


def _context(asked: Asked, token: str | None) -> RequestContext:
    url, ip = asked.url, asked.ip
    if ip is not None and parse_address(ip) is None:
        raise ConfigError("--ip", f"{ip!r} is no address", "such as 203.0.113.9 or 2001:db8::1")
    parts = urlsplit(url)
    raw = url
    if parts.scheme in {"http", "https"}:
        raw = url.split("://", 1)[1]
        raw = raw[len(parts.netloc) :] or "/"
    lines: list[tuple[bytes, bytes]] = []
    for header in asked.headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise ConfigError("--header", "is not written as Name: value", "such as --header 'Accept: text/html'")
        lines.append((name.strip().encode("latin-1", "replace"), value.strip().encode("latin-1", "replace")))
    if token is not None:
        lines.append((b"Authorization", b"Bearer " + token.encode("ascii", "replace")))
    return RequestContext(
        asked.method.upper(),
        parts.scheme or "http",
        (parts.netloc or "localhost").lower(),
        parse_target(raw),
        ip or "127.0.0.1",
        Headers(tuple(lines)),
    )


def _print(trail: Trail, reason: Reason, decision: Decision | None) -> None:
    del decision
    ok = reason.outcome is Outcome.ALLOW
    console = Console(highlight=False, soft_wrap=True)
    for step in trail.steps:
        console.print(
            Text.assemble(("✓ " if step.ok else "✗ ", "green" if step.ok else "red"), f"{step.name:<12}{step.answer}")
        )
    answer = f"{reason.outcome} · {reason.id} · {reason.title}"
    console.print(Text.assemble(("→ ", "bold"), (answer, "bold green" if ok else "bold red")))


def _print_json(trail: Trail, reason: Reason, decision: Decision | None) -> None:
    document = {
        "decision": reason.outcome,
        "reason": reason.id,
        "status": reason.status or None,
        "route": decision.route if decision is not None else None,
        "steps": [{"step": step.name, "ok": step.ok, "answer": step.answer} for step in trail.steps],
    }
    print(json.dumps(document, indent=2, ensure_ascii=False))
