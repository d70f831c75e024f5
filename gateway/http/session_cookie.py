"""``POST`` and ``DELETE`` of the session cookie, for requests that no worker sees.

The rules this file obeys (OWASP ASVS 5.0 sections 3.5 and 7.2; ``threats.md`` row 33):

* **Only this site sets and removes the cookie.** Both methods need positive proof that a page of this site asked. A
  form or script elsewhere can neither sign a visitor in as somebody else (login CSRF) nor sign anybody out.
* **What goes into the cookie was judged like a request for a protected page**: the whole ID token, the account's
  standing, the network.
* **The cookie lives no longer than what it holds.** An ID token's cookie ends with the token, and the worker or page
  posts the next one. A Firebase session cookie lives longer, so it is made only within five minutes of a sign-in
  (Google's page "Manage session cookies"), or a stolen ID token would become a session of weeks.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Awaitable, Callable
from typing import Final

from gateway import reasons
from gateway.core.claims import Claims
from gateway.core.client_ip import IPAddress
from gateway.core.context import Headers, RequestContext
from gateway.core.credential import find_credential
from gateway.core.decision import Allow, Challenge, Decision, Deny
from gateway.core.ports import Clock, SessionCookieSource
from gateway.errors import DependencyError, RequestError
from gateway.guard import SessionGuard
from gateway.http.cookies import (
    MAX_COOKIE,
    Fields,
    SessionCookieSettings,
    clear_cookie_headers,
    needs_secure,
    set_session_cookie,
)
from gateway.http.negotiate import PROBLEM
from gateway.http.reply import Replies, Reply
from gateway.policy.cross_site import is_same_origin
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth, Route, Unauthenticated

BodyReader = Callable[[int], Awaitable[bytes]]
"""The request's whole body, of at most so many bytes.

Raises :class:`~gateway.errors.RequestError` (``body_too_large``, ``request_malformed``)."""

MAX_BODY: Final = 20_000
"""Bytes of a posted document: one token of the largest size that is read at all, and its wrapping."""

RECENT_SIGN_IN: Final = 300
"""Seconds since the sign-in in which a lasting session may be had (Google's page "Manage session cookies")."""

_JSON: Final = re.compile(r"application/json(?:\s*;.*)?", re.IGNORECASE)


class SessionCookieEndpoint:
    """Answers requests for the session cookie's address.

    :param preset: the network policy that posted tokens are judged by.
    :param source: makes Firebase session cookies; needed in that mode only.
    :raises ValueError: the mode needs a source and there is none.
    """

    def __init__(
        self,
        settings: SessionCookieSettings,
        replies: Replies,
        clock: Clock,
        *,
        address: str = "/.gateway/session",
        preset: Preset = Preset.RELAXED,
        source: SessionCookieSource | None = None,
    ) -> None:
        if settings.mode == "session_cookie" and source is None:
            raise ValueError("Firebase session cookies need somebody who makes them")
        self.settings: Final = settings
        self._replies = replies
        self._clock = clock
        self._source = source
        self._route = Route(
            name="gateway-session",
            pattern=address,
            upstream="",
            auth=Auth.REQUIRED,
            unauthenticated=Unauthenticated.UNAUTHORIZED,
            preset=preset,
        )

    async def answer(
        self, context: RequestContext, guard: SessionGuard, request_id: str, body: BodyReader
    ) -> tuple[Reply, Decision | None]:
        """Answer one request, and say what was decided.

        POST with the ID token as bearer token, or as ``{"idToken": …}``, sets or renews the cookie: 204. DELETE removes
        it: 204. Refusals are problem documents.
        """
        if self.settings.mode == "off":
            return self._replies.failure(reasons.NOT_FOUND, request_id, PROBLEM), None
        if context.method not in {"POST", "DELETE"}:
            reply = self._replies.failure(reasons.METHOD_NOT_ALLOWED, request_id, PROBLEM)
            return reply.beside([("Allow", "POST, DELETE")]), None
        decision: Decision | None
        try:
            client = guard.addresses.client(context.peer, context.headers)
            scheme = guard.addresses.scheme(context.peer, context.headers, context.scheme)
            fields: Fields = ()
            if not is_same_origin(context):
                decision = Deny(reasons.CROSS_SITE, self._route.name, client=client)
            elif context.method == "DELETE":
                decision, fields = None, clear_cookie_headers(self.settings, scheme, context.host)
            else:
                posted = _posted_token(context.headers, await body(MAX_BODY))
                decision, fields = await self._exchange(context, guard, client, scheme, posted)
        except RequestError as error:
            decision, fields = Deny(error.reason), ()
        if isinstance(decision, Challenge | Deny):
            retry_after = decision.retry_after if isinstance(decision, Deny) else None
            return self._replies.failure(decision.reason, request_id, PROBLEM, retry_after=retry_after), decision
        common = (("Cache-Control", "no-store"), ("X-Request-Id", request_id))
        return Reply(204, (*fields, *common)), decision

    async def _exchange(
        self, context: RequestContext, guard: SessionGuard, client: IPAddress | None, scheme: str, posted: str | None
    ) -> tuple[Decision, Fields]:
        """Judge the token and give the cookie for it.

        :param posted: the token in the body, which wins over the one that a worker added to the request meanwhile.
        """
        bearer = find_credential(context.headers)
        token = posted or (bearer if isinstance(bearer, str) else "")
        decision = await guard.judge_on(self._route, client, _bringing(context, posted))
        if not isinstance(decision, Allow) or decision.session is None:
            return decision, ()
        claims = decision.session.claims
        if posted is not None and isinstance(bearer, str) and bearer != posted:
            other = await guard.judge_on(self._route, client, _bringing(context, None))
            if isinstance(other, Allow) and other.session is not None and other.session.principal != claims.principal:
                return Deny(reasons.CREDENTIAL_CONFLICT, self._route.name, client=client), ()
        name = self.settings.cookie.on(scheme, context.host)
        now = int(self._clock.now())
        value, lifetime = token, claims.expires_at - now
        if self._source is not None and self.settings.mode == "session_cookie":
            current = await self._current(context, guard, client, claims)
            recent = now - claims.auth_time <= RECENT_SIGN_IN
            if current is not None and (not recent or current.auth_time == claims.auth_time):
                return decision, ()  # the worker posts every new token; the session that stands is good
            if not recent:
                return Challenge(reasons.RECENT_SIGN_IN_REQUIRED, self._route.name, client), ()
            try:
                value = await self._source.create_session_cookie(token, self.settings.lifetime)
            except DependencyError as error:
                return Deny(error.reason, self._route.name, error.retry_after, client), ()
            lifetime = self.settings.lifetime
        if len(name) + len(value) > MAX_COOKIE:
            return Deny(reasons.TOKEN_TOO_LARGE, self._route.name, client=client), ()
        return decision, (set_session_cookie(name, value, lifetime, secure=needs_secure(scheme, context.host)),)

    async def _current(
        self, context: RequestContext, guard: SessionGuard, client: IPAddress | None, claims: Claims
    ) -> Claims | None:
        """What the cookie that came along says, when it is good and of the same user."""
        lines = tuple((name, value) for name, value in context.headers if name.lower() != b"authorization")
        only_cookie = dataclasses.replace(context, headers=Headers(lines))
        decision = await guard.judge_on(self._route, client, only_cookie)
        if isinstance(decision, Allow) and decision.session is not None:
            found = decision.session.claims
            return found if found.principal == claims.principal else None
        return None


def _posted_token(headers: Headers, body: bytes) -> str | None:
    """The ID token in the body; None when the body is empty.

    :raises RequestError: the body is something else. A form cannot produce this content type, which is one more proof.
    """
    if not body:
        return None
    if _JSON.fullmatch(headers.one(b"content-type") or "") is None:
        raise RequestError(reasons.REQUEST_MALFORMED, "the body is not announced as JSON")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(reasons.REQUEST_MALFORMED, "the body is not JSON") from None
    token = document.get("idToken") if isinstance(document, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise RequestError(reasons.REQUEST_MALFORMED, "the body holds no idToken")
    return token


def _bringing(context: RequestContext, token: str | None) -> RequestContext:
    """The request with nothing but a bearer token: ``token``, or its own when that is None."""
    dropped = {b"cookie"} if token is None else {b"cookie", b"authorization"}
    lines = [(name, value) for name, value in context.headers if name.lower() not in dropped]
    if token is not None:
        lines.append((b"Authorization", b"Bearer " + token.encode("ascii")))
    return dataclasses.replace(context, headers=Headers(tuple(lines)))
