"""Session: principal, claims, and where this request stands to the sign-in."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway.core.claims import Claims, Principal
from gateway.core.client_ip import IPAddress


class NetworkLevel(enum.StrEnum):
    """How the request's network stands to the one of the sign-in (``docs/reference/network.md``)."""

    SAME = "same"
    """The same address, IPv4 /24 or IPv6 /64."""
    MOVED = "moved"
    """Another network of the same address family."""
    UNKNOWN = "unknown"
    """Nothing to compare: claim missing or malformed, private address, or the other family."""


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user, as this request shows them."""

    claims: Claims
    client: IPAddress | None
    network: NetworkLevel

    @property
    def principal(self) -> Principal:
        """Who the session belongs to."""
        return self.claims.principal
