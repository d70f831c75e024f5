"""Who is really calling: the walk through trusted proxies.

The rule this file obeys: **nobody is believed by default.** The client is the socket's peer. Only when that peer lies
in the operator's list (``listen.trusted_proxies``, empty by default) is the address that *it* reported looked at, and
so on from the right end of the chain to the left, until an address is reached that is not trusted: that one is the
client (uvicorn's ``ProxyHeadersMiddleware`` walks the same way). Entries left of it were written by the client and are
never read, so a forged prefix changes nothing and does not have to be well-formed. A malformed entry *at a place that
we must believe* is an error of the trusted chain and refuses the request, rather than guessing an address.

Two fields tell of the chain, and most proxies write one of them and pass the other on as the client sent it. Which one
the proxies write is for the operator to say (:class:`ForwardedFields`). Unless they do, either is read, and when both
are there they have to name the same client: disagreement means that somebody else wrote one of them.

Addresses are compared as addresses: IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2) is the IPv4 address, a zone id
(RFC 4007) is dropped, leading zeros are malformed.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Final

from gateway import reasons
from gateway.core.context import Headers
from gateway.core.forwarded import last_first
from gateway.errors import RequestError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_HIDDEN_PORT: Final = re.compile(r":_[A-Za-z0-9._-]+\Z")
"""A port that a proxy keeps to itself (RFC 7239 section 6.3)."""

MAX_HOPS: Final = 32
"""Entries of a forwarded chain that are read at most. Real chains have fewer than ten."""

_LONGEST: Final = 64
"""Characters of a text whose reading is remembered: IPv6 in full (RFC 4291 section 2.2) with a zone. What is longer is
no honest address, and nobody fills the memory with it."""

_REMEMBERED: Final = 4096
"""Texts whose reading is remembered; a few hundred bytes each."""


def parse_address(text: str) -> IPAddress | None:
    """Canonical form of an address, or None when ``text`` is not exactly one address.

    Accepts a zone id behind an IPv6 address and drops it; unwraps IPv4-mapped IPv6; refuses leading zeros, ports,
    brackets and white space.
    """
    return _read_often(text) if len(text) <= _LONGEST else _read(text)


def _read(text: str) -> IPAddress | None:
    head, percent, zone = text.partition("%")
    if percent and (not zone or ":" not in head or not zone.isalnum()):
        return None
    try:
        address = ipaddress.ip_address(head)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


_read_often: Final = functools.lru_cache(maxsize=_REMEMBERED)(_read)


def parse_hop(text: str) -> IPAddress | None:
    """An entry of ``X-Forwarded-For``: an address, optionally with a port (``192.0.2.1:80``, ``[2001:db8::1]:80``)."""
    text = text.strip(" \t")
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or ":" not in host or (port and not _is_port(port)):
            return None
        return parse_address(host)
    if text.count(":") == 1:
        host, colon, port = text.partition(":")
        if not _is_port(colon + port):
            return None
        return parse_address(host)
    return parse_address(text)


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text.startswith(":") and digits.isascii() and digits.isdecimal() and len(digits) <= 5  # noqa: PLR2004 - 65535


class ForwardedFields(enum.StrEnum):
    """Which field of a trusted proxy is believed."""

    AUTO = "auto"
    """Whichever is there; when both are, they must name the same client."""
    X_FORWARDED_FOR = "x-forwarded-for"
    FORWARDED = "forwarded"


class AddressResolver:
    """Finds the client's address and scheme; the trusted list is fixed at construction.

    Implements :class:`gateway.core.ports.AddressSource`.
    """

    __slots__ = ("_fields", "_trusted")

    generation: Final = 0
    """What is fixed at construction never changes."""

    def __init__(self, trusted: Iterable[IPNetwork] = (), fields: ForwardedFields = ForwardedFields.AUTO) -> None:
        self._trusted = tuple(trusted)
        self._fields = fields

    def trusts(self, address: IPAddress | None) -> bool:
        """Whether what ``address`` reports about others is believed."""
        return address is not None and any(address in network for network in self._trusted)

    def client(self, peer: str, headers: Headers) -> IPAddress | None:
        """The client's address; None when the peer has none (a unix socket).

        :raises RequestError: as :meth:`chain`.
        """
        nearest = parse_address(peer)
        if not self._trusted or not self.trusts(nearest):
            return nearest
        return self.chain(peer, headers)[0]

    def chain(self, peer: str, headers: Headers) -> list[IPAddress]:
        """The addresses that the walk passed: client first, peer last, nothing from left of the client.

        :raises RequestError: ``forwarded_invalid`` when an entry that must be believed is no address, when the two
            fields name different clients, or when the chain is longer than :data:`MAX_HOPS`.
        """
        nearest = parse_address(peer)
        if nearest is None:
            return []
        if not self.trusts(nearest):
            return [nearest]
        found: list[list[IPAddress]] = []
        if self._fields is not ForwardedFields.FORWARDED:
            text = ",".join(headers.all(b"x-forwarded-for"))
            if text.strip(" \t,"):
                hops = (parse_hop(hop) for hop in reversed(text.split(",")))
                found.append(self._walk(nearest, hops, "X-Forwarded-For"))
        if self._fields is not ForwardedFields.X_FORWARDED_FOR:
            lines = [line for line in headers.all(b"forwarded") if line.strip(" \t")]
            if lines:
                found.append(self._walk(nearest, _forwarded_hops(lines), "Forwarded"))
        if not found:
            return [nearest]
        if found[0][0] != found[-1][0]:
            raise RequestError(
                reasons.FORWARDED_INVALID,
                "X-Forwarded-For and Forwarded name different clients; listen.forwarded says which one is believed",
            )
        return found[0]

    def _walk(self, nearest: IPAddress, hops: Iterator[IPAddress | None], field: str) -> list[IPAddress]:
        """Go from the right to the first address that is not trusted, and read nothing left of it."""
        chain = [nearest]
        for address in hops:
            if len(chain) > MAX_HOPS:
                raise RequestError(reasons.FORWARDED_INVALID, f"{field} holds more than {MAX_HOPS} entries")
            if address is None:
                raise RequestError(reasons.FORWARDED_INVALID, f"an entry of {field} from a trusted proxy is no address")
            chain.append(address)
            if not self.trusts(address):
                break
        chain.reverse()
        return chain

    def scheme(self, peer: str, headers: Headers, connection: str) -> str:
        """``http`` or ``https`` as a trusted peer reported it, else the connection's own.

        ``X-Forwarded-Proto`` says it, or the ``proto`` of the nearest element of ``Forwarded``.
        """
        if self._trusted and self.trusts(parse_address(peer)):
            told: str | None = None
            if self._fields is not ForwardedFields.FORWARDED:
                told = headers.one(b"x-forwarded-proto")
            if told is None and self._fields is not ForwardedFields.X_FORWARDED_FOR:
                told = _forwarded_proto(headers.all(b"forwarded"))
            if told is not None and told.lower() in {"http", "https"}:
                return told.lower()
        return connection


def _forwarded_hops(lines: list[str]) -> Iterator[IPAddress | None]:
    """What the ``for`` of each element says, nearest first; None for what is no address (RFC 7239 section 6)."""
    try:
        for element in last_first(lines):
            node = element.get("for", "")
            node = _HIDDEN_PORT.sub("", node)
            # An IPv6 address stands in brackets there, always.
            yield parse_hop(node) if node.startswith("[") or node.count(":") <= 1 else None
    except ValueError:
        yield None


def _forwarded_proto(lines: list[str]) -> str | None:
    try:
        return next(last_first(lines), {}).get("proto")
    except ValueError:
        return None
