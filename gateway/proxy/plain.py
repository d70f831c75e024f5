"""The plainest requests, read without a parser: one complete head, nothing before it, nothing behind it but its body.

The rule this file obeys: **what is not beyond doubt is not read here.** :func:`read_plain` understands less than
aiohttp's strict parser does, never more: whatever is unusual (white space, folded lines, names with anything but
letters, digits and hyphens, two of what may stand once, framing, upgrades, ``Connection`` other than ``keep-alive``,
absolute form) gives None, and the ordinary way reads the very same bytes. So no request means one thing here and
another there (``threats.md`` rows 16 to 18, 22 and 23). A body is delimited by one ``Content-Length`` in its shortest
spelling, and by nothing else.

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
_LARGE: Final = 8_192
"""Bytes of a body's piece from which on a view is cheaper than a copy."""
_MAX_LINES: Final = 4_096
"""Lines remembered; then all are forgotten. Honest traffic has a few hundred."""

_HEAD_END: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = re.compile(rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE) (/[!-~]{0,2047}) HTTP/1\.1\r")
_BODILESS: Final = (b"GET ", b"HEAD ")
"""Methods whose body would mean nothing (RFC 9110 sections 9.3.1 and 9.3.2), so that one is unusual."""
_NEVER_REMEMBERED: Final = (b"Authorization: ", b"Cookie: ")
"""Lines that are known by their beginning: they are long, all differ, and are nobody's to keep."""
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,14}")
_NAME: Final = re.compile(rb"[A-Za-z0-9-]{1,64}: ")
_PRINTABLE: Final = bytes(range(0x20, 0x7F))
_LINE: Final = re.compile(rb"([A-Za-z0-9-]{1,64}): ([!-~](?:[ -~]*[!-~])?)\r")

# What a line is. PASSES and RESERVED need no place of their own in a request.
_PASSES: Final = 0
_RESERVED: Final = 1
_HOST: Final = 2
_AUTHORIZATION: Final = 3
_KEEP_ALIVE: Final = 4
_REQUEST_ID: Final = 5
_FETCH: Final = 6
_UNUSUAL: Final = 7
_COOKIE: Final = 8
_BODY_LENGTH: Final = 9
_ORIGIN: Final = 10
_SITE: Final = 11
_SINGLE: Final = 16  # and above: one bit each for fields that aiohttp's parser takes only once

_SINGLES: Final = {
    name: _SINGLE << position
    for position, name in enumerate(
        (b"user-agent", b"content-type", b"content-location", b"content-range", b"etag", b"max-forwards", b"server")
    )
}
_FRAMING: Final = frozenset(
    {
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
    }
)


class PlainRequest:
    """One head, understood, and what of its body came with it.

    Every line ends with its CR, since splitting at LF alone costs a quarter. ``fields`` are all lines but the first.
    ``kept`` are those that may reach a backend, the cookies at ``cookie_at`` included (-1: there are none), and
    ``authorization`` aside, which stood before ``kept[authorized_at]``. The values of these two have not been looked at
    (:func:`well_formed`). ``reserved`` are the lines that the gateway takes away; ``fetch`` tells whether the worker's
    was among them. ``origin`` and ``site`` say who started the request; ``length`` is Content-Length or None.
    """

    # Most requests lack most of these, and what a class holds costs a request nothing.
    line = b""
    host = b""
    authorization: bytes | None = None
    authorized_at = 0
    request_id: bytes | None = None
    fetch = False
    cookie_at = -1
    origin = b""
    site = b""
    length: int | None = None
    body: bytes | memoryview = b""
    fields: list[bytes]

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.reserved: list[bytes] = []

    @property
    def cookie(self) -> bytes | None:
        """The ``Cookie`` line."""
        return self.kept[self.cookie_at] if self.cookie_at >= 0 else None


_known: dict[bytes, int] = {}


def well_formed(line: bytes) -> bool:
    """Whether a field line is a plain one.

    What :data:`_LINE` says, in another way, because the lines that are asked about here are long.
    """
    name = _NAME.match(line)
    if name is None or not line.endswith(b"\r"):
        return False
    value = line[name.end() : -1]
    return bool(value) and not value.translate(None, _PRINTABLE) and value == value.strip(b" ")


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
        return _COOKIE
    if name == b"content-length":
        return _BODY_LENGTH if _LENGTH.fullmatch(value) is not None else _UNUSUAL
    if name == b"host":
        kind = _HOST if valid_host(value.decode("ascii").lower()) else _UNUSUAL
    elif name == b"connection":
        kind = _KEEP_ALIVE if value.lower() == b"keep-alive" else _UNUSUAL
    elif name == b"x-request-id":
        kind = _REQUEST_ID
    elif name == b"x-gateway-fetch":
        kind = _FETCH
    elif name == b"origin":
        kind = _ORIGIN
    elif name == b"sec-fetch-site":
        kind = _SITE
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


def value_of(line: bytes) -> bytes:
    """The value of a field line."""
    return line.partition(b": ")[2][:-1]


def may_become_plain(data: bytes) -> bool:
    """Whether ``data`` is the beginning of a head whose request line is a plain one."""
    line, lf, _ = data.partition(b"\n")
    return bool(lf) and len(data) < MAX_HEAD and _HEAD_END not in data and _REQUEST_LINE.fullmatch(line) is not None


def request_target(line: bytes) -> str | None:
    """The target of a plain request line; None when the line is not one."""
    match = _REQUEST_LINE.fullmatch(line)
    return match.group(1).decode("ascii") if match is not None else None


def read_plain(data: bytes) -> PlainRequest | None:  # noqa: C901, PLR0912 - every request comes through this loop
    """One complete head and not a byte more than its body; None when it is anything else.

    The request line is not judged here: see :func:`request_target`.
    """
    end = data.find(_HEAD_END, 0, MAX_HEAD) + len(_HEAD_END)
    if end < len(_HEAD_END):
        return None
    request = PlainRequest()
    if end < len(data):
        # A large piece of body is not copied for its head's sake.
        request.body = memoryview(data)[end:] if len(data) - end > _LARGE else data[end:]
        data = data[:end]
    lines = data.split(b"\n")
    if len(lines) > MAX_FIELDS:
        return None
    request.line = lines[0]
    request.fields = lines = lines[1:-2]
    kept = request.kept
    keep = kept.append
    seen = 0
    remembered = _known.get
    kind: int | None
    for line in lines:
        if line.startswith(_NEVER_REMEMBERED):
            kind = _AUTHORIZATION if line.startswith(_NEVER_REMEMBERED[0]) else _COOKIE
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
    if not request.host:
        return None
    # What came behind the head has to be the beginning of its body, and nothing else.
    if request.length is None:
        return None if request.body else request
    return request if len(request.body) <= request.length and not request.line.startswith(_BODILESS) else None


def _place(request: PlainRequest, line: bytes, kind: int) -> bool:  # noqa: C901, PLR0912 - one row each
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
    elif kind == _COOKIE:
        if request.cookie_at >= 0:
            return False
        request.cookie_at = len(request.kept)
        request.kept.append(line)
    elif kind == _ORIGIN:
        if request.origin:
            return False
        request.origin = value_of(line)
        request.kept.append(line)
    elif kind == _SITE:
        if request.site:
            return False
        request.site = value_of(line)
        request.kept.append(line)
    elif kind == _BODY_LENGTH:
        if request.length is not None:
            return False
        request.length = int(value_of(line))
    else:
        return kind == _KEEP_ALIVE
    return True
