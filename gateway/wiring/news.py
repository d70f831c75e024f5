"""What the processes of one gateway tell each other: sessions that were ended, revoked, or have a newer token.

It travels between a parent and its children only (:mod:`gateway.cli.workers`), as one JSON object a line.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gateway.core.claims import Claims, Principal


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A session that was ended. ``until`` in wall-clock seconds: when its entry has had its time."""

    project: str
    tenant: str | None
    uid: str
    auth_time: int
    until: float

    @classmethod
    def of(cls, principal: Principal, auth_time: int, until: float) -> Ended:
        """The news of it."""
        return cls(principal.project, principal.tenant, principal.uid, auth_time, until)

    @property
    def principal(self) -> Principal:
        """Whose it was."""
        return Principal(self.project, self.tenant, self.uid)


class Revoked(msgspec.Struct, frozen=True, tag="revoked"):
    """All sessions of a user that began before ``moment``, in wall-clock seconds."""

    project: str
    tenant: str | None
    uid: str
    moment: int

    @classmethod
    def of(cls, principal: Principal, moment: int) -> Revoked:
        """The news of it."""
        return cls(principal.project, principal.tenant, principal.uid, moment)

    @property
    def principal(self) -> Principal:
        """Whose they were."""
        return Principal(self.project, self.tenant, self.uid)


class Renewed(msgspec.Struct, frozen=True, tag="renewed"):
    """A newer token of a session was found good: what it says, never the token itself.

    ``client`` is the address that it came from, or empty.
    """

    claims: Claims
    client: str


News: TypeAlias = Ended | Revoked | Renewed
