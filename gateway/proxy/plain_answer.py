"""The head of an answer, rewritten line by line: the same bytes as the ordinary way gives, for much less.

Backends send the same lines with every answer. What becomes of a line was found out once, by the very functions of the
ordinary way (:func:`gateway.proxy.answer.parse_fields`, :mod:`gateway.mutators.headers`), and is looked up afterwards
by all of its bytes. A head with anything that concerns more than one line (nominated fields, repeated ``Cache-Control``
or ``Vary``, a transfer coding beside a length, another version) goes through those functions as a whole. So this file
decides nothing; it only remembers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.core.decision import Allow
from gateway.errors import UpstreamProtocolError
from gateway.mutators.headers import (
    HOP_BY_HOP,
    RESPONSE_RESERVED,
    fold,
    private_fields,
    response_fields,
    varying_fields,
)
from gateway.policy.routes import Auth, Route
from gateway.proxy.answer import AnswerHead, parse_fields, parse_head
from gateway.proxy.forward import field_bytes

_LONGEST_REMEMBERED: Final = 256
"""Bytes of a line that is remembered."""
_MAX_LINES: Final = 4_096
"""Lines remembered; then all are forgotten."""
_LONGEST_HEAD: Final = 1_024
"""Bytes of a head that is remembered as a whole."""
_MAX_HEADS: Final = 512
"""Such heads; then all are forgotten. A ``Date`` makes new ones every second."""

_HEAD_END: Final = b"\r\n\r\n"

_FINAL: Final = 200
"""RFC 9110 section 15.2: lower numbers are interim."""

_DROPPED: Final = 0
_LENGTH: Final = 1
_CHUNKED: Final = 2
_PERSISTENT: Final = 3
_CACHE: Final = 4
_VARY: Final = 5
_WHOLE: Final = 6
"""The line concerns others: the head has to be read as a whole."""


class RewrittenHead(NamedTuple):
    """An answer's head for the client.

    ``lines`` ends with CRLF and lacks the request's id, the
    body's length and the blank line. ``length``, ``chunked``, ``persistent`` and ``status`` as in
    :class:`~gateway.proxy.answer.AnswerHead`.
    """

    status: int
    lines: bytes
    length: int | None
    chunked: bool
    persistent: bool


@dataclass(frozen=True, slots=True)
class _Special:
    kind: int
    line: bytes = b""
    number: int = 0
    replaced: bytes | None = None
    """For Cache-Control and Vary: what is appended instead of the line, or behind it; None for nothing."""


_known: dict[bytes, bytes | _Special] = {}
_heads: Final[tuple[dict[bytes, RewrittenHead], ...]] = ({}, {}, {}, {})
"""Heads of nothing but remembered lines, ``X-Request-Id`` left out; by whether there is a session, and a session may be
asked for."""
_statuses: dict[bytes, tuple[int, bytes]] = {}


def rewrite(  # noqa: C901, PLR0912, PLR0915 - the inner loop of every request: calls would cost more than they clear up
    raw: bytes, decision: Allow, route: Route
) -> RewrittenHead | AnswerHead:
    """Read a complete head, blank line included, and write it anew for the client.

    :returns: an :class:`AnswerHead` for an interim answer, which is not for :func:`response_fields`.
    :raises UpstreamProtocolError: it is not one that may be passed on.
    """
    heads = _heads[2 * (decision.session is not None) + (route.auth is not Auth.PUBLIC)]
    head = heads.get(raw)
    if head is not None:
        return head
    lines = raw.split(b"\n")
    first = lines[0]
    status, written = _statuses.get(first) or _status(first)
    if not status:
        return _whole(raw, decision, route)
    kept = [written]
    length = None
    chunked, persistent = False, True
    remembered = len(raw) <= _LONGEST_HEAD
    cache: _Special | None = None
    vary: _Special | None = None
    for line in lines[1:-2]:
        known = _known.get(line)
        if known is None:
            known = _learn(line)
            remembered = False
        if isinstance(known, bytes):
            kept.append(known)
            continue
        kind = known.kind
        if kind == _DROPPED:
            continue
        if kind == _LENGTH and length is None:
            length = known.number
        elif kind == _CHUNKED and not chunked:
            chunked = True
        elif kind == _PERSISTENT and persistent:
            persistent = bool(known.number)
        elif kind == _CACHE and cache is None:
            cache = known
            if decision.session is None or known.replaced is None:
                kept.append(known.line)
        elif kind == _VARY and vary is None:
            vary = known
            kept.append(known.line)
        else:
            return _whole(raw, decision, route)
    if chunked and length is not None:
        return _whole(raw, decision, route)
    if decision.session is not None:
        if cache is None:
            kept.append(_PRIVATE)
        elif cache.replaced is not None:
            kept.append(cache.replaced)
    if route.auth is not Auth.PUBLIC:
        if vary is None:
            kept.append(_VARIES)
        elif vary.replaced is not None:
            kept.append(vary.replaced)
    head = RewrittenHead(status, b"".join(kept), length, chunked, persistent)
    if remembered:
        if len(heads) >= _MAX_HEADS:
            heads.clear()
        heads[raw] = head
    return head


def _status(line: bytes) -> tuple[int, bytes]:
    """Status and line as written; 0 for what has to be read as a whole.

    :raises UpstreamProtocolError: it is no status line.
    """
    if not line.endswith(b"\r"):
        raise UpstreamProtocolError("the answer's status line is malformed")
    head = parse_head(line[:-1] + _HEAD_END)
    found = 0, b""
    if line.startswith(b"HTTP/1.1 ") and head.status >= _FINAL:
        found = head.status, b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)
    if len(line) <= _LONGEST_REMEMBERED:
        if len(_statuses) >= _MAX_LINES:
            _statuses.clear()
        _statuses[line] = found
    return found


def _learn(line: bytes) -> bytes | _Special:
    """What becomes of a line.

    :raises UpstreamProtocolError: it is no field line.
    """
    if not line.endswith(b"\r"):
        raise UpstreamProtocolError("a header field of the answer is malformed")
    ((name, value),) = parse_fields([line[:-1]])
    found: bytes | _Special
    lower, folded, written = name.lower(), fold(name), b"%b: %b\r\n" % (name, value)
    if lower == b"content-length":
        head = parse_head(b"HTTP/1.1 200 OK\r\n" + line + b"\n\r\n")
        found = _Special(_LENGTH, number=head.length or 0)
    elif lower == b"transfer-encoding":
        parse_head(b"HTTP/1.1 200 OK\r\n" + line + b"\n\r\n")
        found = _Special(_CHUNKED)
    elif lower == b"connection":
        option = value.lower()
        plain = option in {b"keep-alive", b"close"}
        found = _Special(_PERSISTENT, number=option == b"keep-alive") if plain else _Special(_WHOLE)
    elif lower == b"cache-control":
        fields = private_fields([(name, value)])
        found = _Special(_CACHE, written, replaced=None if fields == [(name, value)] else field_bytes(fields))
    elif lower == b"vary":
        fields = varying_fields([(name, value)])[1:]
        found = _Special(_VARY, written, replaced=field_bytes(fields) if fields else None)
    elif folded == b"close" or folded.startswith(b"access-control-"):
        found = _Special(_WHOLE)  # "Connection: close" nominates the one; the others are the route's to judge
    elif folded in RESPONSE_RESERVED or folded in HOP_BY_HOP or folded == b"content-length":
        found = _Special(_DROPPED)
    else:
        found = written
    if len(line) <= _LONGEST_REMEMBERED and lower != b"set-cookie":
        if len(_known) >= _MAX_LINES:
            _known.clear()
        _known[line] = found
    return found


_PRIVATE: Final = field_bytes(private_fields([]))
_VARIES: Final = field_bytes(varying_fields([]))


def _whole(raw: bytes, decision: Allow, route: Route) -> RewrittenHead | AnswerHead:
    head = parse_head(raw)
    if head.status < _FINAL:
        return head
    *fields, _ = response_fields(head.fields, decision, route, "")  # the id is written behind them all
    lines = b"HTTP/1.1 %d %b\r\n%b" % (head.status, head.reason, field_bytes(fields))
    return RewrittenHead(head.status, lines, head.length, head.chunked, head.persistent)
