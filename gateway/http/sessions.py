"""Ending sessions: ``POST /.gateway/logout`` with ``scope=device`` or ``scope=everywhere``.

The rules this file obeys:

1. **It holds from the next request on**, for every copy of the token and every token renewed from it: ``device`` puts
   the session (user and moment of sign-in) on the deny list; ``everywhere`` has Firebase revoke all of the user's
   sessions first, and only when that is confirmed anything changes here.
2. **Whoever holds a good token may end its session, from wherever they are.** The network is not judged, and an account
   service that is down keeps nobody from signing out of a device: ending a session is the safe direction. A foreign
   page can do it no more than anything else (:mod:`gateway.policy.cross_site`).
3. ``Clear-Site-Data`` (W3C Clear Site Data section 3.1) names the cache alone, where pages of the session may lie.
   ``storage`` would unregister the worker and wipe the application's own data, ``cookies`` its other cookies; the SDK's
   record of the user is the logout page's to remove. The cookies that carry the session go one by one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl

from gateway import reasons
from gateway.core.claims import Principal
from gateway.core.context import RequestContext
from gateway.core.decision import Allow, Decision, Deny
from gateway.core.ports import SessionDenyList
from gateway.errors import RequestError, RevocationUnavailable
from gateway.guard import SessionGuard
from gateway.http.cookies import CLEAR_SITE_DATA, Fields, SessionCookieSettings, clear_cookie_headers, spent_cookie
from gateway.http.negotiate import PROBLEM
from gateway.http.reply import Replies, Reply
from gateway.http.session_cookie import BodyReader
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth, OnOutage, Route, Unauthenticated

MAX_BODY: Final = 1024
"""Bytes. The longest body with a meaning has thirty."""

Scope: TypeAlias = Literal["device", "everywhere"]
_FORM: Final = "application/x-www-form-urlencoded"


class SignOut:
    """Ends sessions on behalf of their owners.

    :param revoke: ends all sessions of a user at the account service and here, or raises
        :class:`~gateway.errors.RevocationUnavailable` and has changed nothing; None where there is no account service.
    :param cookies: which cookies carry sessions here, and so go with one; None where none does.
    """

    def __init__(
        self,
        replies: Replies,
        deny_list: SessionDenyList,
        revoke: Callable[[Principal], Awaitable[None]] | None,
        *,
        prefix: str = "/.gateway/",
        cookies: SessionCookieSettings | None = None,
    ) -> None:
        self._replies = replies
        self._cookies = cookies
        self._deny_list = deny_list
        self._revoke = revoke
        self._under_way: dict[Principal, asyncio.Future[None]] = {}
        self._route = Route(
            name="gateway-logout",
            pattern=f"{prefix}logout",
            upstream="",
            auth=Auth.REQUIRED,
            unauthenticated=Unauthenticated.UNAUTHORIZED,
            preset=Preset.OFF,
            on_revocation_outage=OnOutage.ALLOW_UNTIL_EXP,
        )

    async def answer(
        self, context: RequestContext, guard: SessionGuard, request_id: str, body: BodyReader
    ) -> tuple[Reply, Decision]:
        """Answer one sign-out; the decision is for the log."""
        decision = await self._decide(context, guard, body)
        if isinstance(decision, Allow):
            headers: Fields = (
                ("Cache-Control", "private, no-store"),
                CLEAR_SITE_DATA,
                ("X-Request-Id", request_id),
            )
            if self._cookies is not None:
                scheme = guard.addresses.scheme(context.peer, context.headers, context.scheme)
                headers += clear_cookie_headers(self._cookies, scheme, context.host)
            return Reply(204, headers), decision
        retry_after = decision.retry_after if isinstance(decision, Deny) else None
        reply = self._replies.failure(decision.reason, request_id, PROBLEM, retry_after=retry_after)
        return reply.beside(spent_cookie(decision)), decision

    async def _decide(self, context: RequestContext, guard: SessionGuard, body: BodyReader) -> Decision:
        client = None
        try:
            client = guard.addresses.client(context.peer, context.headers)
            decision = await guard.judge_on(self._route, client, context)
            if not isinstance(decision, Allow) or decision.session is None:
                return decision
            session = decision.session
            scope = scope_of(context.headers.one(b"content-type"), await body(MAX_BODY))
            if scope == "everywhere":
                if self._revoke is None:
                    return Deny(reasons.SIGN_OUT_EVERYWHERE_OFF, self._route.name, client=client)
                await self._revoke_once(session.principal)
        except RequestError as error:
            return Deny(error.reason, self._route.name, client=client)
        except RevocationUnavailable as error:
            return Deny(error.reason, self._route.name, error.retry_after, client)
        # With "everywhere" too: valid-since has whole seconds, so a session begun in this very second would outlive it.
        self._deny_list.deny(session.principal, session.claims.auth_time)
        return decision

    async def _revoke_once(self, principal: Principal) -> None:
        """Revoke, one call at a time for each user: a crowd of sign-outs must not hold up look-ups of others.

        :raises RevocationUnavailable: the account service did not confirm.
        """
        call = self._under_way.get(principal)
        if call is None:
            assert self._revoke is not None
            call = self._under_way[principal] = asyncio.ensure_future(self._revoke(principal))
            call.add_done_callback(lambda done: self._ended(principal, done))
        # A browser that leaves does not stop what others wait for.
        await asyncio.wait({call})
        call.result()

    def _ended(self, principal: Principal, call: asyncio.Future[None]) -> None:
        del self._under_way[principal]
        if not call.cancelled():
            call.exception()  # looked at, should nobody be waiting any more


def scope_of(content_type: str | None, body: bytes) -> Scope:
    """What is to be ended; ``device`` when the body does not say.

    :raises RequestError: ``request_malformed``: neither a form nor a JSON object, or another scope.
    """
    if not body:
        return "device"
    kind = (content_type or "").partition(";")[0].strip().lower()
    try:
        text = body.decode("utf-8")
        if kind == "application/json":
            pairs = json.loads(text, object_pairs_hook=tuple)
        else:
            pairs = tuple(parse_qsl(text, keep_blank_values=True, strict_parsing=True)) if kind == _FORM else None
    except (ValueError, RecursionError) as error:
        raise RequestError(reasons.REQUEST_MALFORMED, f"the body cannot be read: {type(error).__name__}") from None
    scopes = [value for name, value in pairs if name == "scope"] or ["device"] if isinstance(pairs, tuple) else []
    if scopes == ["device"]:
        return "device"
    if scopes == ["everywhere"]:
        return "everywhere"
    raise RequestError(reasons.REQUEST_MALFORMED, "not a form or a JSON object whose scope is device or everywhere")
