"""The guard's answer, as a value: allow, challenge or deny, with the conditions under which it stays true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gateway.core.client_ip import IPAddress
from gateway.core.session import Session
from gateway.reasons import Reason


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must still hold for a decision to be given again without asking the guard.

    The same token bytes on the same route, and: the clock is before ``expires_at`` (wall-clock seconds; the earlier of
    the token's ``exp`` and whatever else ends); the revocation source still reports ``epoch`` for the principal (-1: no
    revocation checks are configured); the client's address is ``client``; the configuration is of ``generation``.
    """

    expires_at: float
    epoch: int
    client: IPAddress | None
    route: str
    generation: int


@dataclass(frozen=True, slots=True)
class Allow:
    """The request may pass, as ``session`` or, when that is None, as nobody in particular."""

    reason: Reason
    route: str
    session: Session | None
    conditions: Conditions
    ignored: Reason | None = None
    """On an optional route: why the credential that came along was not believed."""

    @property
    def client(self) -> IPAddress | None:
        """The address that the request came from."""
        return self.conditions.client


@dataclass(frozen=True, slots=True)
class Challenge:
    """The request may not pass, and the caller can mend that by signing in. ``client`` is who asked."""

    reason: Reason
    route: str
    client: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class Deny:
    """The request may not pass. ``route`` is None when none matched; ``retry_after`` is in seconds."""

    reason: Reason
    route: str | None = None
    retry_after: int | None = None
    client: IPAddress | None = None


Decision: TypeAlias = Allow | Challenge | Deny
