"""A reading of HTTP/1 requests that shares nothing with the gateway's: RFC 9112 to the letter, and nothing besides.

``read_stream`` reads what a client sent, up to the first octet that the grammar does not allow. ``read_one`` reads one
message, for a recorder that wants to know whether it is whole. What is not beyond doubt is no message here: lists of
lengths, codings other than ``chunked``, folded lines, line ends that are not CRLF.

A client may do two things that nobody reads in two ways, since what follows them is a whole request line in any case:
more than one space between the words (RFC 9112 section 3 lets words be read), and empty lines, or what is left of their
ends, before the request line (section 2.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LINE: Final = re.compile(rb"(%b) ([!-~]+) HTTP/1\.([01])\r\n" % _TOKEN)
_LOOSE: Final = re.compile(rb"[\r\n]*(%b) +([!-~]+) +HTTP/1\.([01])\r\n" % _TOKEN)
_FIELD: Final = re.compile(rb"(%b):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*\r\n" % _TOKEN)
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)


class NotHttp(Exception):
    """The bytes break the grammar."""


class Incomplete(Exception):
    """So far they do not, but there is no whole message."""


@dataclass
class Message:
    """One request as the grammar has it; ``target`` in origin form, ``raw`` all of its bytes."""

    method: bytes
    target: bytes
    minor: int
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    raw: bytes = b""

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]


def read_one(data: bytes, start: int = 0, *, line: re.Pattern[bytes] = _LINE) -> tuple[Message, int]:
    """The message at ``start`` and where it ends.

    :raises NotHttp: there is none.
    :raises Incomplete: it is not whole.
    """
    if data.find(b"\r\n\r\n", start) < 0:
        if b"\n\n" in data[start:] or b"\n\r\n" in data[start:]:
            raise NotHttp("a head with other line ends")
        raise Incomplete
    match = line.match(data, start)
    if match is None:
        raise NotHttp("request line")
    message = Message(match.group(1), match.group(2), int(match.group(3)), [])
    at = _fields(data, match.end(), message.fields)
    _settle_target(message)
    lengths, codings = message.all(b"content-length"), message.all(b"transfer-encoding")
    if codings:
        if lengths or message.minor == 0 or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise NotHttp("transfer coding")
        at = _chunks(data, at, message)
    elif lengths:
        if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
            raise NotHttp("length")
        size = int(lengths[0])
        if len(data) < at + size:
            raise Incomplete
        message.body = data[at : at + size]
        at += size
    message.raw = data[start:at]
    return message, at


def read_stream(data: bytes) -> list[Message]:
    """All messages from the beginning, as far as the grammar holds and they are whole."""
    found: list[Message] = []
    at = 0
    while at < len(data):
        try:
            message, at = read_one(data, at, line=_LOOSE)
        except (NotHttp, Incomplete):
            break
        found.append(message)
    return found


def _settle_target(message: Message) -> None:
    hosts = message.all(b"host")
    if len(hosts) != 1:
        raise NotHttp("host")
    match = _ABSOLUTE.fullmatch(message.target)
    if match is not None:
        if match.group(1).lower() != hosts[0].lower():
            raise NotHttp("two hosts")
        rest = match.group(2)
        message.target = rest if rest.startswith(b"/") else b"/" + rest
    elif not message.target.startswith(b"/"):
        raise NotHttp("target")


def _fields(data: bytes, at: int, into: list[tuple[bytes, bytes]]) -> int:
    while not data.startswith(b"\r\n", at):
        match = _FIELD.match(data, at)
        if match is None:
            if data.find(b"\r\n", at) < 0:
                raise Incomplete
            raise NotHttp("field line")
        into.append((match.group(1), match.group(2)))
        at = match.end()
    return at + 2


def _chunks(data: bytes, at: int, message: Message) -> int:
    body = bytearray()
    while True:
        match = _SIZE.match(data, at)
        if match is None:
            if data.find(b"\n", at) < 0:
                raise Incomplete
            raise NotHttp("chunk size")
        size, at = int(match.group(1), 16), match.end()
        if not size:
            break
        if len(data) < at + size + 2:
            raise Incomplete
        body += data[at : at + size]
        if not data.startswith(b"\r\n", at + size):
            raise NotHttp("chunk end")
        at += size + 2
    if data.find(b"\r\n", at) < 0:
        raise Incomplete
    at = _fields(data, at, message.trailers)
    message.body = bytes(body)
    return at
