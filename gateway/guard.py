"""The judge.

It answers one question: *may this request pass, as whom, and if not, what should the caller do next?*
:meth:`SessionGuard.judge` reads like the line in ``docs/how-sessions-work.md``. It awaits ports and hands plain values
to pure functions; it knows nothing of sockets, aiohttp or Google. Identity fails closed: a port that cannot answer
leads to a 503, never to an anonymous request on a route that needs a session, and on an optional route never to a
half-trusted one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway import reasons
from gateway.core.credential import find_credential
from gateway.core.decision import Allow, Challenge, Conditions, Decision, Deny
from gateway.core.session import Session
from gateway.errors import DependencyError, RequestError, TokenError
from gateway.policy.cross_site import is_cross_site
from gateway.policy.ip_change import PRESETS, Action, action_for, compare
from gateway.policy.routes import Auth
from gateway.reasons import Reason

if TYPE_CHECKING:
    from gateway.core.claims import Claims
    from gateway.core.client_ip import IPAddress
    from gateway.core.context import RequestContext
    from gateway.core.ports import AddressSource, RevocationSource, Standing, Verifier
    from gateway.core.trail import Trail
    from gateway.policy.routes import Route, RouteTable

FOREVER: Final = float("inf")
NO_EPOCH: Final = -1


class SessionGuard:
    """Answers one question about one request. Holds no state of its own beyond what it was built from.

    :param revocation: None when the operator switched revocation checks off.
    :param generation: number of the configuration; a decision of another generation is void.
    """

    def __init__(
        self,
        *,
        routes: RouteTable,
        verifier: Verifier,
        revocation: RevocationSource | None,
        addresses: AddressSource,
        generation: int = 0,
    ) -> None:
        self.routes: Final = routes
        self.addresses: Final = addresses
        self.generation: Final = generation
        self._verifier = verifier
        self._revocation = revocation

    async def judge(self, context: RequestContext, trail: Trail | None = None) -> Decision:
        """Judge one request.

        :param trail: receives each step and its answer, for callers who want to explain the decision.
        """
        try:
            client = self.addresses.client(context.peer, context.headers)
            route = self.routes.match(context.method, context.host, context.target)
        except RequestError as error:
            _note(trail, "request", error.detail or error.reason.id, ok=False)
            return Deny(error.reason)
        _note(trail, "client", str(client) if client is not None else "no address")
        if route is None:
            _note(trail, "route", "none matches", ok=False)
            return Deny(reasons.NO_ROUTE, client=client)
        _note(trail, "route", f"{route.name} ({route.pattern}, auth {route.auth})")
        return await self.judge_on(route, client, context, trail)

    async def judge_on(
        self, route: Route, client: IPAddress | None, context: RequestContext, trail: Trail | None = None
    ) -> Decision:
        """Judge a request whose route and client address are known: the gateway's own endpoints start here."""
        if route.auth is Auth.PUBLIC:
            return self._anonymous(route, client, reasons.PUBLIC_ROUTE)
        refusal: Reason
        retry_after: int | None = None
        try:
            found = await self._session(route, client, context, trail)
        except TokenError as error:
            _note(trail, "token", f"{error.reason.id}: {error}", ok=False)
            refusal = error.reason
        except DependencyError as error:
            _note(trail, "dependency", f"{error.reason.id}: {error}", ok=False)
            refusal, retry_after = error.reason, error.retry_after
        else:
            if isinstance(found, Allow):
                return found
            refusal = found
        if route.auth is Auth.OPTIONAL:
            ignored = None if refusal is reasons.SIGN_IN_REQUIRED else refusal
            reason = reasons.ANONYMOUS if ignored is None else reasons.CREDENTIAL_IGNORED
            return self._anonymous(route, client, reason, ignored)
        if refusal.outcome is reasons.Outcome.CHALLENGE:
            return Challenge(refusal, route.name, client)
        return Deny(refusal, route.name, retry_after, client)

    async def _session(
        self, route: Route, client: IPAddress | None, context: RequestContext, trail: Trail | None
    ) -> Allow | Reason:
        credential = find_credential(context.headers)
        if credential is None:
            refusal = _absent(context)
            _note(trail, "credential", f"none: {refusal.id}", ok=False)
            return refusal
        if isinstance(credential, Reason):
            _note(trail, "credential", credential.id, ok=False)
            return credential
        _note(trail, "credential", "one bearer token")
        claims = await self._verifier.verify(credential)
        _note(trail, "token", f"good until {claims.expires_at}, signed in at {claims.auth_time}")
        if is_cross_site(context):
            _note(trail, "origin", "a foreign page started this request", ok=False)
            return reasons.CROSS_SITE
        epoch = NO_EPOCH
        if self._revocation is not None:
            standing = self._revocation.peek(claims.principal)
            if standing is None:
                standing = await self._revocation.standing(claims.principal)
            refusal_or_none = _revoked(claims, standing)
            _note(trail, "revocation", _standing_text(standing), ok=refusal_or_none is None)
            if refusal_or_none is not None:
                return refusal_or_none
            epoch = standing.epoch
        level = compare(claims.sign_in_ip, client, exact=PRESETS[route.preset].exact)
        action = action_for(level, route.preset)
        _note(trail, "network", f"{level}: {action} ({route.preset})", ok=action is not Action.REAUTHENTICATE)
        if action is Action.REAUTHENTICATE:
            return reasons.NETWORK_CHANGED
        conditions = Conditions(claims.expires_at, epoch, client, route.name, self.generation)
        return Allow(reasons.SESSION_VALID, route.name, Session(claims, client, level), conditions)

    def _anonymous(
        self, route: Route, client: IPAddress | None, reason: Reason, ignored: Reason | None = None
    ) -> Allow:
        conditions = Conditions(FOREVER, NO_EPOCH, client, route.name, self.generation)
        return Allow(reason, route.name, None, conditions, ignored)


def _note(trail: Trail | None, name: str, answer: str, *, ok: bool = True) -> None:
    if trail is not None:
        trail.add(name, answer, ok=ok)


def _absent(context: RequestContext) -> Reason:
    """Why there is no credential: the worker reports a failed renewal, everything else is simply not signed in."""
    fetch = context.headers.one(b"x-gateway-fetch")
    failed = fetch is not None and "token=failed" in (part.strip() for part in fetch.split(","))
    return reasons.TOKEN_REFRESH_FAILED if failed else reasons.SIGN_IN_REQUIRED


def _revoked(claims: Claims, standing: Standing) -> Reason | None:
    """The revocation rule: gone, disabled, or signed in before valid-since (both in whole seconds)."""
    if not standing.exists:
        return reasons.USER_NOT_FOUND
    if standing.disabled:
        return reasons.USER_DISABLED
    return reasons.SESSION_REVOKED if claims.auth_time < standing.valid_since else None


def _standing_text(standing: Standing) -> str:
    if not standing.exists:
        return "the account is gone"
    return "disabled" if standing.disabled else f"valid since {standing.valid_since}"
