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
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway import reasons
from gateway.core.at_once import MustWait, PromptVerifier, VerifierAtOnce
from gateway.core.credential import Carrier, find_credentials, why_absent
from gateway.core.decision import Allow, Challenge, Conditions, Decision, Deny, Preflight
from gateway.core.trail import note as _note
from gateway.errors import DependencyError, RequestError, TokenError, TokenExpired
from gateway.policy.cross_site import requested_method
from gateway.policy.networks import NetworkJudge
from gateway.policy.routes import Auth
from gateway.policy.session import NO_EPOCH, UNCHECKED_EPOCH, SessionJudge
from gateway.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.claims import Claims
    from gateway.core.client_ip import IPAddress
    from gateway.core.context import RequestContext
    from gateway.core.credential import CookieName, Credential
    from gateway.core.ports import AddressSource, Clock, RevocationSource, Revoker, SessionDenyList, Verifier
    from gateway.core.session import Session
    from gateway.core.trail import Trail
    from gateway.policy.routes import Route, RouteTable

__all__ = ["FOREVER", "NO_EPOCH", "UNCHECKED_EPOCH", "SessionGuard"]

FOREVER: Final = float("inf")

_PUBLIC: Final = Auth.PUBLIC
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
        self._deny_list = deny_list
        self._sessions = SessionJudge(
            revocation=revocation,
            clock=clock,
            networks=networks or NetworkJudge(),
            deny_list=deny_list,
            revoker=revoker,
            max_age=max_age,
            generation=generation,
        )
        self.cookies: Final = tuple(cookies or ())
        self._verifiers = {Carrier.BEARER: verifier} | {name.carrier: by for name, by in (cookies or {}).items()}
        self._at_once = self._that_never_waits()

    async def judge(self, context: RequestContext, trail: Trail | None = None) -> Decision:
        """Judge one request.

        :param trail: receives each step and its answer, for callers who want to explain the decision.
        """
        placed = self._place(context, trail)
        if not isinstance(placed, tuple):
            return placed
        return await self.judge_on(*placed, context, trail)

    def judge_at_once(self, context: RequestContext) -> Decision | None:
        """The very judgement of :meth:`judge` where nothing has to be waited for; None where something has to be.

        None is no refusal, and nothing was remembered of the request but that its signature is good, if it is.
        """
        if self._at_once is None:
            return None
        placed = self._place(context, None)
        if not isinstance(placed, tuple):
            return placed
        route, client = placed
        if route.auth is _PUBLIC:
            return self._anonymous(route, client, reasons.PUBLIC_ROUTE)
        judgement = self._at_once._session(route, client, context, None)  # noqa: SLF001 - because it is this class's
        try:
            judgement.send(None)
        except StopIteration as done:
            found: Allow | Challenge | Deny | _Refusal = done.value
            return found if isinstance(found, Allow) else self._answer(found, route, client)
        except MustWait:
            pass
        judgement.close()
        return None

    def _place(self, context: RequestContext, trail: Trail | None) -> tuple[Route, IPAddress | None] | Deny | Preflight:
        """The request's route and client; an answer where there is nobody to judge."""
        try:
            client = self.addresses.client(context.peer, context.headers)
            asked = requested_method(context)
            route = self.routes.match(asked or context.method, context.host, context.target)
            if asked is not None and (route is None or route.cors is None):
                asked, route = None, self.routes.match(context.method, context.host, context.target)
        except RequestError as error:
            _note(trail, "request", error.detail or error.reason.id, ok=False)
            return Deny(error.reason)
        if trail is not None:
            trail.add("client", str(client) if client is not None else "no address")
        if route is None:
            _note(trail, "route", "none matches", ok=False)
            return Deny(reasons.NO_ROUTE, client=client)
        if trail is not None:
            trail.add("route", f"{route.name} ({route.pattern}, auth {route.auth})")
        if asked is not None:
            return self._preflight(route, client, context, trail)
        return route, client

    def _that_never_waits(self) -> SessionGuard | None:
        """The same judge with the same parts, except that none of them waits; None where one cannot but wait."""
        prompt = {carrier: by for carrier, by in self._verifiers.items() if isinstance(by, PromptVerifier)}
        if len(prompt) < len(self._verifiers):
            return None
        twin = copy.copy(self)
        vars(twin).update(
            _verifiers={carrier: VerifierAtOnce(by) for carrier, by in prompt.items()},
            _sessions=self._sessions.at_once(),
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
        if route.auth is _PUBLIC:
            return self._anonymous(route, client, reasons.PUBLIC_ROUTE)
        return self._answer(await self._session(route, client, context, trail), route, client)

    def _answer(self, found: Allow | Challenge | Deny | _Refusal, route: Route, client: IPAddress | None) -> Decision:
        """What becomes of a request on a route that looks at sessions."""
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
                answer = await self._sessions.judge(claims, carrier, route, client, context, None, known)
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

    async def _session(  # noqa: C901, PLR0912 - because it is one line, from each credential to its answer
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
            carrier, settled = credential.carrier, True
            if trail is not None:
                trail.add("credential", f"one {_SPOKEN[carrier]}")
            try:
                claims = await self._verifiers[carrier].verify(credential.token)
                if trail is not None:
                    trail.add("token", f"good until {claims.expires_at}, signed in at {claims.auth_time}")
                if index + 1 < len(found):
                    stranger, settled = await self._stranger(claims, credential, found[index + 1 :])
                    if stranger is not None:
                        text = f"a {_SPOKEN[stranger.carrier]} of somebody else beside it"
                        _note(trail, "credential", text, ok=False)
                        return _Refusal(reasons.CREDENTIAL_CONFLICT, cookie=stranger.cookie)
                answer = await self._sessions.judge(claims, carrier, route, client, context, trail)
            except TokenError as error:
                _note(trail, "token", partial(_text, error), ok=False)
                if isinstance(error, TokenExpired) and carrier.ambient:
                    # Whoever renews the SDK's is at it; without it, the SDK would take its user for signed out.
                    spent = spent if carrier is Carrier.SDK_COOKIE else credential.cookie
                    continue  # a cookie that has had its time is none: browsers drop it at the same moment
                return _Refusal(error.reason, cookie=credential.cookie)
            except DependencyError as error:
                _note(trail, "dependency", partial(_text, error), ok=False)
                return _Refusal(error.reason, error.retry_after)
            if isinstance(answer, Allow):
                if settled and not spent:
                    return answer
                return replace(answer, cookie=spent, conditions=replace(answer.conditions, replayable=False))
            if isinstance(answer, Reason):
                return _Refusal(answer, cookie=credential.cookie)
            return replace(answer, cookie=credential.cookie)
        return _Refusal(why_absent(context.headers), cookie=spent)

    async def _stranger(
        self, claims: Claims, counted: Credential, others: Sequence[Credential]
    ) -> tuple[Credential | None, bool]:
        """The first good credential of another user among ``others``, and whether that answer is good for later too.

        ``claims`` are those of the credential that ``counted``.

        One that is not good, or cannot be judged now, would not have passed by itself and changes nothing. But it may
        be good later, unless it has expired.
        """
        settled = True
        for other in others:
            if other.token == counted.token:
                continue
            try:
                if (await self._verifiers[other.carrier].verify(other.token)).principal != claims.principal:
                    return other, True
            except TokenExpired:
                continue
            except (TokenError, DependencyError):
                settled = False
        return None, settled

    def _anonymous(
        self, route: Route, client: IPAddress | None, reason: Reason, ignored: Reason | None = None
    ) -> Allow:
        replayable = ignored is None  # whether a refused credential is still refused has to be looked at each time
        conditions = Conditions(FOREVER, NO_EPOCH, client, route.name, self.generation, replayable=replayable)
        return Allow(reason, route.name, None, conditions, ignored)


def _text(error: TokenError | DependencyError) -> str:
    return f"{error.reason.id}: {error}"
