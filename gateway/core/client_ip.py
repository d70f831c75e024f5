"""Who is really calling: the walk through trusted proxies.

The rule this file obeys: **nobody is believed by default.** The client is the socket's peer. Only when that peer lies
in the operator's list (``listen.trusted_proxies``, empty by default) is the address that *it* reported looked at, and
so on from the right end of the chain to the left, until an address is reached that is not trusted: that one is the
client (uvicorn's ``ProxyHeadersMiddleware`` walks the same way). Entries left of it were written by the client and are
never read, so a forged prefix changes nothing and does not have to be well-formed. A malformed entry *at a place that
we must believe* is an error of the trusted chain and refuses the request, rather than guessing an address.

Addresses are compared as addresses: IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2) is the IPv4 address, a zone id
(RFC 4007) is dropped, leading zeros are malformed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from gateway import reasons
from gateway.core.context import Headers
from gateway.errors import RequestError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS: Final = 32
"""Entries of a forwarded chain that are read at most. Real chains have fewer than ten."""


def parse_address(text: str) -> IPAddress | None:
    """Canonical form of an address, or None when ``text`` is not exactly one address.

    Accepts a zone id behind an IPv6 address and drops it; unwraps IPv4-mapped IPv6; refuses leading zeros, ports,
    brackets and white space.
    """
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


class AddressResolver:
    """Finds the client's address and scheme; the trusted list is fixed at construction.

    Implements :class:`gateway.core.ports.AddressSource`.
    """

    __slots__ = ("_trusted",)

    def __init__(self, trusted: Iterable[IPNetwork] = ()) -> None:
        self._trusted = tuple(trusted)

    def trusts(self, address: IPAddress | None) -> bool:
        """Whether what ``address`` reports about others is believed."""
        return address is not None and any(address in network for network in self._trusted)

    def client(self, peer: str, headers: Headers) -> IPAddress | None:
        """The client's address; None when the peer has none (a unix socket) or the chain names none.

        :raises RequestError: ``forwarded_invalid`` when an entry that must be believed is no address, when the chain
            is doubled in two different fields, or when it is longer than :data:`MAX_HOPS`.
        """
        current = parse_address(peer)
        if not self._trusted or not self.trusts(current):
            return current
        chain = ",".join(headers.all(b"x-forwarded-for"))
        if not chain.strip(" \t,"):
            return current
        hops = chain.split(",")
        for steps, hop in enumerate(reversed(hops)):
            if steps >= MAX_HOPS:
                raise RequestError(reasons.FORWARDED_INVALID, f"X-Forwarded-For holds more than {MAX_HOPS} entries")
            address = parse_hop(hop)
            if address is None:
                raise RequestError(
                    reasons.FORWARDED_INVALID, "an entry of X-Forwarded-For from a trusted proxy is no address"
                )
            current = address
            if not self.trusts(current):
                break
        return current

    def scheme(self, peer: str, headers: Headers, connection: str) -> str:
        """``http`` or ``https``: ``X-Forwarded-Proto`` of a trusted peer, else the connection's own."""
        if self._trusted and self.trusts(parse_address(peer)):
            forwarded = headers.one(b"x-forwarded-proto")
            if forwarded is not None and forwarded.lower() in {"http", "https"}:
                return forwarded.lower()
        return connection
