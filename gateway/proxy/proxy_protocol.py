"""The PROXY protocol, versions 1 and 2 (HAProxy, ``proxy-protocol.txt``): whose connection a proxy relays.

The rule this file obeys (section 2 of that text): *the receiver is told to expect the header, it never guesses.* Where
it is switched on, every connection of a trusted proxy begins with one and nobody else gets in: a header that were
optional could be sent by the client, and one that were believed from anybody would be an address of the client's
choice.

Version 1 is one line of text, version 2 a binary block. What cannot be read ends the connection. Additional fields of
version 2 (TLVs) are passed over; none of them is believed, its checksum included.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from gateway.core.client_ip import parse_address

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""How version 2 begins (section 2.2)."""

MAX_V1: Final = 107
"""Bytes of a version 1 line with its end (section 2.1)."""

MAX_V2: Final = 4096
"""Bytes of a version 2 block: addresses take 36, TLVs of a certificate some hundreds."""

_V1_START: Final = b"PROXY "
_V2_HEAD: Final = 16
_V1_FAMILIES: Final = {"TCP4": 4, "TCP6": 6}
_V1_FIELDS: Final = 6
_MAX_PORT: Final = 65_535
_LOCAL, _PROXY = 0, 1
# Section 2.2: family in the high half, transport in the low one; here with the length of one address.
_STREAMS: Final = {0x11: 4, 0x21: 16}
_UNSPECIFIED: Final = 0x00
_UNIX_STREAM: Final = 0x31
_UNIX_LENGTH: Final = 216


@dataclass(frozen=True, slots=True)
class Announced:
    """A header that was read.

    ``peer`` is the address it announces; ``""`` for a unix socket; None when the connection is the proxy's own (a
    health check) and the socket's address stands. ``length`` is the header's in bytes.
    """

    peer: str | None
    length: int


def read_announcement(data: bytes) -> Announced | None:
    """Read the header at the beginning of ``data``; None when more bytes are needed.

    :raises ValueError: this is no such header, and will be none.
    """
    if data.startswith(SIGNATURE[: len(data)]):
        return _read_v2(data) if len(data) >= _V2_HEAD else None
    if data.startswith(_V1_START[: len(data)]):
        return _read_v1(data)
    raise ValueError("the connection does not begin with a PROXY header")


def _read_v1(data: bytes) -> Announced | None:
    end = data.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1:
            raise ValueError("the line has no end")
        return None
    line = data[:end].decode("latin-1")
    if line == "PROXY UNKNOWN" or line.startswith("PROXY UNKNOWN "):
        return Announced(None, end + 2)
    parts = line.split(" ")
    if len(parts) != _V1_FIELDS or parts[1] not in _V1_FAMILIES:
        raise ValueError("the line does not name a TCP connection")
    source, destination = (_address(text, _V1_FAMILIES[parts[1]]) for text in parts[2:4])
    if source is None or destination is None or not all(_is_port(port) for port in parts[4:]):
        raise ValueError("the line names no addresses and ports")
    return Announced(source, end + 2)


def _address(text: str, version: int) -> str | None:
    # The spelling decides here, not what is meant: an IPv4-mapped address is IPv6 on this line.
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    canonical = parse_address(text) if "%" not in text else None
    return str(canonical) if canonical is not None and address.version == version else None


def _is_port(text: str) -> bool:
    if not text.isascii() or not text.isdecimal() or (text.startswith("0") and text != "0"):
        return False
    return len(text) <= len(str(_MAX_PORT)) and int(text) <= _MAX_PORT


def _read_v2(data: bytes) -> Announced | None:
    version, command = divmod(data[12], 16)
    if version != 2 or command not in {_LOCAL, _PROXY}:  # noqa: PLR2004 - the version
        raise ValueError("the block is of another version or command")
    length = int.from_bytes(data[14:_V2_HEAD], "big")
    total = _V2_HEAD + length
    if total > MAX_V2:
        raise ValueError("the block is too long")
    if len(data) < total:
        return None
    family = data[13]
    if command == _LOCAL or family == _UNSPECIFIED:
        return Announced(None, total)
    if family == _UNIX_STREAM and length >= _UNIX_LENGTH:
        return Announced("", total)
    size = _STREAMS.get(family)
    if size is None or length < 2 * size + 4:
        raise ValueError("the block names no stream connection")
    address = parse_address(str(ipaddress.ip_address(data[_V2_HEAD : _V2_HEAD + size])))
    return Announced(str(address), total)
