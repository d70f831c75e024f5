"""``gateway explain``: the line one described request would walk, with each step's answer.

With ``--token-file`` the token is verified for real, certificates fetched and the account looked up. With ``--claims``
the claims are judged as if a token with them had verified, and nothing leaves this machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from gateway.clock import SystemClock
from gateway.config.load import Loaded, load
from gateway.config.rules import policy_routes
from gateway.core.client_ip import AddressResolver, parse_address
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow
from gateway.core.target import parse_target
from gateway.core.trail import Trail
from gateway.errors import ConfigError, RequestError
from gateway.guard import SessionGuard
from gateway.tokens.id_token import IdTokenRules, read_claims
from gateway.wiring import Gateway

if TYPE_CHECKING:
    from gateway.core.claims import Claims
    from gateway.core.decision import Decision

_REFUSED: Final = 1
_PRETENDED: Final = "claims.from-a-file.unsigned"


class _ClaimsVerifier:
    """Stands in for a verified token: the claims come from a file, every rule but the signature applies."""

    def __init__(self, payload: dict[str, Any], rules: IdTokenRules) -> None:
        self._payload = payload
        self._rules = rules

    async def verify(self, token: str) -> Claims:
        del token
        return read_claims(self._payload, self._rules, SystemClock().now())


def run_explain(
    url: str,
    *,
    config: Path | None,
    token_file: Path | None,
    claims: Path | None,
    ip: str | None,
    method: str,
    headers: Sequence[str],
) -> int:
    """Print the judgement; 0 when the request may pass, else 1.

    :raises ConfigError: the configuration or one of the arguments cannot be used.
    """
    if token_file is not None and claims is not None:
        raise ConfigError("--claims", "cannot be combined with --token-file", "give one of them")
    loaded = load(config)
    trail = Trail()
    token = _PRETENDED if claims is not None else _read_token(token_file)
    try:
        context = _context(url, method, ip, headers, token)
    except RequestError as error:
        trail.add("request", f"{error.reason.id}: {error.detail}", ok=False)
        _print(trail, f"deny · {error.reason.id} · {error.reason.title}", ok=False)
        return _REFUSED
    decision = asyncio.run(_judge(loaded, context, claims, trail))
    allowed = isinstance(decision, Allow)
    answer = f"{decision.reason.outcome} · {decision.reason.id} · {decision.reason.title}"
    if not allowed:
        answer += f" (status {decision.reason.status})"
    _print(trail, answer, ok=allowed)
    return 0 if allowed else _REFUSED


async def _judge(loaded: Loaded, context: RequestContext, claims: Path | None, trail: Trail) -> Decision:
    if claims is None:
        gateway = Gateway(loaded)
        try:
            await gateway.open()
            return await gateway.guard.judge(context, trail)
        finally:
            await gateway.close()
    firebase = loaded.config.firebase
    rules = IdTokenRules(firebase.project_id, frozenset(firebase.tenants), int(firebase.clock_skew))
    guard = SessionGuard(
        routes=policy_routes(loaded.config),
        verifier=_ClaimsVerifier(_read_claims(claims), rules),
        revocation=None,
        addresses=AddressResolver(network.block for network in loaded.config.listen.trusted_proxies),
    )
    return await guard.judge(context, trail)


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
        raise ConfigError("--claims", f"{path} is not a JSON object")
    return payload


def _context(url: str, method: str, ip: str | None, headers: Sequence[str], token: str | None) -> RequestContext:
    if ip is not None and parse_address(ip) is None:
        raise ConfigError("--ip", f"{ip!r} is no address", "such as 203.0.113.9 or 2001:db8::1")
    parts = urlsplit(url)
    raw = url
    if parts.scheme in {"http", "https"}:
        raw = url.split("://", 1)[1]
        raw = raw[len(parts.netloc) :] or "/"
    lines: list[tuple[bytes, bytes]] = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise ConfigError("--header", "is not written as Name: value")
        lines.append((name.strip().encode("latin-1", "replace"), value.strip().encode("latin-1", "replace")))
    if token is not None:
        lines.append((b"Authorization", b"Bearer " + token.encode("ascii", "replace")))
    return RequestContext(
        method.upper(),
        parts.scheme or "http",
        (parts.netloc or "localhost").lower(),
        parse_target(raw),
        ip or "127.0.0.1",
        Headers(tuple(lines)),
    )


def _print(trail: Trail, answer: str, *, ok: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for step in trail.steps:
        console.print(
            Text.assemble(("✓ " if step.ok else "✗ ", "green" if step.ok else "red"), f"{step.name:<12}{step.answer}")
        )
    console.print(Text.assemble(("→ ", "bold"), (answer, "bold green" if ok else "bold red")))
