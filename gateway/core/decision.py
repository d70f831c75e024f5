"""The guard's answer, as a value: allow, challenge or deny, with the conditions under which it stays true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.core.client_ip import IPAddress
from gateway.core.credential import Carrier
from gateway.core.quick import maker
from gateway.core.session import Session
from gateway.reasons import Reason


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must still hold for a decision to be given again without asking the guard.

    The same credentials byte for byte (the ``Authorization`` field and every cookie that is a carrier; ``carrier`` says
    which of them counted, None for nobody) to the same host over the same scheme on the same route, in a request that
    changes nothing, or else with the same method and the same word on who started it (``Origin`` and
    ``Sec-Fetch-Site``), and: the clock is before ``expires_at`` (wall-clock seconds; the earliest of the token's
    ``exp``, the age limit of sessions and the route's ``max_auth_age``; minus infinity when the answer hung on more of
    the request than its route); the revocation source still reports ``epoch`` for the principal (-1: no revocation
    checks are configured); the client's address is ``client``; the configuration is of ``generation``;
    no session was signed out since the deny list's generation was ``denials``, or at least not this one.
    """

    expires_at: float
    epoch: int
    client: IPAddress | None
    route: str
    generation: int
    denials: int = 0
    carrier: Carrier | None = None
    replayable: bool = False
    """Whether a request for which all this holds needs no new judgement: nothing else of the request mattered. An
    answer made while somebody who should have been asked could not be, or that a credential had a part in which may be
    judged otherwise later, is never replayable. Where the SDK's cookies are in use, whether one of them is to be
    renewed is for the caller to look at (:meth:`gateway.http.endpoints.Endpoints.rests_until`)."""


@dataclass(frozen=True, slots=True)
class Allow:
    """The request may pass, as ``session`` or, when that is None, as nobody in particular."""

    reason: Reason
    route: str
    session: Session | None
    conditions: Conditions
    ignored: Reason | None = None
    """On an optional route: why the credential that came along was not believed."""
    cookie: str = ""
    """The cookie that brought the credential that was not believed, or one that has had its time; if there was one."""

    @property
    def client(self) -> IPAddress | None:
        """The address that the request came from."""
        return self.conditions.client


@dataclass(frozen=True, slots=True)
class Challenge:
    """The request may not pass, and the caller can mend that by signing in. ``client`` is who asked.

    A step-up (RFC 9470 section 3) says what the new sign-in must have: ``max_age`` seconds at most since it happened,
    or an authentication context of ``acr_values``.
    ``cookie`` names the cookie that brought the refused credential, or one that has had its time, if there was one.
    """

    reason: Reason
    route: str
    client: IPAddress | None = None
    max_age: int | None = None
    acr_values: str | None = None
    session: Session | None = None
    """Whose session it was that was good and not good enough, or elsewhere; for the log."""
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class Deny:
    """The request may not pass. ``route`` is None when none matched; ``retry_after`` is in seconds.

    ``cookie`` as in :class:`Challenge`.
    """

    reason: Reason
    route: str | None = None
    retry_after: int | None = None
    client: IPAddress | None = None
    session: Session | None = None
    """Whose session it was that is good and grants too little; for the log."""
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class Preflight:
    """A preflight (Fetch, section 4.8) that the enforcement point answers itself, by the rules of ``route``.

    It carries no credential by design, so nobody is judged and nothing reaches the backend.
    """

    reason: Reason
    route: str
    client: IPAddress | None = None


Decision: TypeAlias = Allow | Challenge | Deny | Preflight

make_conditions: Final = maker(Conditions)
make_allow: Final = maker(Allow)
"""The same, made quickly, with the values in the order of the fields."""
