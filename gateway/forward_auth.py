"""Forward auth: a reverse proxy asks about each request, and passes it on itself.

The rules this file obeys (``threats.md`` row 35; oauth2-proxy CVE-2026-40575, Traefik CVE-2026-35051, CVE-2026-34457):

1. **Only a configured proxy is believed.** What the original request was is told in headers, which anybody can write.
   They count from peers in ``listen.trusted_proxies`` and from nobody else; with an empty list nobody may ask.
2. **One original request.** Each dialect reads exactly the fields that its proxy sets, each exactly once. Absent,
   doubled, or with more than one reading is refused, never guessed.
3. **The answer tells everything that the backend may hear, and the proxy takes all of it.** A request that passes as
   nobody carries no identity, so the fields that are not in the answer have to be removed by the proxy; the generated
   configurations do, and Envoy is told in the answer.
4. Nothing is decided by ``User-Agent``, and nothing is let through for being a health check.
5. The gateway's own addresses are never a backend's: the proxy sends them here, and asking about one is refused.

==========  =============================================================  ==========================================
dialect     where the original request stands                              a refusal
==========  =============================================================  ==========================================
nginx       ``X-Original-Method``, ``X-Original-URI``, ``Host``            401 or 403; the page is fetched behind it
Traefik     ``X-Forwarded-Method``, ``-Uri``, ``-Host``                    as it is to reach the client
Caddy       ``X-Forwarded-Method``, ``-Uri``, ``-Host``                    as it is to reach the client
Envoy       method, ``Host``, and the target behind the endpoint's path    as it is to reach the client
==========  =============================================================  ==========================================
"""

from __future__ import annotations

import enum
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway import reasons
from gateway.core.client_ip import parse_address
from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.errors import RequestError
from gateway.http.enforce import Answered, Enforcer, Passed
from gateway.http.intake import origin_form, valid_host
from gateway.http.negotiate import form_of_refusal
from gateway.http.questions import Terms, removed
from gateway.http.reply import Reply
from gateway.mutators.headers import without_cookies

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gateway.core.decision import Decision
    from gateway.guard import SessionGuard
    from gateway.mutators.identity import IdentityWriter


class Dialect(enum.StrEnum):
    """Who asks."""

    NGINX = "nginx"
    TRAEFIK = "traefik"
    CADDY = "caddy"
    ENVOY = "envoy"


REFUSAL: Final = "refusal"
"""Behind nginx's endpoint: the whole answer to a request that was refused, which ``auth_request`` cannot carry."""
_METHOD: Final = re.compile(r"[A-Z][A-Z_-]{0,31}", re.ASCII)
_REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE"})
_NAMES: Final = {
    Dialect.NGINX: (b"x-original-method", b"x-original-uri", b"host"),
    Dialect.TRAEFIK: (b"x-forwarded-method", b"x-forwarded-uri", b"x-forwarded-host"),
    Dialect.CADDY: (b"x-forwarded-method", b"x-forwarded-uri", b"x-forwarded-host"),
}
_FORBIDDEN: Final = 403
_UNAUTHORIZED: Final = 401
_PASSES: Final = 200
_COOKIE: Final = "Cookie"


def dialect_of(path: str, prefix: str) -> tuple[Dialect, str] | None:
    """The dialect of an endpoint's path and what stands behind it; None when it is no such endpoint.

    :param prefix: the reserved prefix, with slashes at both ends.
    """
    name, _, rest = path.removeprefix(f"{prefix}auth/").partition("/")
    if not path.startswith(f"{prefix}auth/") or name not in set(Dialect):
        return None
    dialect = Dialect(name)
    if dialect is Dialect.ENVOY:
        return dialect, f"/{rest}"
    return (dialect, rest) if rest in {"", REFUSAL} and (not rest or dialect is Dialect.NGINX) else None


def original_request(asked: RequestContext, dialect: Dialect, raw_behind: str) -> RequestContext:
    """The request that the proxy asks about.

    :param asked: the proxy's own request, from a peer that is believed.
    :param raw_behind: Envoy's target behind the endpoint's path, as it came.
    :raises RequestError: ``request_malformed``, ``host_invalid``, ``target_ambiguous`` or ``method_not_allowed``.
    """
    headers = asked.headers
    if dialect is Dialect.ENVOY:
        method, uri, host = asked.method, raw_behind, asked.host
    else:
        method, uri, host = (_once(headers, name) for name in _NAMES[dialect])
        host = host.lower()
    if not valid_host(host):
        raise RequestError(reasons.HOST_INVALID, "the original Host is not a name or address with an optional port")
    if _METHOD.fullmatch(method) is None:
        raise RequestError(reasons.REQUEST_MALFORMED, "the original method is not one")
    if method in _REFUSED_METHODS:
        raise RequestError(reasons.METHOD_NOT_ALLOWED, "CONNECT and TRACE are not served")
    return replace(
        asked,
        method=method,
        host=host,
        target=parse_target(origin_form(uri, host)),
        # Proxies take "Upgrade" and "Connection" off before they ask; the key of the handshake they leave.
        websocket=method == "GET" and b"sec-websocket-key" in headers,
    )


def _once(headers: Headers, name: bytes) -> str:
    values = headers.all(name)
    if len(values) != 1 or not values[0]:
        shown = name.decode("ascii")
        raise RequestError(reasons.REQUEST_MALFORMED, f"the proxy has to send exactly one {shown}")
    return values[0]


class ForwardAuth:
    """Answers the proxies' question.

    :param identity: writes what the backend is told.
    :param prefix: the reserved prefix, with slashes at both ends.
    :param dialects: who may ask.
    :param now: seconds since the epoch.
    """

    def __init__(
        self,
        enforcer: Enforcer,
        identity: IdentityWriter,
        *,
        prefix: str = "/.gateway/",
        dialects: Collection[Dialect] = tuple(Dialect),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._enforcer: Final = enforcer
        self._identity: Final = identity
        self._dialects: Final = frozenset(dialects)
        self._now: Final = now
        self._prefix: Final = prefix

    @property
    def terms(self) -> tuple[Terms, ...]:
        """How proxies may ask, for the fast path."""
        return tuple(
            Terms(f"{self._prefix}auth/{dialect}", _NAMES.get(dialect))
            for dialect in Dialect
            if dialect in self._dialects
        )

    async def answer(
        self,
        asked: RequestContext,
        guard: SessionGuard,
        request_id: str,
        *,
        known: tuple[Decision, float] | None = None,
    ) -> Answered | None:
        """The answer to a request below ``auth/``; None when that is no endpoint.

        :param known: what ``guard`` has decided about the original request already, and what
            :func:`time.perf_counter` said before it; None to ask it.
        """
        found = dialect_of(asked.target.path, self._prefix)
        if found is None or found[0] not in self._dialects:
            return None
        dialect, behind = found
        replies = self._enforcer.replies
        if not guard.addresses.trusts(parse_address(asked.peer)):
            self._enforcer.record_malformed(asked.method, asked.peer, reasons.PROXY_NOT_TRUSTED, request_id)
            reply = replies.failure(reasons.PROXY_NOT_TRUSTED, request_id)
            return Answered(reply, "", reasons.PROXY_NOT_TRUSTED)
        try:
            original = self._original(asked, dialect)
        except RequestError as error:
            self._enforcer.record_malformed(asked.method, asked.peer, error.reason, request_id)
            reply = replies.failure(error.reason, request_id, form_of_refusal(asked.headers))
            return Answered(self._refusal(reply, dialect, behind), "", error.reason)
        original, renewed = await self._enforcer.endpoints.freshen(original, guard)
        outcome = await self._enforcer.judge(original, guard, request_id, renewed=renewed, known=known)
        if isinstance(outcome, Answered):
            return replace(outcome, reply=self._refusal(outcome.reply, dialect, behind))
        if behind == REFUSAL and dialect is Dialect.NGINX:
            # Refused a moment ago and good now: nothing stands against it but that this is not the way to the backend.
            reply = replies.failure(reasons.TRY_AGAIN, request_id, form_of_refusal(original.headers), retry_after=0)
            return Answered(reply, outcome.route.name, reasons.TRY_AGAIN)
        return Answered(self._pass(outcome, dialect, request_id), outcome.route.name, outcome.decision.reason)

    def _original(self, asked: RequestContext, dialect: Dialect) -> RequestContext:
        raw_behind = asked.target.raw.removeprefix(f"{self._prefix}auth/{dialect}") or "/"
        original = original_request(asked, dialect, raw_behind)
        if self._enforcer.endpoints.own(original.target):
            raise RequestError(reasons.NOT_FOUND, "the gateway's own addresses are not the backend's")
        return original

    def _refusal(self, reply: Reply, dialect: Dialect, behind: str) -> Reply:
        """The refusal as the proxy can carry it: ``auth_request`` knows 401 and 403 only, and drops the rest."""
        if dialect is not Dialect.NGINX or behind == REFUSAL:
            return reply
        status = _FORBIDDEN if reply.status == _FORBIDDEN else _UNAUTHORIZED
        return Reply(status, (("Cache-Control", "private, no-store"),), b"", reply.close)

    def _pass(self, passed: Passed, dialect: Dialect, request_id: str) -> Reply:
        """The answer that lets a request pass: everything that the backend is to be told, and nothing else."""
        fields, _ = self._identity.write(passed.session, passed.route, self._now())
        identity = [(name.decode("ascii"), value.decode("ascii")) for name, value in fields]
        headers = [*identity, ("X-Request-Id", request_id), ("Cache-Control", "private, no-store"), *passed.fields]
        cookies = self._enforcer.endpoints.private_cookies
        lines = [value.encode("latin-1") for value in passed.context.headers.all(b"cookie")]
        kept = [remaining for line in lines if (remaining := without_cookies(line, cookies))]
        if kept:
            headers.append((_COOKIE, b"; ".join(kept).decode("latin-1")))
        forwards = passed.route.forward_authorization and passed.decision.ignored is None
        authorization = passed.context.headers.one(b"authorization") if forwards else None
        if authorization is not None:
            headers.append(("Authorization", authorization))
        if dialect is Dialect.ENVOY:
            told = {name.lower() for name, _ in headers}
            headers.append(("X-Envoy-Auth-Headers-To-Remove", removed(told, passed.route)))
        return Reply(_PASSES, tuple(headers))
