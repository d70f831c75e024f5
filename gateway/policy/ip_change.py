"""The sign-in's address against the request's: same network, another one, or no telling.

The rule this file obeys (``signInIpAddress`` as Google's blocking-functions page proposes it, with the published
sample's inverted condition put right): a session that shows up on another network than the one it was begun on is asked
to sign in again. Since honest people move, change address families and sit behind address translation, three things are
settled:

1. *Networks are compared, not addresses.* Within one IPv4 /24 or one IPv6 /64 nothing has changed: providers hand out
   addresses from such blocks, and IPv6 privacy addresses (RFC 8981) change daily inside one /64.
2. *Families are not compared.* The same device alternates between IPv4 and IPv6 (RFC 8305), and Google may have seen
   the one where we see the other. The answer is then ``unknown``, never ``moved``.
3. *Private addresses are not compared.* Behind a NAT, Google sees the public side and we may see the inner one
   (RFC 1918, RFC 6598, RFC 4193, loopback, link-local). Also ``unknown``.

Without a database this is all that can be said honestly; a preset maps the three levels to actions.
"""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass
from typing import Final

from gateway.core.client_ip import IPAddress, IPNetwork, parse_address
from gateway.core.session import NetworkLevel

IPV4_PREFIX: Final = 24
"""Bits that make one IPv4 network: the smallest block that is routed between providers."""

IPV6_PREFIX: Final = 64
"""Bits that make one IPv6 network: a single link (RFC 4291 section 2.5.4)."""

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


class Action(enum.StrEnum):
    """What follows from a level."""

    ALLOW = "allow"
    LOG = "log"
    REAUTHENTICATE = "reauthenticate"


class Preset(enum.StrEnum):
    """Named policies; :data:`PRESETS` has their tables."""

    OFF = "off"
    MONITOR = "monitor"
    RELAXED = "relaxed"
    STRICT = "strict"
    PINNED = "pinned"


@dataclass(frozen=True, slots=True)
class NetworkRules:
    """What each level leads to. ``exact``: only the very same address counts as the same network."""

    moved: Action
    unknown: Action
    exact: bool = False


PRESETS: Final[dict[Preset, NetworkRules]] = {
    # Nothing is compared.
    Preset.OFF: NetworkRules(moved=Action.ALLOW, unknown=Action.ALLOW),
    # For the weeks before enforcing: decisions are logged with their level and all pass.
    Preset.MONITOR: NetworkRules(moved=Action.LOG, unknown=Action.LOG),
    # The default: what is certainly another network asks for a sign-in, what cannot be compared passes.
    Preset.RELAXED: NetworkRules(moved=Action.REAUTHENTICATE, unknown=Action.ALLOW),
    # For routes worth a sign-in more: what cannot be compared is not trusted either.
    Preset.STRICT: NetworkRules(moved=Action.REAUTHENTICATE, unknown=Action.REAUTHENTICATE),
    # For clients with a fixed address: the very address of the sign-in, as Teleport's pinning does it.
    Preset.PINNED: NetworkRules(moved=Action.REAUTHENTICATE, unknown=Action.REAUTHENTICATE, exact=True),
}


def is_private(address: IPAddress) -> bool:
    """Whether the address means something else to every observer, so that comparing it says nothing."""
    return any(address in network for network in _PRIVATE if network.version == address.version)


def network_of(address: IPAddress) -> IPNetwork:
    """The block that counts as one network."""
    prefix = IPV4_PREFIX if address.version == 4 else IPV6_PREFIX  # noqa: PLR2004 - the IP version
    return ipaddress.ip_network((address, prefix), strict=False)


def compare(sign_in: object, request: IPAddress | None, *, exact: bool = False) -> NetworkLevel:
    """How the request's address stands to the sign-in's.

    :param sign_in: the ``signInIpAddress`` claim as the token has it; anything that is not exactly one address is
        ``unknown``, like an absent claim: the claim is in a signed token, so it is malformed by mistake, not by
        forgery.
    :param exact: the very same address is demanded (``pinned``), private ones included.
    """
    claimed = parse_address(sign_in) if isinstance(sign_in, str) else None
    if claimed is None or request is None:
        return NetworkLevel.UNKNOWN
    if claimed == request:
        return NetworkLevel.SAME
    if claimed.version != request.version or is_private(claimed) or is_private(request):
        return NetworkLevel.UNKNOWN
    if not exact and request in network_of(claimed):
        return NetworkLevel.SAME
    return NetworkLevel.MOVED


def action_for(level: NetworkLevel, preset: Preset) -> Action:
    """What a preset does about a level."""
    if level is NetworkLevel.SAME:
        return Action.ALLOW
    rules = PRESETS[preset]
    return rules.moved if level is NetworkLevel.MOVED else rules.unknown
