"""The plainest requests, read without a parser: one complete head of GET or HEAD, nothing before it, nothing behind it.

The rule this file obeys: **what is not beyond doubt is not read here.** :func:`read_plain` understands less than
aiohttp's strict parser does, never more: whatever is unusual (white space, folded lines, names with anything but
letters, digits and hyphens, two of what may stand once, framing, upgrades, ``Connection`` other than ``keep-alive``,
absolute form) gives None, and the ordinary way reads the very same bytes. So no request means one thing here and
another there (``threats.md`` rows 16 to 18, 22 and 23).

Browsers send the same dozen lines with every request. What a line is was found out once and is looked up afterwards by
all of its bytes; lines with credentials are never remembered.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.http.intake import valid_host
from gateway.mutators.headers import passes, reserved

MAX_HEAD: Final = 32_768
"""Bytes of a head that is read here."""
MAX_FIELDS: Final = 64
"""Field lines of a head that is read here."""
_LONGEST_REMEMBERED: Final = 256
"""Bytes of a line that is remembered."""
_MAX_LINES: Final = 4_096
"""Lines remembered; then all are forgotten. Honest traffic has a few hundred."""

_HEAD_END: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = re.compile(rb"(?:GET|HEAD) (/[!-~]{0,2047}) HTTP/1\.1\r")
_LINE: Final = re.compile(rb"([A-Za-z0-9-]{1,64}): ([!-~](?:[ -~]*[!-~])?)\r")
_CREDENTIAL_COOKIE: Final = re.compile(rb"__(?:host-)?session|firebase_", re.IGNORECASE)
"""Cookies that are, or could be taken for, a credential of the gateway's or the SDK's."""

# What a line is. PASSES and RESERVED need no place of their own in a request.
_PASSES: Final = 0
_RESERVED: Final = 1
_HOST: Final = 2
_AUTHORIZATION: Final = 3
_KEEP_ALIVE: Final = 4
_REQUEST_ID: Final = 5
_FETCH: Final = 6
_UNUSUAL: Final = 7
_SINGLE: Final = 8  # and above: one bit each for fields that aiohttp's parser takes only once

_SINGLES: Final = {
    name: _SINGLE << position
    for position, name in enumerate(
        (b"user-agent", b"content-type", b"content-location", b"content-range", b"etag", b"max-forwards", b"server")
    )
}
_FRAMING: Final = frozenset(
    {
        b"content-length",
        b"transfer-encoding",
        b"te",
        b"trailer",
        b"expect",
        b"upgrade",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"origin",  # whoever started the request from where is the guard's to weigh
    }
)


class PlainRequest:
    """One head, understood. Every line ends with its CR, since splitting at LF alone costs a quarter.

    ``kept`` are the lines that may reach a backend, ``authorization`` aside, which stood before ``kept[authorized_at]``
    and whose value has not been looked at (:func:`well_formed`). ``reserved`` are the lines that the gateway takes
    away; ``fetch`` tells whether the worker's was among them.
    """

    __slots__ = ("authorization", "authorized_at", "fetch", "host", "kept", "line", "request_id", "reserved")

    def __init__(self) -> None:
        self.line = b""
        self.host = b""
        self.authorization: bytes | None = None
        self.authorized_at = 0
        self.kept: list[bytes] = []
        self.reserved: list[bytes] = []
        self.request_id: bytes | None = None
        self.fetch = False

    @property
    def head_only(self) -> bool:
        """Whether the method is HEAD."""
        return self.line.startswith(b"HEAD ")


_known: dict[bytes, int] = {}


def well_formed(line: bytes) -> bool:
    """Whether a field line is a plain one."""
    return _LINE.fullmatch(line) is not None


def _kind(line: bytes) -> int:  # noqa: C901, PLR0912 - a table of names, read from top to bottom
    """What a field line is, found out and remembered."""
    match = _LINE.fullmatch(line)
    if match is None:
        return _UNUSUAL
    name = match.group(1).lower()
    value = match.group(2)
    if name == b"authorization":
        return _AUTHORIZATION
    if name == b"cookie":
        return _UNUSUAL if _CREDENTIAL_COOKIE.search(value) is not None else _PASSES
    if name == b"host":
        kind = _HOST if valid_host(value.decode("ascii").lower()) else _UNUSUAL
    elif name == b"connection":
        kind = _KEEP_ALIVE if value.lower() == b"keep-alive" else _UNUSUAL
    elif name == b"x-request-id":
        kind = _REQUEST_ID
    elif name == b"x-gateway-fetch":
        kind = _FETCH
    elif name in _FRAMING or name.startswith((b"sec-websocket-", b"x-gateway-")):
        kind = _UNUSUAL
    elif name in _SINGLES:
        kind = _SINGLES[name]
    elif reserved(name):
        kind = _RESERVED
    else:
        kind = _PASSES if passes(name) else _UNUSUAL
    if len(line) <= _LONGEST_REMEMBERED:
        if len(_known) >= _MAX_LINES:
            _known.clear()
        _known[line] = kind
    return kind


def may_become_plain(data: bytes) -> bool:
    """Whether ``data`` is the beginning of a head whose request line is a plain one."""
    line, lf, _ = data.partition(b"\n")
    return bool(lf) and len(data) < MAX_HEAD and _HEAD_END not in data and _REQUEST_LINE.fullmatch(line) is not None


def request_target(line: bytes) -> str | None:
    """The target of a plain request line; None when the line is not one."""
    match = _REQUEST_LINE.fullmatch(line)
    return match.group(1).decode("ascii") if match is not None else None


def read_plain(data: bytes) -> PlainRequest | None:
    """One complete head and not a byte more; None when it is anything else.

    The request line is not judged here: see :func:`request_target`.
    """
    if data[-4:] != _HEAD_END or len(data) > MAX_HEAD:
        return None
    lines = data.split(b"\n")
    if len(lines) > MAX_FIELDS:
        return None
    request = PlainRequest()
    request.line = lines[0]
    # Behind the blank line there is nothing; another one would be a line without a name and is refused as such.
    lines = lines[1:-2]
    kept = request.kept
    keep = kept.append
    seen = 0
    remembered = _known.get
    kind: int | None
    for line in lines:
        if line.startswith(b"Authorization: "):
            kind = _AUTHORIZATION
        else:
            kind = remembered(line)
            if kind is None:
                kind = _kind(line)
        if kind == _PASSES:
            keep(line)
        elif kind >= _SINGLE:
            if seen & kind:
                return None
            seen |= kind
            keep(line)
        elif not _place(request, line, kind):
            return None
    return request if request.host else None


def _place(request: PlainRequest, line: bytes, kind: int) -> bool:
    """Put a line that means something to the gateway where it belongs; False when it must not stand there."""
    if kind == _HOST:
        if request.host:
            return False
        request.host = line
    elif kind == _AUTHORIZATION:
        if request.authorization is not None:
            return False
        request.authorization = line
        request.authorized_at = len(request.kept)
    elif kind == _RESERVED:
        request.reserved.append(line)
    elif kind == _REQUEST_ID:
        if request.request_id is not None:
            return False
        request.request_id = line
    elif kind == _FETCH:
        request.fetch = True
    else:
        return kind == _KEEP_ALIVE
    return True
