"""A network for one computer: who is calling, in the demo.

The demo runs on loopback, where every request comes from 127.0.0.1 and no change of network could ever be seen. So
the demo *pretends*: a loopback client sits at :data:`HOME`, until it travels.

The rule this file obeys: **only loopback is pretended about, and only loopback is believed.** A header such as
``X-Forwarded-For`` counts when the peer is this machine itself, by the ordinary rules of
:class:`gateway.core.client_ip.AddressResolver`; anybody else is who their socket says. Outside ``gateway demo`` nothing
uses this class.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from gateway.core.client_ip import AddressResolver, IPAddress
from gateway.core.context import Headers

HOME: Final[IPAddress] = ipaddress.IPv4Address("203.0.113.10")
"""Where the demo's visitor is at first: TEST-NET-3 (RFC 5737 section 3), which belongs to nobody."""

AWAY: Final[IPAddress] = ipaddress.IPv4Address("198.51.100.23")
"""Where the demo page travels to: TEST-NET-2 (RFC 5737 section 3), another network of the same family."""

_LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class DemoNetwork:
    """The simulated network, shared by the gateway and the embedded provider so that both see the same visitor.

    Implements :class:`gateway.core.ports.AddressSource`; the provider takes :meth:`client` alone. There is one
    network: when it travels, everybody on this machine travels.
    """

    __slots__ = ("_current", "_resolver", "generation")

    def __init__(self) -> None:
        self._resolver = AddressResolver(_LOOPBACK)
        self._current = HOME
        self.generation = 0
        """Grows with every journey."""

    @property
    def current(self) -> IPAddress:
        """Where a loopback client seems to be."""
        return self._current

    def travel_to(self, address: IPAddress) -> None:
        """Let every loopback client seem to be at ``address`` from now on.

        :raises ValueError: ``address`` is loopback, unspecified or multicast, where no visitor can be.
        """
        if address.is_loopback or address.is_unspecified or address.is_multicast:
            raise ValueError("a visitor cannot be at a loopback, unspecified or multicast address")
        self._current = address
        self.generation += 1

    def go_home(self) -> None:
        """Let every loopback client seem to be at :data:`HOME` again."""
        self._current = HOME
        self.generation += 1

    def client(self, peer: str, headers: Headers) -> IPAddress | None:
        """The client's address: what loopback reported, else the simulated address for loopback, else the peer.

        :raises RequestError: ``forwarded_invalid``, as :meth:`gateway.core.client_ip.AddressResolver.client`.
        """
        address = self._resolver.client(peer, headers)
        return self._current if self._resolver.trusts(address) else address

    def chain(self, peer: str, headers: Headers) -> list[IPAddress]:
        """The addresses from the client's to the peer's that are believed, none of them pretended.

        :raises RequestError: as :meth:`client`.
        """
        return self._resolver.chain(peer, headers)

    def scheme(self, peer: str, headers: Headers, connection: str) -> str:
        """``http`` or ``https``, as the client used it."""
        return self._resolver.scheme(peer, headers, connection)

    def trusts(self, address: IPAddress | None) -> bool:
        """Whether what ``address`` reports about others is believed: loopback only."""
        return self._resolver.trusts(address)
