"""The judge.

It answers one question: *may this request pass, as whom, and if not, what should the caller do next?*
:meth:`SessionGuard.judge` reads like the line in ``docs/how-sessions-work.md``. It awaits ports and hands plain values
to pure functions; it knows nothing of sockets, aiohttp or Google. Identity fails closed: a port that cannot answer
leads to a 503, never to an anonymous request on a route that needs a session, and on an optional route never to a
half-trusted one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gateway import reasons
from gateway.core.at_once import MustWait, PromptVerifier, StandingsAtOnce, VerifierAtOnce
from gateway.core.credential import Carrier, find_credentials, why_absent
from gateway.core.decision import Allow, Challenge, Conditions, Decision, Deny, Preflight
from gateway.core.session import NetworkAction, NetworkLevel, Session
from gateway.core.trail import note as _note
from gateway.errors import DependencyError, RequestError, TokenError, TokenExpired
from gateway.policy.assurance import Unmet, holds_until, unmet
from gateway.policy.cross_site import is_cross_site, requested_method
from gateway.policy.networks import Finding, NetworkJudge
from gateway.policy.routes import Auth
from gateway.policy.standing import revoked, standing_for, standing_text
from gateway.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.claims import Claims
    from gateway.core.client_ip import IPAddress
    from gateway.core.context import RequestContext
    from gateway.core.credential import CookieName, Credential
    from gateway.core.ports import AddressSource, Clock, RevocationSource, Revoker, SessionDenyList, Verifier
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
    """Why there is no session; ``cookie`` names the cookie that brought the refused credential, or that had expired."""

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
        self.cookies: Final = tuple(cookies or ())
        self._verifiers = {Carrier.BEARER: verifier} | {name.carrier: by for name, by in (cookies or {}).items()}
        self._at_once = self._that_never_waits()

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

    def judge_at_once(self, context: RequestContext) -> Decision | None:
        """The very judgement of :meth:`judge` where nothing has to be waited for; None where something has to be.

        None is no refusal, and nothing was remembered of the request but that its signature is good, if it is.
        """
        if self._at_once is None:
            return None
        judgement = self._at_once.judge(context)
        try:
            judgement.send(None)
        except StopIteration as done:
            decision: Decision = done.value
            return decision
        except MustWait:
            pass
        judgement.close()
        return None

    def _that_never_waits(self) -> SessionGuard | None:
        """The same judge with the same parts, except that none of them waits; None where one cannot but wait."""
        prompt = {carrier: by for carrier, by in self._verifiers.items() if isinstance(by, PromptVerifier)}
        if len(prompt) < len(self._verifiers):
            return None
        twin = copy.copy(self)
        standings = StandingsAtOnce(self._revocation) if self._revocation is not None else None
        vars(twin).update(
            _verifiers={carrier: VerifierAtOnce(by) for carrier, by in prompt.items()}, _revocation=standings
        )
        return twin

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
            return replace(self._anonymous(route, client, reason, ignored), cookie=found.cookie)
        if not isinstance(found, _Refusal):
            return found
        if refusal.outcome is reasons.Outcome.CHALLENGE:
            return Challenge(refusal, route.name, client, cookie=found.cookie)
        return Deny(refusal, route.name, found.retry_after, client, cookie=found.cookie)

    async def judge_again(self, context: RequestContext, earlier: Allow, renewed: Claims | None = None) -> Decision:
        """Judge a request that is still under way, long after it was let pass.

        As a new request would be judged, but: a session stands where ``renewed`` does; where it came from is weighed
        only after a change of configuration, because a connection that lingers is no sign that somebody is there; and
        where the session is over, nobody goes on as nobody in particular with what was begun as somebody.

        :param earlier: what let it pass.
        :param renewed: claims of a newer token of the same session; None for those of the request's own credential.
        """
        if earlier.session is None:
            return await self.judge(context)
        client, carrier = earlier.client, earlier.session.carrier
        try:
            route = self.routes.match(context.method, context.host, context.target)
        except RequestError as error:
            return Deny(error.reason, client=client)
        if route is None:
            return Deny(reasons.NO_ROUTE, client=client)
        if route.auth is Auth.PUBLIC:
            return self._anonymous(route, client, reasons.PUBLIC_ROUTE)
        known = earlier.session if earlier.conditions.generation == self.generation else None
        try:
            claims = renewed or await self._claims(context, carrier)
            if claims is None:
                answer: Allow | Challenge | Deny | Reason = reasons.SIGN_IN_REQUIRED
            elif self._clock.now() >= claims.expires_at:
                answer = reasons.TOKEN_EXPIRED
            else:
                answer = await self._stands(claims, carrier, route, client, context, None, known)
        except TokenError as error:
            answer = error.reason
        except DependencyError as error:
            return Deny(error.reason, route.name, error.retry_after, client, earlier.session)
        if not isinstance(answer, Reason):
            return answer
        if answer.outcome is reasons.Outcome.CHALLENGE:
            return Challenge(answer, route.name, client, session=earlier.session)
        return Deny(answer, route.name, client=client, session=earlier.session)

    async def _claims(self, context: RequestContext, carrier: Carrier) -> Claims | None:
        """What the request's own credential says now.

        :raises TokenError: it is refused.
        :raises DependencyError: it cannot be verified now.
        """
        scheme = self.addresses.scheme(context.peer, context.headers, context.scheme)
        found = find_credentials(context.headers, self.cookies, scheme, context.host)
        for credential in () if found is None or isinstance(found, Reason) else found:
            if credential.carrier is carrier:
                return await self._verifiers[carrier].verify(credential.token)
        return None

    @property
    def denials(self) -> int:
        """The deny list's generation: while it stands still, nobody else has signed out."""
        return self._deny_list.generation if self._deny_list is not None else 0

    def signed_out(self, session: Session) -> bool:
        """Whether the session was ended here."""
        return self._deny_list is not None and self._deny_list.denied(session.principal, session.claims.auth_time)

    def holds(self, decision: Allow, now: float, *, under_way: bool = False) -> bool:
        """Whether an earlier decision may be given again, as far as time, revocation, sign-out and configuration go.

        That the token's bytes, the route and the client are the same is for the caller to compare. False is no
        refusal: it means that the request has to be judged.

        :param now: wall-clock seconds since the epoch.
        :param under_way: it is the very request that the decision was made on, so that it need not be replayable.
        """
        conditions = decision.conditions
        if not (conditions.replayable or under_way) or now >= conditions.expires_at:
            return False
        if conditions.generation != self.generation:
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
        if self.cookies and b"cookie" in context.headers:
            scheme = self.addresses.scheme(context.peer, context.headers, scheme)
        found = find_credentials(context.headers, self.cookies, scheme, context.host)
        if found is None or isinstance(found, Reason):
            refusal = found or why_absent(context.headers)
            _note(trail, "credential", refusal.id if found else f"none: {refusal.id}", ok=False)
            return _Refusal(refusal)
        spent = ""
        for index, credential in enumerate(found):
            _note(trail, "credential", f"one {_SPOKEN[credential.carrier]}")
            try:
                claims = await self._verifiers[credential.carrier].verify(credential.token)
                _note_verified(trail, claims)
                others = [other for other in found[index + 1 :] if other.token != credential.token]
                stranger, settled = await self._stranger(claims, others) if others else (None, True)
                if stranger is not None:
                    _note(trail, "credential", f"a {_SPOKEN[stranger.carrier]} of somebody else beside it", ok=False)
                    return _Refusal(reasons.CREDENTIAL_CONFLICT, cookie=stranger.cookie)
                answer = await self._stands(claims, credential.carrier, route, client, context, trail)
            except TokenError as error:
                _note(trail, "token", f"{error.reason.id}: {error}", ok=False)
                if isinstance(error, TokenExpired) and credential.carrier.ambient:
                    # Whoever renews the SDK's is at it; without it, the SDK would take its user for signed out.
                    spent = spent if credential.carrier is Carrier.SDK_COOKIE else credential.cookie
                    continue  # a cookie that has had its time is none: browsers drop it at the same moment
                return _Refusal(error.reason, cookie=credential.cookie)
            except DependencyError as error:
                _note(trail, "dependency", f"{error.reason.id}: {error}", ok=False)
                return _Refusal(error.reason, error.retry_after)
            if isinstance(answer, Reason):
                return _Refusal(answer, cookie=credential.cookie)
            if not isinstance(answer, Allow):
                return replace(answer, cookie=credential.cookie)
            if settled and not spent:
                return answer
            return replace(answer, cookie=spent, conditions=replace(answer.conditions, replayable=False))
        return _Refusal(why_absent(context.headers), cookie=spent)

    async def _stranger(self, claims: Claims, others: Sequence[Credential]) -> tuple[Credential | None, bool]:
        """The first good credential of another user among ``others``, and whether that answer is good for later too.

        One that is not good, or cannot be judged now, would not have passed by itself and changes nothing. But it may
        be good later, unless it has expired.
        """
        settled = True
        for other in others:
            try:
                if (await self._verifiers[other.carrier].verify(other.token)).principal != claims.principal:
                    return other, True
            except TokenExpired:
                continue
            except (TokenError, DependencyError):
                settled = False
        return None, settled

    async def _stands(
        self,
        claims: Claims,
        carrier: Carrier,
        route: Route,
        client: IPAddress | None,
        context: RequestContext,
        trail: Trail | None,
        known: Session | None = None,
    ) -> Allow | Challenge | Deny | Reason:
        """Judge what stands behind good claims: where the request came from, the account, the network, the demands.

        :param known: whose network was weighed already.
        """
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
                standing, allowed = await standing_for(self._revocation, claims.principal, route)
            refusal_or_none = revoked(claims, standing)
            _note(trail, "revocation", lambda: standing_text(standing, allowed), ok=refusal_or_none is None)
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
        admitted = self._admit(claims, carrier, now, route, client, context, trail, known)
        if isinstance(admitted, Challenge | Deny):
            return admitted
        session, until = admitted
        replayable = allowed is reasons.SESSION_VALID
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
        known: Session | None,
    ) -> tuple[Session, float] | Challenge | Deny:
        """Whether a session that stands may come from here and in here, and until when that holds at most."""
        if known is not None:
            finding = Finding(known.network, known.action, known.why)
        else:
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


def _note_verified(trail: Trail | None, claims: Claims) -> None:
    _note(trail, "token", lambda: f"good until {claims.expires_at}, signed in at {claims.auth_time}")


def _refusal(lacking: Unmet, session: Session, route: Route) -> Challenge | Deny:
    if lacking.reason.outcome is reasons.Outcome.CHALLENGE:
        return Challenge(lacking.reason, route.name, session.client, lacking.max_age, lacking.acr_values, session)
    return Deny(lacking.reason, route.name, client=session.client, session=session)


def _age_text(age: int, limit: float) -> str:
    return f"signed in {age} s ago, " + ("however long that is" if limit == FOREVER else f"good for {limit:.0f} s")


def _network_text(finding: Finding, route: Route) -> str:
    return f"{finding.level}: {finding.action} ({route.preset}), {finding.why}"
