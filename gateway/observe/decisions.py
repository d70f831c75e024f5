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

MAX_SESSIONS: Final = 4_096
"""Sessions whose part of a line is remembered, at some 400 bytes each; then all are forgotten."""

MAX_PLACES: Final = 4_096
"""Methods, hosts, paths and clients that came together, and whose part of a line is remembered."""

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


class JsonLines:
    """Events as :func:`json_line` writes them, for one log: what the requests of one session repeat is written once.

    Under load nearly every decision is an earlier one given again, and its line differs in three values.

    :param key: that of :func:`pseudonym`.
    """

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self._verdicts: dict[tuple[str, str | None], str] = {}
        self._places: dict[tuple[str, ...], str] = {}
        self._sessions: dict[int, tuple[Session, str]] = {}
        """By identity; an object that is kept here shares its identity with no other."""

    def __call__(self, event: DecisionEvent) -> str:
        """One event as its line, without the line's end."""
        decision = event.decision
        session = decision.session if isinstance(decision, Allow) and decision.ignored is None else None
        if session is None:
            return json_line(event, self._key)
        known = self._sessions.get(id(session))
        told = known[1] if known is not None and known[0] is session else self._learn(session, event)
        verdict = self._verdicts.get((decision.reason.id, decision.route))
        if verdict is None:
            verdict = self._learn_verdict(event)
        place = event.method, event.host, event.path, event.client
        asked = self._places.get(place) or self._learn_place(place)
        request_id = event.request_id
        if not request_id.isalnum() or len(request_id) > MAX_TEXT:  # a proxy's own; ours needs no escaping
            request_id = _encode(clean(request_id))[1:-1].decode()
        return f'{{"time":{event.at!r},{verdict},{asked},"request_id":"{request_id}","micros":{event.micros},{told}}}'

    def _learn(self, session: Session, event: DecisionEvent) -> str:
        fields = describe(event, self._key)
        names = tuple(fields)
        told = _members({name: fields[name] for name in names[names.index(_LAST_OF_REQUEST) + 1 :]})
        if len(self._sessions) >= MAX_SESSIONS:
            self._sessions.clear()
        self._sessions[id(session)] = session, told
        return told

    def _learn_place(self, place: tuple[str, str, str, str]) -> str:
        method, host, path, client = place
        values = clean(method), clean(host), clean(path), client
        if len(self._places) >= MAX_PLACES:
            self._places.clear()
        asked = self._places[place] = _members(dict(zip(_PLACE, values, strict=True)))
        return asked

    def _learn_verdict(self, event: DecisionEvent) -> str:
        fields = describe(event, self._key)
        verdict = _members({name: fields[name] for name in _VERDICT})
        self._verdicts[event.decision.reason.id, event.decision.route] = verdict
        return verdict


_VERDICT: Final = ("event", "decision", "reason", "level", "route")
_PLACE: Final = ("method", "host", "path", "client")
_LAST_OF_REQUEST: Final = "micros"


def _members(fields: dict[str, Any]) -> str:
    """The members of a JSON object without its braces."""
    return _encode(fields)[1:-1].decode()


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
