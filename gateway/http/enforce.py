"""What all enforcement points do with a request once they have read it: judge, record, and refuse in the right form.

The rule this file obeys: **one judge, one line.** The reverse proxy, the middleware and forward auth differ in where a
request comes from and in what becomes of one that may pass; everything between lies here, so that they cannot come to
different answers (``docs/how-sessions-work.md``).
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gateway.core.client_ip import parse_address
from gateway.core.context import Headers
from gateway.core.decision import Allow, Deny, Preflight
from gateway.core.ports import DecisionEvent
from gateway.errors import RequestError
from gateway.http import cors
from gateway.http.cookies import kept_private, spent_cookie
from gateway.http.trail import TrailReaders, trail_fields
from gateway.policy.routes import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.context import RequestContext
    from gateway.core.decision import Decision
    from gateway.core.ports import AddressSource, AuditSink
    from gateway.core.session import Session
    from gateway.guard import SessionGuard
    from gateway.http.cookies import Fields
    from gateway.http.endpoints import Endpoints
    from gateway.http.questions import Terms
    from gateway.http.reply import Replies, Reply
    from gateway.http.session_cookie import BodyReader
    from gateway.policy.routes import Route
    from gateway.reasons import Reason

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
"""Ids that a trusted peer may hand in."""
OWN_ROUTE: Final = "gateway"
"""What the gateway's own pages and files are counted under."""
_ID_BYTES: Final = 16
_IDS_DRAWN: Final = 256
"""Ids that are drawn at once: one system call for all of them."""
_ids: list[str] = []
os.register_at_fork(after_in_child=_ids.clear)  # or parent and child would give the same ones
_MICROS: Final = 1_000_000


def new_request_id() -> str:
    """A request id that nobody can guess or repeat: 128 random bits in hexadecimal."""
    try:
        return _ids.pop()
    except IndexError:
        drawn = os.urandom(_ID_BYTES * _IDS_DRAWN).hex()
        first, *others = (drawn[at : at + 2 * _ID_BYTES] for at in range(0, len(drawn), 2 * _ID_BYTES))
        _ids.extend(others)
        return first


def request_id_of(peer: str, headers: Headers, addresses: AddressSource) -> str:
    """The request's id: a trusted peer's, when it sent one that is harmless, else a new one."""
    if b"x-request-id" in headers and addresses.trusts(parse_address(peer)):
        given = headers.one(b"x-request-id")
        if given is not None and REQUEST_ID.fullmatch(given) is not None:
            return given
    return new_request_id()


@dataclass(frozen=True, slots=True)
class Answered:
    """The gateway's own answer: a refusal, a preflight, one of its pages. ``route`` is what it is counted under."""

    reply: Reply
    route: str
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """The request may pass. ``fields`` belong into whatever answer it gets."""

    context: RequestContext
    decision: Allow
    route: Route
    fields: Fields

    @property
    def session(self) -> Session | None:
        """Whose request it is; None for nobody in particular."""
        return self.decision.session


class Asked(Protocol):
    """Answers a proxy that asks about a request; None when it is no such question."""

    @property
    def terms(self) -> tuple[Terms, ...]:
        """How proxies may ask."""

    async def answer(
        self,
        asked: RequestContext,
        guard: SessionGuard,
        request_id: str,
        *,
        known: tuple[Decision, float] | None = None,
    ) -> Answered | None:
        """Answer a request below the reserved prefix; ``known`` as in :meth:`Enforcer.judge`."""


class Enforcer:
    """Judges requests for one enforcement point.

    :param readers: whose answers carry the steps of their judgement.
    """

    def __init__(
        self, endpoints: Endpoints, replies: Replies, audit: AuditSink, readers: TrailReaders | None = None
    ) -> None:
        self.forward_auth: Asked | None = None
        """Answers proxies that ask about requests, where this is switched on."""
        self.on_decision: Callable[[Decision], None] | None = None
        """Told each decision that is recorded."""
        self.endpoints: Final = endpoints
        self.replies: Final = replies
        self._audit = audit
        self._readers = readers or TrailReaders()

    async def answer_own(
        self,
        context: RequestContext,
        guard: SessionGuard,
        request_id: str,
        body: BodyReader,
        renewed: Fields = (),
        *,
        known: tuple[Decision, float] | None = None,
    ) -> Answered:
        """Answer a request to one of the gateway's own addresses.

        :param known: what the guard has decided already about the request that a proxy asks about, see :meth:`judge`.
        """
        if self.forward_auth is not None:
            told = await self.forward_auth.answer(context, guard, request_id, known=known)
            if told is not None:
                return told
        started = time.perf_counter()
        answer = await self.endpoints.answer(context, guard, request_id, body)
        decision = answer.decision
        if decision is None:
            return Answered(answer.reply.beside(kept_private(renewed)), OWN_ROUTE)
        self.record(context, decision, request_id, started)
        return Answered(answer.reply.beside(kept_private(renewed)), decision.route or OWN_ROUTE, decision.reason)

    async def judge(
        self,
        context: RequestContext,
        guard: SessionGuard,
        request_id: str,
        *,
        route: Route | None = None,
        renewed: Fields = (),
        known: tuple[Decision, float] | None = None,
        again: bool = False,
    ) -> Passed | Answered:
        """Judge a request that is for the application.

        :param route: the rule that applies; None to look it up among the guard's.
        :param renewed: fields for the answer that come from :meth:`Endpoints.freshen`.
        :param known: what ``guard`` has decided about this very request, and what :func:`time.perf_counter` said
            before it; None to ask it.
        :param again: the request is in the log already, as one that passed.
        """
        trail = self._readers.trail_for(context, guard.addresses)
        started = time.perf_counter()
        decision: Decision
        if known is not None:
            decision, started = known
        elif route is None:
            decision = await guard.judge(context, trail)
        else:
            try:
                client = guard.addresses.client(context.peer, context.headers)
            except RequestError as error:
                decision = Deny(error.reason, route.name)
            else:
                decision = await guard.judge_on(route, client, context, trail)
        if not again or not isinstance(decision, Allow):
            self.record(context, decision, request_id, started)
        if route is None and decision.route is not None:
            route = guard.routes.by_name[decision.route]
        lists = route.cors if route is not None else None
        cookies = (*renewed, *spent_cookie(decision)) if isinstance(decision, Allow) else renewed
        fields = (*kept_private(cookies), *cors.answer_fields(lists, context.headers), *trail_fields(trail))
        if isinstance(decision, Preflight):
            assert lists is not None
            return Answered(cors.preflight(lists, request_id).beside(fields), decision.route, decision.reason)
        if not isinstance(decision, Allow):
            setting = route.unauthenticated if route is not None else Unauthenticated.AUTO
            refusal = self.replies.refuse(decision, context, request_id, setting)
            return Answered(refusal.beside(fields), decision.route or "", decision.reason)
        assert route is not None
        return Passed(context, decision, route, fields)

    def record(self, context: RequestContext, decision: Decision, request_id: str, started: float) -> None:
        """Take one decision into the log; ``started`` is what :func:`time.perf_counter` said before it."""
        if self.on_decision is not None:
            self.on_decision(decision)
        micros = int((time.perf_counter() - started) * _MICROS)
        client = str(decision.client) if decision.client is not None else context.peer
        self._audit.record(
            DecisionEvent(
                time.time(), request_id, context.method, context.host, context.target.path, client, decision, micros
            )
        )

    def record_malformed(self, method: str, peer: str, reason: Reason, request_id: str) -> None:
        """Take a request into the log of which neither path nor host are known to mean anything."""
        self._audit.record(DecisionEvent(time.time(), request_id, method, "", "", peer, Deny(reason), 0))
