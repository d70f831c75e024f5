"""The decision log: one line per decision, as JSON or for people.

The rule this file obeys (``threats.md`` rows 20 and 21): a line holds reason ids, names from the configuration, the
decoded path without its query, an address and a pseudonym of the user. It never holds a token, a header value or a
query. Control characters are escaped and long values cut, so that no request can write a line of its own.

``record`` only appends to a queue. Formatting and writing happen later, in batches, off the request's path; when the
reader of the log is too slow, lines are dropped and counted rather than requests delayed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

import msgspec

from gateway.core.decision import Allow, Challenge, Deny, Preflight
from gateway.policy.baselines import SIGN_IN_NETWORK_CLAIM, origin_of, recorded

if TYPE_CHECKING:
    from gateway.core.claims import Principal
    from gateway.core.ports import DecisionEvent
    from gateway.core.session import Session

FLUSH_INTERVAL: Final = 0.05
"""Seconds between a decision and its line."""

MAX_QUEUE: Final = 10_000
"""Decisions that wait to be written; beyond it they are dropped and counted."""

MAX_TEXT: Final = 256
"""Characters of one value in a line."""

PSEUDONYM_LENGTH: Final = 16
"""Hexadecimal digits: 64 bits tell the users of any site apart."""

_encode: Final = msgspec.json.Encoder().encode


def pseudonym(principal: Principal, key: bytes = b"") -> str:
    """A stable name for a user that is not their uid: log lines can be joined without naming people.

    Whoever has a list of uids can compute the names of all of them, unless there is a ``key`` (``log.pseudonym_key``).
    """
    text = f"{principal.project}\0{principal.tenant or ''}\0{principal.uid}".encode()
    digest = hmac.digest(key, text, "sha256") if key else hashlib.sha256(text).digest()
    return digest.hex()[:PSEUDONYM_LENGTH]


def clean(text: str) -> str:
    """Text that cannot break out of its line: control characters escaped, length bounded."""
    shown = text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 1] + "…"


def describe(event: DecisionEvent, key: bytes = b"") -> dict[str, Any]:
    """An event as the fields of its JSON line; ``key`` is that of :func:`pseudonym`."""
    decision = event.decision
    fields: dict[str, Any] = {
        "time": event.at,
        "event": "decision",
        "decision": str(decision.reason.outcome),
        "reason": decision.reason.id,
        "level": str(decision.reason.level),
        "route": decision.route,
        "method": clean(event.method),
        "host": clean(event.host),
        "path": clean(event.path),
        "client": event.client,
        "request_id": clean(event.request_id),
        "micros": event.micros,
    }
    if not isinstance(decision, Preflight) and decision.session is not None:
        fields["principal"] = pseudonym(decision.session.principal, key)
        fields |= _network_fields(decision.session)
    if isinstance(decision, Allow):
        if decision.ignored is not None:
            fields["ignored"] = decision.ignored.id
    elif isinstance(decision, Deny) and decision.retry_after is not None:
        fields["retry_after"] = decision.retry_after
    return fields


def _network_fields(session: Session) -> dict[str, Any]:
    """The network judgement, and what ``gateway ip replay`` needs to repeat it: never the sign-in's whole address."""
    origin = origin_of(session.claims.sign_in_ip, session.claims.payload.get(SIGN_IN_NETWORK_CLAIM))
    exact = origin is not None and origin.address is not None and origin.address == session.client
    return {
        "network": str(session.network),
        "network_action": str(session.action),
        "network_why": session.why,
        "signed_in_at": session.claims.auth_time,
        "signed_in_from": recorded(origin),
        **({"signed_in_here": True} if exact else {}),
    }


def json_line(event: DecisionEvent, key: bytes = b"") -> str:
    """An event as one JSON object (RFC 8259 escapes every control character)."""
    return _encode(describe(event, key)).decode()


def text_line(event: DecisionEvent, key: bytes = b"") -> str:
    """An event as one line for people."""
    decision = event.decision
    clock = time.strftime("%H:%M:%S", time.localtime(event.at))
    verb = {Allow: "allow", Challenge: "challenge", Deny: "deny", Preflight: "preflight"}[type(decision)]
    line = f"{clock}  {verb:<9}  {decision.reason.id:<22}  {clean(event.method)} {clean(event.path)}"
    if event.client:
        line += f"  from {event.client}"
    if not isinstance(decision, Preflight) and decision.session is not None:
        line += f" ({decision.session.network} network)  user {pseudonym(decision.session.principal, key)[:8]}"
    return line


class DecisionLog:
    """Writes decisions to a stream in batches. Implements :class:`gateway.core.ports.AuditSink`."""

    def __init__(self, format_line: Callable[[DecisionEvent], str], stream: TextIO | None = None) -> None:
        self._format = format_line
        self._stream = stream
        self._waiting: deque[DecisionEvent] = deque()
        self._scheduled: asyncio.TimerHandle | None = None
        self.dropped = 0

    def record(self, event: DecisionEvent) -> None:
        """Queue one decision."""
        if len(self._waiting) >= MAX_QUEUE:
            self.dropped += 1
            return
        self._waiting.append(event)
        if self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_later(FLUSH_INTERVAL, self.flush)

    def flush(self) -> None:
        """Write everything that waits."""
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if not self._waiting:
            return
        lines = "".join(self._format(event) + "\n" for event in self._waiting)
        self._waiting.clear()
        stream = self._stream if self._stream is not None else sys.stdout
        try:
            stream.write(lines)
            stream.flush()
        except (OSError, ValueError):
            # A closed pipe or a full disk costs the log, not the requests.
            self.dropped += lines.count("\n")


class NoLog:
    """Drops every decision: ``log.decisions = "off"``."""

    def record(self, event: DecisionEvent) -> None:
        """Do nothing."""
