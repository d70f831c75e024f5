"""Session: principal, claims, and where this request stands to the sign-in."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from gateway.core.claims import Claims, Principal
from gateway.core.client_ip import IPAddress
from gateway.core.credential import Carrier
from gateway.core.quick import maker


class NetworkLevel(enum.StrEnum):
    """How the request's network stands to those of the session (``docs/reference/network.md``).

    A network that the session was accepted on keeps the level at which that was.
    """

    SAME = "same"
    """The sign-in's own address, IPv4 /24 or IPv6 /64, or the network from which a sign-in was asked for."""
    NEAR = "near"
    """Another network of the same operator, or of the same IPv6 /48."""
    ROAMED = "roamed"
    """Another operator in the same country."""
    TRAVELLED = "travelled"
    """Another operator in another country, after a time in which one can get there."""
    SUSPICIOUS = "suspicious"
    """Another country too soon, two networks in turns, or the first move to a hosting network."""
    MOVED = "moved"
    """Another network of the same address family, with no database to say more."""
    UNKNOWN = "unknown"
    """Nothing to compare: claim missing or malformed, private address, the other family, or no data."""


class NetworkAction(enum.StrEnum):
    """What the network judgement leads to."""

    ALLOW = "allow"
    LOG = "log"
    """Allow; the level in the decision log is all that comes of it."""
    LEARN = "learn"
    """Allow, and remember the network for this session."""
    REAUTHENTICATE = "reauthenticate"
    """Ask for a new sign-in."""
    DENY_SESSION = "deny_session"
    """Ask for a new sign-in, and end this session wherever it is used."""


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user, as this request shows them.

    ``why`` names the evidence behind ``network`` in a few words; ``carrier`` is what brought the credential.
    """

    claims: Claims
    client: IPAddress | None
    network: NetworkLevel
    action: NetworkAction = NetworkAction.ALLOW
    why: str = ""
    carrier: Carrier = Carrier.BEARER

    @property
    def principal(self) -> Principal:
        """Who the session belongs to."""
        return self.claims.principal


make_session: Final = maker(Session)
"""The same, made quickly, with the values in the order of the fields."""
