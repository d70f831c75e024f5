"""Networks as values: what one address tells, which block counts as one network, what a session's traces are.

The rule this file obeys: *only addresses that mean the same to every observer are compared.* Two addresses of one IPv4
/24 or one IPv6 /64 are one network, because providers hand out addresses from such blocks and IPv6 privacy addresses
(RFC 8981) change daily inside one /64. Behind a NAT the sign-in's observer sees the public side and we may see the
inner one, so private addresses are compared with nothing but themselves.
"""

from __future__ import annotations

import enum
import ipaddress
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from gateway.core.claims import Principal
from gateway.core.client_ip import IPAddress, IPNetwork
from gateway.core.session import NetworkLevel

IPV4_PREFIX: Final = 24
"""Bits that make one IPv4 network: the smallest block that is routed between providers."""

IPV6_PREFIX: Final = 64
"""Bits that make one IPv6 network: a single link (RFC 4291 section 2.5.4)."""

IPV6_SITE_PREFIX: Final = 48
"""Bits that make one IPv6 site: the largest block that a subscriber is given (RFC 6177)."""

IPV4: Final = 4
IPV6: Final = 6

_PRIVATE: Final = tuple(
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8",  # "this" network, RFC 791
        "10.0.0.0/8",  # RFC 1918
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, RFC 3927
        "172.16.0.0/12",  # RFC 1918
        "192.168.0.0/16",  # RFC 1918
        "224.0.0.0/3",  # multicast, reserved and broadcast
        "::/127",  # unspecified and loopback
        "fc00::/7",  # unique local, RFC 4193
        "fe80::/10",  # link-local
        "ff00::/8",  # multicast
    )
)
# Documentation blocks (RFC 5737, RFC 3849) are not in the list: examples and the demo need addresses that are ordinary.


# The first address of each block and the first one behind it, in order. No two blocks overlap, so whatever has an odd
# number of edges at or before it lies in a block.
_PRIVATE_EDGES: Final = {
    version: sorted(
        edge
        for block in _PRIVATE
        if block.version == version
        for edge in (int(block.network_address), int(block.broadcast_address) + 1)
    )
    for version in (IPV4, IPV6)
}


def is_private(address: IPAddress) -> bool:
    """Whether the address means something else to every observer, so that comparing it says nothing."""
    return bisect_right(_PRIVATE_EDGES[address.version], int(address)) & 1 == 1


def network_of(address: IPAddress) -> IPNetwork:
    """The block that counts as one network."""
    prefix = IPV4_PREFIX if address.version == IPV4 else IPV6_PREFIX
    return ipaddress.ip_network((address, prefix), strict=False)


NetworkKey: TypeAlias = tuple[int, int]
"""One network as a key: the address family, and the network's own bits as a number. Private addresses are networks of
one, and since no public network has as many bits, the two never meet."""

_V4_SHIFT: Final = 32 - IPV4_PREFIX
_V6_SHIFT: Final = 128 - IPV6_PREFIX
_PRIVATE_MARK: Final = 1 << 128


def public_key(address: IPAddress) -> NetworkKey:
    """The key of :func:`network_of`, private or not."""
    return address.version, int(address) >> (_V4_SHIFT if address.version == IPV4 else _V6_SHIFT)


def key_of(address: IPAddress) -> NetworkKey:
    """The key of the address's network, which is one of its own if the address is private."""
    version, value = address.version, int(address)
    if bisect_right(_PRIVATE_EDGES[version], value) & 1:
        return version, value | _PRIVATE_MARK
    return version, value >> (_V4_SHIFT if version == IPV4 else _V6_SHIFT)


def is_private_key(key: NetworkKey) -> bool:
    """Whether the key is that of a private address."""
    return key[1] >= _PRIVATE_MARK


def private_key(address: IPAddress) -> NetworkKey:
    """The key of one address that nobody else shares."""
    return address.version, int(address) | _PRIVATE_MARK


def same_site(one: NetworkKey, other: NetworkKey) -> bool:
    """Whether two public networks are IPv6 and lie in one /48."""
    shift = IPV6_PREFIX - IPV6_SITE_PREFIX
    return one[0] == other[0] == IPV6 and one[1] >> shift == other[1] >> shift


class AddressClass(enum.StrEnum):
    """What kind of network an address belongs to."""

    ORDINARY = "ordinary"
    RELAY = "relay"
    """A privacy relay that hides the address but keeps the country (iCloud Private Relay)."""
    HOSTING = "hosting"
    """Rented machines, VPN exits, anonymity networks: nobody's living room."""


@dataclass(frozen=True, slots=True)
class Place:
    """What databases say of one address. None is "not known", never "none"."""

    asn: int | None = None
    """Autonomous system number: which operator announces the address."""
    country: str | None = None
    """ISO 3166-1 alpha-2."""
    location: tuple[float, float] | None = None
    """Degrees of latitude and longitude."""
    kind: AddressClass = AddressClass.ORDINARY


NOWHERE: Final = Place()


class SessionKey(NamedTuple):
    """One session of one person: signing in again makes another, renewing the token does not."""

    person: Principal | str
    auth_time: int


@dataclass(slots=True)
class Seen:
    """A network that a session was accepted on.

    ``tier`` is the weakest level in the chain of acceptances that led here: a stricter route does not trust what a
    laxer one has learned. ``at`` is monotonic seconds of the last request from there.
    """

    place: Place
    tier: NetworkLevel
    at: float


@dataclass(slots=True)
class Trace:
    """Where one session has been. Times are monotonic seconds.

    ``last`` is the network of the last accepted request in each family; ``switches`` holds, for each family, when the
    session changed to another operator's network; ``barred`` holds networks that turned up in turns with another.
    """

    seen: dict[NetworkKey, Seen] = field(default_factory=dict)
    last: dict[int, NetworkKey] = field(default_factory=dict)
    last_at: float | None = None
    last_place: Place = NOWHERE
    switches: dict[int, list[float]] = field(default_factory=dict)
    barred: dict[NetworkKey, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The network that somebody was last asked to sign in again from.

    ``auth_time`` is when the refused session was begun; ``at`` and ``last`` are wall-clock seconds of its first and
    its last refusal there. Other pages of a browser go on with the old token for a while after the sign-in, so only
    the first one has to be before it.
    """

    network: NetworkKey
    auth_time: int
    at: float
    last: float

    def after(self, previous: Refusal | None) -> Refusal:
        """This refusal, as one more of the same session from the same network if it is that."""
        if previous is None or (previous.network, previous.auth_time) != (self.network, self.auth_time):
            return self
        return Refusal(self.network, self.auth_time, previous.at, self.last)

    def is_answered_by(self, session: SessionKey) -> bool:
        """Whether the session was begun after it: by the sign-in that was asked for."""
        return session.auth_time > self.auth_time and session.auth_time >= int(self.at)
