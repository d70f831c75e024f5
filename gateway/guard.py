"""The judge.

It answers one question: *may this request pass, as whom, and if not, what should the caller do next?*
:meth:`SessionGuard.judge` reads like the line in ``docs/how-sessions-work.md``. It awaits ports and hands plain values
to pure functions; it knows nothing of sockets, aiohttp or Google. Identity fails closed: a port that cannot answer
leads to a 503, never to an anonymous request on a route that needs a session, and on an optional route never to a
half-trusted one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gateway import reasons
from gateway.core.credential import Carrier, find_credentials
from gateway.core.decision import Allow, Challenge, Conditions, Decision, Deny, Preflight
from gateway.core.session import NetworkAction, NetworkLevel, Session
from gateway.errors import DependencyError, RequestError, RevocationUnavailable, TokenError, TokenExpired
from gateway.policy.assurance import Unmet, holds_until, unmet
from gateway.policy.cross_site import is_cross_site, requested_method
from gateway.policy.networks import Finding, NetworkJudge
from gateway.policy.routes import Auth, OnOutage
from gateway.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.core.claims import Claims, Principal
    from gateway.core.client_ip import IPAddress
    from gateway.core.context import RequestContext
    from gateway.core.credential import CookieName, Credential
    from gateway.core.ports import AddressSource, Clock, RevocationSource, Revoker, SessionDenyList, Standing, Verifier
    from gateway.core.trail import Trail
    from gateway.policy.routes import Route, RouteTable

FOREVER: Final = float("inf")
NO_EPOCH: Final = -1
UNCHECKED_EPOCH: Final = -2
"""No standing bears it, so a decision that nobody could check is never given again unasked."""

_FOREIGN: Final = "a foreign page started this request"
_SPOKEN: Final = {
    Carrier.BEARER: "bearer token",
    Carrier.COOKIE: "session cookie",
    Carrier.SDK_COOKIE: "cookie of the Firebase SDK",
}


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why there is no session; ``cookie`` names the cookie that brought the refused credential."""

    reason: Reason
    retry_after: int | None = None
    cookie: str = ""


class SessionGuard:
    """Answers one question about one request. Holds no state of its own beyond what it was built from.

    :param revocation: None when the operator switched revocation checks off.
    :param clock: what the age of a sign-in is measured with.
    :param networks: weighs where requests come from; None for the sign-in's address alone.
    :param deny_list: sessions that were ended here, and where one goes that the network judgement ends.
    :param revoker: where users go whose every session the operator wants ended by it.
    :param max_age: seconds since ``auth_time`` after which a session is over everywhere.
    :param cookies: the cookies that carry a session beside the bearer token, in order of precedence, each with who
        verifies what it carries.
    :param generation: number of the configuration; a decision of another generation is void.
    """

    def __init__(  # noqa: PLR0913 - every part of the judgement is handed in
        self,
        *,
        routes: RouteTable,
        verifier: Verifier,
        revocation: RevocationSource | None,
        addresses: AddressSource,
        clock: Clock,
        networks: NetworkJudge | None = None,
        deny_list: SessionDenyList | None = None,
        revoker: Revoker | None = None,
        max_age: float = FOREVER,
        cookies: Mapping[CookieName, Verifier] | None = None,
        generation: int = 0,
    ) -> None:
        self.routes: Final = routes
        self.addresses: Final = addresses
        self.generation: Final = generation
        self._revocation = revocation
        self._clock = clock
        self._networks = networks or NetworkJudge()
        self._deny_list = deny_list
        self._revoker = revoker
        self._max_age = max_age
        self._cookies = tuple(cookies or ())
        self._verifiers = {Carrier.BEARER: verifier} | {name.carrier: by for name, by in (cookies or {}).items()}

    async def judge(self, context: RequestContext, trail: Trail | None = None) -> Decision:
        """Judge one request.

        :param trail: receives each step and its answer, for callers who want to explain the decision.
        """
        try:
            client = self.addresses.client(context.peer, context.headers)
            asked = requested_method(context)
            route = self.routes.match(asked or context.method, context.host, context.target)
            if asked is not None and (route is None or route.cors is None):
                asked, route = None, self.routes.match(context.method, context.host, context.target)
        except RequestError as error:
            _note(trail, "request", error.detail or error.reason.id, ok=False)
            return Deny(error.reason)
        _note(trail, "client", lambda: str(client) if client is not None else "no address")
        if route is None:
            _note(trail, "route", "none matches", ok=False)
            return Deny(reasons.NO_ROUTE, client=client)
        _note(trail, "route", lambda: f"{route.name} ({route.pattern}, auth {route.auth})")
        if asked is not None:
            return self._preflight(route, client, context, trail)
        return await self.judge_on(route, client, context, trail)

    def _preflight(
        self, route: Route, client: IPAddress | None, context: RequestContext, trail: Trail | None
    ) -> Preflight | Deny:
        """Answer for the backend: a preflight brings no credential, so a session could not be asked of it."""
        listed = route.cors is not None and context.headers.one(b"origin") in route.cors.origins
        _note(trail, "preflight", "the origin is listed" if listed else "the origin is not listed", ok=listed)
        if listed:
            return Preflight(reasons.CORS_PREFLIGHT, route.name, client)
        return Deny(reasons.CROSS_SITE, route.name, client=client)

    async def judge_on(
        self, route: Route, client: IPAddress | None, context: RequestContext, trail: Trail | None = None
    ) -> Decision:
        """Judge a request whose route and client address are known: the gateway's own endpoints start here."""
        if route.auth is Auth.PUBLIC:
            return self._anonymous(route, client, reasons.PUBLIC_ROUTE)
        found = await self._session(route, client, context, trail)
        if isinstance(found, Allow):
            return found
        refusal = found.reason
        if route.auth is Auth.OPTIONAL:
            ignored = None if refusal is reasons.SIGN_IN_REQUIRED else refusal
            reason = reasons.ANONYMOUS if ignored is None else reasons.CREDENTIAL_IGNORED
            return self._anonymous(route, client, reason, ignored)
        if not isinstance(found, _Refusal):
            return found
        if refusal.outcome is reasons.Outcome.CHALLENGE:
            return Challenge(refusal, route.name, client, cookie=found.cookie)
        return Deny(refusal, route.name, found.retry_after, client, cookie=found.cookie)

    def holds(self, decision: Allow, now: float) -> bool:
        """Whether an earlier decision may be given again, as far as time, revocation, sign-out and configuration go.

        That the token's bytes, the route and the client are the same is for the caller to compare. False is no
        refusal: it means that the request has to be judged.

        :param now: wall-clock seconds since the epoch.
        """
        conditions = decision.conditions
        if not conditions.replayable or now >= conditions.expires_at or conditions.generation != self.generation:
            return False
        if decision.session is None:
            return True
        claims = decision.session.claims
        deny_list = self._deny_list
        # When somebody signed out since, whether it was this session is one look-up.
        if (
            deny_list is not None
            and deny_list.generation != conditions.denials
            and deny_list.denied(claims.principal, claims.auth_time)
        ):
            return False
        if self._revocation is None:
            return conditions.epoch == NO_EPOCH
        standing = self._revocation.peek(decision.session.claims.principal)
        return standing is not None and standing.epoch == conditions.epoch

    async def _session(
        self, route: Route, client: IPAddress | None, context: RequestContext, trail: Trail | None
    ) -> Allow | Challenge | Deny | _Refusal:
        scheme = context.scheme
        if self._cookies and b"cookie" in context.headers:
            scheme = self.addresses.scheme(context.peer, context.headers, scheme)
        found = find_credentials(context.headers, self._cookies, scheme, context.host)
        if found is None or isinstance(found, Reason):
            refusal = found or _absent(context)
            _note(trail, "credential", refusal.id if found else f"none: {refusal.id}", ok=False)
            return _Refusal(refusal)
        for index, credential in enumerate(found):
            _note(trail, "credential", f"one {_SPOKEN[credential.carrier]}")
            try:
                claims = await self._verifiers[credential.carrier].verify(credential.token)
                _note_verified(trail, claims)
                others = [other for other in found[index + 1 :] if other.token != credential.token]
                stranger = await self._stranger(claims, others) if others else None
                if stranger is not None:
                    _note(trail, "credential", f"a {_SPOKEN[stranger.carrier]} of somebody else beside it", ok=False)
                    return _Refusal(reasons.CREDENTIAL_CONFLICT, cookie=stranger.cookie)
                answer = await self._stands(claims, credential.carrier, route, client, context, trail)
            except TokenError as error:
                _note(trail, "token", f"{error.reason.id}: {error}", ok=False)
                if isinstance(error, TokenExpired) and credential.carrier.ambient:
                    continue  # a cookie that has had its time is none: browsers drop it at the same moment
                return _Refusal(error.reason, cookie=credential.cookie)
            except DependencyError as error:
                _note(trail, "dependency", f"{error.reason.id}: {error}", ok=False)
                return _Refusal(error.reason, error.retry_after)
            if isinstance(answer, Reason):
                return _Refusal(answer, cookie=credential.cookie)
            return answer if isinstance(answer, Allow) else replace(answer, cookie=credential.cookie)
        return _Refusal(_absent(context))

    async def _stranger(self, claims: Claims, others: Sequence[Credential]) -> Credential | None:
        """The first good credential of another user among ``others``.

        One that is not good, or cannot be judged now, would not have passed by itself and changes nothing.
        """
        for other in others:
            try:
                if (await self._verifiers[other.carrier].verify(other.token)).principal != claims.principal:
                    return other
            except (TokenError, DependencyError):
                continue
        return None

    async def _stands(
        self,
        claims: Claims,
        carrier: Carrier,
        route: Route,
        client: IPAddress | None,
        context: RequestContext,
        trail: Trail | None,
    ) -> Allow | Challenge | Deny | Reason:
        """Judge what stands behind good claims: where the request came from, the account, the network, the demands."""
        if is_cross_site(context, ambient=carrier.ambient, cors=route.cors):
            _note(trail, "origin", "nothing shows that this site started it" if carrier.ambient else _FOREIGN, ok=False)
            return reasons.CROSS_SITE
        now = self._clock.now()
        fresh = now < claims.auth_time + self._max_age
        _note(trail, "age", lambda: _age_text(int(now) - claims.auth_time, self._max_age), ok=fresh)
        if not fresh:
            return reasons.SESSION_TOO_OLD
        allowed, epoch = reasons.SESSION_VALID, NO_EPOCH
        if self._revocation is not None:
            standing = self._revocation.peek(claims.principal)
            if standing is None:
                standing, allowed = await _standing(self._revocation, claims.principal, route)
            refusal_or_none = _revoked(claims, standing)
            _note(trail, "revocation", lambda: _standing_text(standing, allowed), ok=refusal_or_none is None)
            if refusal_or_none is not None:
                return refusal_or_none
            epoch = standing.epoch if standing is not None and allowed is reasons.SESSION_VALID else UNCHECKED_EPOCH
        denials = 0
        if self._deny_list is not None:
            # From here to the answer nothing is awaited, so a session that ends meanwhile gets no answer from before.
            denials = self._deny_list.generation
            denied = self._deny_list.denied(claims.principal, claims.auth_time)
            _note(trail, "sign-out", "signed out here" if denied else "not signed out here", ok=not denied)
            if denied:
                return reasons.SESSION_SIGNED_OUT
        admitted = self._admit(claims, carrier, now, route, client, context, trail)
        if isinstance(admitted, Challenge | Deny):
            return admitted
        session, until = admitted
        # A cookie is sent by the browser by itself, so whether it counts is judged each time.
        replayable = carrier is Carrier.BEARER and allowed is reasons.SESSION_VALID
        conditions = Conditions(until, epoch, client, route.name, self.generation, denials, carrier, replayable)
        return Allow(allowed, route.name, session, conditions)

    def _admit(
        self,
        claims: Claims,
        carrier: Carrier,
        now: float,
        route: Route,
        client: IPAddress | None,
        context: RequestContext,
        trail: Trail | None,
    ) -> tuple[Session, float] | Challenge | Deny:
        """Whether a session that stands may come from here and in here, and until when that holds at most."""
        finding = self._networks.judge(claims, client, route.preset)
        session = Session(claims, client, finding.level, finding.action, finding.why, carrier)
        _note(trail, "network", lambda: _network_text(finding, route), ok=not finding.refuses)
        if finding.refuses:
            return self._elsewhere(finding, session, route)
        until = min(claims.expires_at, claims.auth_time + self._max_age, finding.valid_until)
        if route.require is not None:
            lacking = unmet(route.require, claims, now, context, client)
            _note(trail, "require", "met" if lacking is None else lacking.detail, ok=lacking is None)
            if lacking is not None:
                return _refusal(lacking, session, route)
            until = min(until, holds_until(route.require, claims))
        return session, until

    def _elsewhere(self, finding: Finding, session: Session, route: Route) -> Challenge:
        """Ask for a sign-in from where the session turned up, and end what is to be ended."""
        if finding.action is NetworkAction.DENY_SESSION and self._deny_list is not None:
            self._deny_list.deny(session.principal, session.claims.auth_time)
        if finding.revoke and self._revoker is not None:
            self._revoker.revoke_soon(session.principal)
        suspicious = finding.level is NetworkLevel.SUSPICIOUS
        reason = reasons.NETWORK_SUSPICIOUS if suspicious else reasons.NETWORK_CHANGED
        return Challenge(reason, route.name, session.client, session=session)

    def _anonymous(
        self, route: Route, client: IPAddress | None, reason: Reason, ignored: Reason | None = None
    ) -> Allow:
        replayable = ignored is None  # whether a refused credential is still refused has to be looked at each time
        conditions = Conditions(FOREVER, NO_EPOCH, client, route.name, self.generation, replayable=replayable)
        return Allow(reason, route.name, None, conditions, ignored)


def _note(trail: Trail | None, name: str, answer: str | Callable[[], str], *, ok: bool = True) -> None:
    """Note a step. An answer that costs something to put into words is put into them only where somebody reads it."""
    if trail is not None:
        trail.add(name, answer if isinstance(answer, str) else answer(), ok=ok)


def _note_verified(trail: Trail | None, claims: Claims) -> None:
    _note(trail, "token", lambda: f"good until {claims.expires_at}, signed in at {claims.auth_time}")


def _absent(context: RequestContext) -> Reason:
    """Why there is no credential: the worker reports a failed renewal, everything else is simply not signed in."""
    fetch = context.headers.one(b"x-gateway-fetch")
    failed = fetch is not None and "token=failed" in (part.strip() for part in fetch.split(","))
    return reasons.TOKEN_REFRESH_FAILED if failed else reasons.SIGN_IN_REQUIRED


async def _standing(revocation: RevocationSource, principal: Principal, route: Route) -> tuple[Standing | None, Reason]:
    """The standing, and what an answer that rests on it is called.

    Where the account service does not answer and the route lets good tokens pass all the same, the standing is the last
    one heard of: it may refuse, but it vouches for nobody (``threats.md`` row 40).

    :raises RevocationUnavailable: it is not known, and the route wants it known.
    """
    try:
        return await revocation.standing(principal), reasons.SESSION_VALID
    except RevocationUnavailable:
        if route.on_revocation_outage is OnOutage.DENY:
            raise
        return revocation.last_known(principal), reasons.SESSION_UNCHECKED


def _revoked(claims: Claims, standing: Standing | None) -> Reason | None:
    """The revocation rule: gone, disabled, or signed in before valid-since (both in whole seconds)."""
    if standing is None:
        return None
    if not standing.exists:
        return reasons.USER_NOT_FOUND
    if standing.disabled:
        return reasons.USER_DISABLED
    return reasons.SESSION_REVOKED if claims.auth_time < standing.valid_since else None


def _refusal(lacking: Unmet, session: Session, route: Route) -> Challenge | Deny:
    if lacking.reason.outcome is reasons.Outcome.CHALLENGE:
        return Challenge(lacking.reason, route.name, session.client, lacking.max_age, lacking.acr_values, session)
    return Deny(lacking.reason, route.name, client=session.client, session=session)


def _age_text(age: int, limit: float) -> str:
    return f"signed in {age} s ago, " + ("however long that is" if limit == FOREVER else f"good for {limit:.0f} s")


def _network_text(finding: Finding, route: Route) -> str:
    return f"{finding.level}: {finding.action} ({route.preset}), {finding.why}"


def _standing_text(standing: Standing | None, allowed: Reason) -> str:
    if standing is None:
        return "not known, and the account service does not answer; the route lets that pass"
    if not standing.exists:
        return "the account is gone"
    text = "disabled" if standing.disabled else f"valid since {standing.valid_since}"
    return text if allowed is reasons.SESSION_VALID else f"{text} when last heard of, and the route lets that pass"
