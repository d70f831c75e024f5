"""The upstream's answer, read strictly: bytes in, values out, no I/O.

The rule this file obeys (``threats.md`` row 24; RFC 9112 sections 4, 5, 6.3 and 7.1): an answer whose end two readers
could see in different places is not passed on. Refused with :class:`~gateway.errors.UpstreamProtocolError`: bare CR
or LF, NUL and other controls, folded lines, names that are no token, two lengths, a length beside a transfer coding,
a coding other than ``chunked``, chunk sizes that are not plain hexadecimal. The gateway reads answers itself, and not
through an HTTP client library, because clients are lenient by design, lose the bytes of unusual field values, and
hide interim answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.errors import UpstreamProtocolError

MAX_HEAD_SIZE: Final = 65_536
"""Bytes of an answer's head; eight times what nginx takes from an upstream by default."""
MAX_CHUNK_LINE: Final = 4_096
"""Bytes of a chunk's size line with its extensions, which nobody uses."""
MAX_TRAILER_SIZE: Final = 16_384
"""Bytes of all trailer lines."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[\t -~\x80-\xff]*")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?")
_HEAD_END: Final = b"\r\n\r\n"
_CRLF: Final = len(b"\r\n")
_VERSION: Final = b"HTTP/1."
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_BODYLESS: Final = frozenset({204, 304})

RawFields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """Status line and fields of one answer.

    ``length`` is Content-Length or None; ``chunked`` excludes it; with neither, the body ends with the connection.
    ``persistent``: the upstream will take another request on this connection.
    """

    status: int
    reason: bytes
    fields: RawFields
    length: int | None
    chunked: bool
    persistent: bool

    @property
    def interim(self) -> bool:
        """Whether a final answer follows (1xx other than 101)."""
        return self.status < 200 and self.status != 101  # noqa: PLR2004 - RFC 9110 section 15.2

    def bodyless(self, method: str) -> bool:
        """Whether no body follows whatever the fields say (RFC 9112 section 6.3)."""
        return method == "HEAD" or self.status in _BODYLESS or self.status < 200  # noqa: PLR2004


def head_end(buffer: bytes | bytearray) -> int:
    """Index behind the head in ``buffer``, or -1 while it is incomplete.

    :raises UpstreamProtocolError: the head is longer than :data:`MAX_HEAD_SIZE`, or its beginning is none.
    """
    found = buffer.find(_HEAD_END, 0, MAX_HEAD_SIZE)
    if found >= 0:
        return found + len(_HEAD_END)
    if len(buffer) >= MAX_HEAD_SIZE:
        raise UpstreamProtocolError("the answer's head is too long")
    if not buffer.startswith(_VERSION[: len(buffer)]) or _BARE_LF.search(buffer) is not None:
        # Nothing that may still come makes an answer of this: better said now than at the deadline.
        raise UpstreamProtocolError("what the upstream sends is no answer of HTTP/1.1")
    return -1


def parse_head(raw: bytes) -> AnswerHead:
    """Read a complete head, blank line included.

    :raises UpstreamProtocolError: it is not one that may be passed on.
    """
    status_line, *lines = raw[: -len(_HEAD_END)].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(status_line)
    if match is None:
        raise UpstreamProtocolError("the answer's status line is malformed")
    minor, status, reason = match.group(1), int(match.group(2)), match.group(3) or b""
    fields = parse_fields(lines)
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if len(lengths) > 1 or any(_LENGTH.fullmatch(length) is None for length in lengths):
        raise UpstreamProtocolError("the answer's Content-Length is not one number")
    if codings and (lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or minor == b"0"):
        raise UpstreamProtocolError("the answer's Transfer-Encoding is not chunked alone")
    options = {
        option.strip(b" \t").lower()
        for name, value in fields
        if name.lower() == b"connection"
        for option in value.split(b",")
    }
    persistent = b"close" not in options and (minor == b"1" or b"keep-alive" in options)
    return AnswerHead(status, reason, fields, int(lengths[0]) if lengths else None, bool(codings), persistent)


def parse_fields(lines: list[bytes]) -> RawFields:
    """Field lines as pairs, values without surrounding white space.

    :raises UpstreamProtocolError: a line is no field line.
    """
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise UpstreamProtocolError("a header field of the answer is malformed")
        fields.append((name, value))
    return tuple(fields)


class ChunkedBody:
    """Decodes the chunked coding (RFC 9112 section 7.1) piece by piece."""

    __slots__ = ("_left", "_rest", "_trailer_size", "_trailing", "done", "trailers")

    def __init__(self) -> None:
        self._rest = b""
        """What of a line, or of the CRLF behind a chunk, is not here as a whole."""
        self._left = 0
        """Bytes of the current chunk that are still to come, its CRLF included."""
        self._trailing: list[bytes] | None = None
        self._trailer_size = 0
        self.trailers: RawFields = ()
        self.done = False

    @property
    def rest(self) -> bytes:
        """Bytes behind the end of the body."""
        return self._rest

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, give what of it is body.

        :raises UpstreamProtocolError: it is not chunked coding.
        """
        if self._rest:
            data = self._rest + data
        out: list[bytes] = []
        position, end = 0, len(data)
        while position < end and not self.done:
            left = self._left
            if left > _CRLF:
                piece = data[position : position + left - _CRLF]
                out.append(piece)
                position += len(piece)
                self._left = left - len(piece)
            elif left:
                if end - position < _CRLF:
                    break
                if data[position : position + _CRLF] != b"\r\n":
                    raise UpstreamProtocolError("a chunk of the answer is longer than its size")
                position += _CRLF
                self._left = 0
            else:
                behind = self._take_line(data, position, end)
                if not behind:
                    break
                position = behind
        self._rest = data[position:]
        return b"".join(out)

    def _take_line(self, data: bytes, start: int, end: int) -> int:
        """Read a size or a trailer; index behind its line, or 0 while that is incomplete."""
        trailing = self._trailing
        limit = MAX_CHUNK_LINE if trailing is None else MAX_TRAILER_SIZE
        stop = data.find(b"\r\n", start, start + limit)
        if stop < 0:
            if end - start >= limit:
                raise UpstreamProtocolError("a chunk or trailer line of the answer is too long")
            return 0
        if trailing is not None:
            self._take_trailer(data[start:stop], trailing)
            return stop + _CRLF
        match = _CHUNK_SIZE.fullmatch(data, start, stop)
        if match is None:
            raise UpstreamProtocolError("a chunk size of the answer is malformed")
        size = int(match.group(1), 16)
        if size == 0:
            self._trailing = []
        else:
            self._left = size + _CRLF
        return stop + _CRLF

    def _take_trailer(self, line: bytes, trailing: list[bytes]) -> None:
        if line:
            trailing.append(line)
            self._trailer_size += len(line) + _CRLF
            if self._trailer_size > MAX_TRAILER_SIZE:
                raise UpstreamProtocolError("the answer's trailers are too long")
            return
        self.trailers = parse_fields(trailing)
        self.done = True
