"""Whether a session that a good token names may be used for a request: what stands behind its claims.

The rules this file obeys:

* *The order is that of the cost of being wrong.* Who started the request and how old the sign-in is are read off the
  request and the claims; then the account is asked about, then the deny list, then where the request comes from, then
  what the route demands. Whoever is refused early is not looked at further.
* *What is not known refuses* (``threats.md`` row 40): an account that cannot be asked about is an error of the service,
  unless the route lets good tokens pass in an outage.
* *Nothing is awaited between the deny list and the answer*, so that a session which ends meanwhile gets no answer from
  before.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

from gateway import reasons
from gateway.core.at_once import StandingsAtOnce
from gateway.core.decision import Allow, Challenge, Deny, make_allow, make_conditions
from gateway.core.session import NetworkAction, NetworkLevel, make_session
from gateway.policy.assurance import FOREVER, holds_until, unmet
from gateway.policy.cross_site import is_cross_site
from gateway.policy.ip_change import REFUSALS
from gateway.policy.networks import Finding
from gateway.policy.standing import revoked, standing_for, standing_text

if TYPE_CHECKING:
    from gateway.core.claims import Claims
    from gateway.core.client_ip import IPAddress
    from gateway.core.context import RequestContext
    from gateway.core.credential import Carrier
    from gateway.core.ports import Clock, RevocationSource, Revoker, SessionDenyList
    from gateway.core.session import Session
    from gateway.core.trail import Trail
    from gateway.policy.assurance import Unmet
    from gateway.policy.networks import NetworkJudge
    from gateway.policy.routes import Route
    from gateway.reasons import Reason

NO_EPOCH: Final = -1
"""Of a decision that no standing was asked for."""

UNCHECKED_EPOCH: Final = -2
"""No standing bears it, so a decision that nobody could check is never given again unasked."""

_VALID: Final = reasons.SESSION_VALID


class SessionJudge:
    """Judges what stands behind good claims. Holds no state of its own beyond what it was built from.

    :param revocation: None when the operator switched revocation checks off.
    :param clock: what the age of a sign-in is measured with.
    :param networks: weighs where requests come from.
    :param deny_list: sessions that were ended here, and where one goes that the network judgement ends.
    :param revoker: where users go whose every session the operator wants ended by it.
    :param max_age: seconds since ``auth_time`` after which a session is over everywhere.
    :param generation: number of the configuration.
    """

    def __init__(
        self,
        *,
        revocation: RevocationSource | None,
        clock: Clock,
        networks: NetworkJudge,
        deny_list: SessionDenyList | None,
        revoker: Revoker | None,
        max_age: float,
        generation: int,
    ) -> None:
        self._revocation = revocation
        self._now = clock.now
        self._networks = networks
        self._deny_list = deny_list
        self._revoker = revoker
        self._max_age = max_age
        self._generation = generation

    def at_once(self) -> SessionJudge:
        """The same judge with the same parts, but one that raises :class:`~gateway.core.at_once.MustWait` to wait."""
        if self._revocation is None:
            return self
        twin = copy.copy(self)
        vars(twin).update(_revocation=StandingsAtOnce(self._revocation))
        return twin

    async def judge(  # noqa: C901, PLR0912 - because the order of its steps is the first rule
        self,
        claims: Claims,
        carrier: Carrier,
        route: Route,
        client: IPAddress | None,
        context: RequestContext,
        trail: Trail | None = None,
        known: Session | None = None,
    ) -> Allow | Challenge | Deny | Reason:
        """Judge the session: the answer, or the reason for which there is none.

        :param known: whose network was weighed already.
        :raises RevocationUnavailable: the account cannot be asked about.
        """
        if not context.safe and is_cross_site(context, ambient=carrier.ambient, cors=route.cors):
            if trail is not None:
                trail.add("origin", _origin_text(carrier), ok=False)
            return reasons.CROSS_SITE
        now, over_at = self._now(), claims.auth_time + self._max_age
        if trail is not None:
            trail.add("age", _age_text(int(now) - claims.auth_time, self._max_age), ok=now < over_at)
        if now >= over_at:
            return reasons.SESSION_TOO_OLD
        allowed, epoch = _VALID, NO_EPOCH
        if self._revocation is not None:
            standing = self._revocation.peek(claims.principal)
            if standing is None:
                standing, allowed = await standing_for(self._revocation, claims.principal, route)
            refusal = revoked(claims, standing)
            if trail is not None:
                trail.add("revocation", standing_text(standing, allowed), ok=refusal is None)
            if refusal is not None:
                return refusal
            epoch = standing.epoch if standing is not None and allowed is _VALID else UNCHECKED_EPOCH
        denials = 0
        if self._deny_list is not None:
            denials = self._deny_list.generation
            denied = self._deny_list.denied(claims.principal, claims.auth_time)
            if trail is not None:
                trail.add("sign-out", "signed out here" if denied else "not signed out here", ok=not denied)
            if denied:
                return reasons.SESSION_SIGNED_OUT
        finding = self._networks.judge(claims, client, route.preset) if known is None else _found(known)
        session = make_session(claims, client, finding.level, finding.action, finding.why, carrier)
        refuses = finding.action in REFUSALS
        if trail is not None:
            trail.add("network", _network_text(finding, route), ok=not refuses)
        if refuses:
            return self._elsewhere(finding, session, route)
        until = min(claims.expires_at, over_at, finding.valid_until)
        if route.require is not None:
            lacking = unmet(route.require, claims, now, context, client)
            if trail is not None:
                trail.add("require", "met" if lacking is None else lacking.detail, ok=lacking is None)
            if lacking is not None:
                return _refusal(lacking, session, route)
            until = min(until, holds_until(route.require, claims))
        conditions = make_conditions(
            until, epoch, client, route.name, self._generation, denials, carrier, allowed is _VALID
        )
        return make_allow(allowed, route.name, session, conditions, None, "")

    def _elsewhere(self, finding: Finding, session: Session, route: Route) -> Challenge:
        """Ask for a sign-in from where the session turned up, and end what is to be ended."""
        if finding.action is NetworkAction.DENY_SESSION and self._deny_list is not None:
            self._deny_list.deny(session.principal, session.claims.auth_time)
        if finding.revoke and self._revoker is not None:
            self._revoker.revoke_soon(session.principal)
        suspicious = finding.level is NetworkLevel.SUSPICIOUS
        reason = reasons.NETWORK_SUSPICIOUS if suspicious else reasons.NETWORK_CHANGED
        return Challenge(reason, route.name, session.client, session=session)


def _found(known: Session) -> Finding:
    return Finding(known.network, known.action, known.why)


def _refusal(lacking: Unmet, session: Session, route: Route) -> Challenge | Deny:
    if lacking.reason.outcome is reasons.Outcome.CHALLENGE:
        return Challenge(lacking.reason, route.name, session.client, lacking.max_age, lacking.acr_values, session)
    return Deny(lacking.reason, route.name, client=session.client, session=session)


def _origin_text(carrier: Carrier) -> str:
    return "nothing shows that this site started it" if carrier.ambient else "a foreign page started this request"


def _age_text(age: int, limit: float) -> str:
    return f"signed in {age} s ago, " + ("however long that is" if limit == FOREVER else f"good for {limit:.0f} s")


def _network_text(finding: Finding, route: Route) -> str:
    return f"{finding.level}: {finding.action} ({route.preset}), {finding.why}"
