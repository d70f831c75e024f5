"""The proxy: listens, asks the guard, and passes on or refuses.

:meth:`ProxyServer.handle` is the whole way of one request. There is no judgement here: everything that decides lies
behind the guard, and a verdict belongs to one request, never to a connection (``threats.md`` row 25).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from aiohttp import web

from gateway.core.client_ip import parse_address
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Deny
from gateway.core.ports import AuditSink, DecisionEvent
from gateway.errors import ConfigError, RequestError, UpstreamError
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints
from gateway.http.enforce import Answered, Asked, Enforcer, new_request_id, request_id_of
from gateway.http.intake import has_body, peer_of, read_body, read_request, require_strict_parser
from gateway.http.negotiate import PROBLEM, form_of_refusal
from gateway.http.reply import Replies, Reply
from gateway.http.trail import TrailReaders
from gateway.mutators.headers import upstream_fields
from gateway.mutators.identity import IdentityWriter
from gateway.proxy.bounded import Bounds
from gateway.proxy.connection import keep_memory
from gateway.proxy.direct import TICK, Watch
from gateway.proxy.drain import drain
from gateway.proxy.fast import NOTHING_KNOWN, FastPath
from gateway.proxy.fast_questions import FastQuestions
from gateway.proxy.forward import UnderWay, forward
from gateway.proxy.limits import Limits
from gateway.proxy.listener import Listener, bind
from gateway.proxy.live import Kind, LiveSettings
from gateway.proxy.live_connections import LiveConnections
from gateway.proxy.outgoing import Exchange
from gateway.proxy.own import OwnAnswer, own_bytes
from gateway.proxy.protocol import ClientProtocol, ClientServer
from gateway.proxy.replay import ReplayTable
from gateway.proxy.upstream import Upstream
from gateway.proxy.websocket import tunnel
from gateway.reasons import Reason

_log = logging.getLogger(__name__)

GRACE: Final = 10.0
"""Seconds that requests in flight get when the server closes."""
Questions = Callable[[Enforcer], Asked]
"""Makes what answers proxies that only ask."""
_ROUTE: Final = web.RequestKey("gateway.route", str)
_CUT: Final = 0.05
"""Seconds that aiohttp waits for handlers when it is told to end; to it, 0 means for ever."""


class ProxyServer:
    """The public listener.

    :param upstreams: backends by the name that routes use.
    :param readers: whose answers carry the steps of their judgement.
    :param proxy_protocol: connections begin with a PROXY header, and only trusted proxies may connect.
    :param questions: makes what answers proxies that only ask; None where nobody may.
    :param identity: writes what backends are told of who calls.
    :raises ConfigError: aiohttp's strict parser is missing, or a route names no upstream.
    """

    def __init__(  # noqa: PLR0913 - every part is handed in
        self,
        guard: SessionGuard,
        upstreams: Mapping[str, Upstream],
        endpoints: Endpoints,
        replies: Replies,
        audit: AuditSink,
        *,
        readers: TrailReaders | None = None,
        limits: Limits | None = None,
        live: LiveSettings | None = None,
        proxy_protocol: bool = False,
        fast_path: bool = True,
        questions: Questions | None = None,
        identity: IdentityWriter | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        require_strict_parser()
        _check_upstreams(guard, upstreams)
        self.guard = guard
        self.upstreams = upstreams
        self._endpoints = endpoints
        self._replies = replies
        self._audit = audit
        self._readers = readers or TrailReaders()
        self._questions = questions
        self._identity = identity or IdentityWriter()
        self._now = now
        self.bounds = Bounds(
            limits or Limits(), exempt=self._announces, on_dropped=self._on_dropped, answer=self._drop_answer
        )
        self.live = LiveConnections(guard, audit, live, now=now)
        self._enforcer = self._enforce()
        self._proxy_protocol = proxy_protocol
        self._answered: Callable[[str, int], None] = _nobody
        self._server: ClientServer | None = None
        self._listeners: list[Listener] = []
        self._handling = 0
        self._closing = False
        self._hurry = asyncio.Event()
        self._tls = False
        self.fast: FastPath | None = None
        if fast_path:
            self._watch = Watch(_tick(upstreams))
            self.live.exchanges = self._watch.exchanges
            self._watch.looked = self.live.adopt
            self.fast = FastPath(
                ReplayTable(guard, upstreams, endpoints, self._readers, self._identity),
                self._watch,
                audit,
                replies,
                answered=self._answered,
                saw=self.live.saw,
                most=self.bounds.limits.body,
                now=now,
            )
            self.fast.questions = self._fast_questions()

    def replace(
        self,
        guard: SessionGuard,
        upstreams: Mapping[str, Upstream],
        *,
        endpoints: Endpoints | None = None,
        replies: Replies | None = None,
        readers: TrailReaders | None = None,
        questions: Questions | None = None,
        identity: IdentityWriter | None = None,
    ) -> None:
        """Judge by another guard from the next request on; those in flight end with the one that they began with.

        Closing upstreams that are no longer used is the caller's; requests in flight still end on them.

        :raises ConfigError: a route names no upstream; nothing has changed then.
        """
        _check_upstreams(guard, upstreams)
        self.guard, self.upstreams = guard, upstreams
        self._endpoints = endpoints or self._endpoints
        self._readers = readers or self._readers
        self._questions = questions or self._questions
        self._identity = identity or self._identity
        if replies is not None:
            self._replies = replies
            if self.fast is not None:
                self.fast.replies = replies
            if self._server is not None:
                self._server.speak(replies)
        self._enforcer = self._enforce()
        self.live.judged_by(guard)
        if self._listeners:
            self._start_upstreams()
        if self.fast is not None:
            self.fast.table = ReplayTable(guard, upstreams, self._endpoints, self._readers, self._identity)
            self.fast.questions = self._fast_questions()

    def _enforce(self) -> Enforcer:
        enforcer = Enforcer(self._endpoints, self._replies, self._audit, self._readers)
        enforcer.on_decision = self.live.saw
        if self._questions is not None:
            enforcer.forward_auth = self._questions(enforcer)
        return enforcer

    def _fast_questions(self) -> FastQuestions | None:
        asked = self._enforcer.forward_auth
        if self.fast is None or asked is None or not asked.terms:
            return None
        return FastQuestions(
            asked.terms,
            self.fast.table,
            self._audit,
            private=self._endpoints.private_cookies,
            answered=self._answered,
            saw=self.live.saw,
            now=self._now,
        )

    # ---- life ----

    async def start(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        sockets: Sequence[socket.socket] | None = None,
    ) -> int:
        """Listen, and return the port (useful when ``port`` is 0).

        :param sockets: bound ones to listen on, instead of the address.
        :raises ConfigError: the address cannot be listened on.
        """
        if self._server is None:
            keep_memory()
            self._server = ClientServer(
                self.handle,
                replies=self._replies,
                on_refused=self._on_refused,
                bounds=self.bounds,
                announces=self._announces if self._proxy_protocol else None,
                fast=self.fast,
            )
            self.bounds.admission.watch(asyncio.get_running_loop())
            if self.fast is not None and (misfit := await self._server.try_fast_path()):
                _log.warning("the fast path is off, because this aiohttp is not the one it knows: %s", misfit)
                self._server.give_up_fast_path()
                self.fast = None
        self._tls = tls is not None
        listeners = [Listener(sock, self._server, tls=tls) for sock in sockets or bind(host, port)]
        self._listeners += listeners
        for listener in listeners:
            await listener.start()
        self._start_upstreams()
        return listeners[0].port

    async def close(self, grace: float = GRACE) -> None:
        """Stop listening, let requests in flight finish for up to ``grace`` seconds, end what is left."""
        self._closing = True
        if self.fast is not None:
            self.fast.stop()
        if self._server is not None:
            self._server.part()
        for listener in self._listeners:
            await listener.stop()
        self.live.go_away()
        if self._server is not None:
            if not await drain(self._server, grace, self._hurry, handshakes=self._tls):
                _log.warning("%d requests were cut off after a grace of %g s", self.active, grace)
            for listener in self._listeners:
                await listener.give_up()
            await self._server.shutdown(_CUT)
        self.bounds.close()
        await self.live.close()
        if self.fast is not None:
            self._watch.close()
        for upstream in self.upstreams.values():
            await upstream.close()

    def hurry(self) -> None:
        """Cut off what :meth:`close` still waits for."""
        self._hurry.set()

    def _start_upstreams(self) -> None:
        for upstream in self.upstreams.values():
            upstream.start()

    def on_answer(self, told: Callable[[str, int], None]) -> None:
        """Tell the route's name, empty where none matched, and the status of each answer. ``told`` returns at once."""
        self._answered = told
        if self.fast is not None:
            self.fast.answered = told
            self.fast.questions = self._fast_questions()

    @property
    def active(self) -> int:
        """Requests in flight."""
        return self._handling + (self.fast.active if self.fast is not None else 0)

    # ---- one request ----

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        protocol = request.protocol
        self._handling += 1
        if isinstance(protocol, ClientProtocol):
            protocol.begin(request)
        try:
            response = await self._handle(request)
        finally:
            if isinstance(protocol, ClientProtocol):
                protocol.end()
            self._handling -= 1
        self._answered(request.get(_ROUTE, ""), response.status)
        if self._closing:
            response.force_close()
        return response

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        guard, upstreams, endpoints, replies = self.guard, self.upstreams, self._endpoints, self._replies
        enforcer = self._enforcer
        handed = request.protocol.take_handed() if isinstance(request.protocol, ClientProtocol) else NOTHING_KNOWN
        repeated = handed.request_id
        request_id = repeated or request_id_of(peer_of(request), Headers(request.raw_headers), guard.addresses)
        try:
            context = read_request(request, self.bounds.limits.body)
        except RequestError as error:
            self._record_malformed(request, error.reason, request_id)
            form = form_of_refusal(Headers(request.raw_headers))
            return OwnAnswer(replies.failure(error.reason, request_id, form), request, close=True)
        context, renewed = await endpoints.freshen(context, guard)
        known = (handed.decision, handed.started) if handed.decision is not None and handed.guard is guard else None
        if endpoints.own(context.target):
            read = partial(read_body, request)
            own = await enforcer.answer_own(context, guard, request_id, read, renewed, known=known)
            request[_ROUTE] = own.route
            return _own(own.reply, request, context)
        found = await enforcer.judge(
            context,
            guard,
            request_id,
            renewed=renewed,
            known=known,
            again=repeated is not None,
        )
        if isinstance(found, Answered):
            request[_ROUTE] = found.route
            return _own(found.reply, request, context)
        decision, route = found.decision, found.route
        request[_ROUTE] = route.name
        private = endpoints.private_cookies
        told, _ = self._identity.write(decision.session, route, self._now())
        fields = upstream_fields(context, decision, route, guard.addresses, request_id, told, cookies=private)
        answer_fields = [(name.encode("ascii"), value.encode("ascii")) for name, value in found.fields]
        going = UnderWay(request, context)
        kind: Kind = "websocket" if context.websocket else "transfer"
        live = self.live.begin(kind, decision, guard, request_id, going.context, going.end)
        again = repeated is not None
        exchange = Exchange(context, decision, route, request_id, fields, answer_fields, again=again, live=live)
        try:
            return await self._pass_on(request, exchange, upstreams[route.upstream], replies)
        finally:
            self.live.finish(live)

    async def _pass_on(
        self, request: web.BaseRequest, exchange: Exchange, upstream: Upstream, replies: Replies
    ) -> web.StreamResponse:
        context, request_id = exchange.context, exchange.request_id
        try:
            if context.websocket:
                return await tunnel(request, exchange, upstream, self.live.settings.max_message)
            return await forward(request, exchange, upstream)
        except UpstreamError as error:
            _log.error("%s: %s (request %s)", error.reason.id, error, request_id)
            form = PROBLEM if context.websocket else form_of_refusal(context.headers)
            added = [(name.decode("ascii"), value.decode("ascii")) for name, value in exchange.answer_fields]
            return _own(replies.failure(error.reason, request_id, form).beside(added), request, context)
        except RequestError as error:
            return OwnAnswer(replies.failure(error.reason, request_id), request, close=True)

    def _announces(self, peer: str) -> bool:
        return self.guard.addresses.trusts(parse_address(peer))

    # ---- audit ----

    def _on_refused(self, request: web.BaseRequest, reason: Reason) -> str:
        request_id = new_request_id()
        self._record_malformed(request, reason, request_id)
        return request_id

    def _on_dropped(self, reason: Reason, peer: str) -> str:
        request_id = new_request_id()
        self._audit.record(DecisionEvent(time.time(), request_id, "", "", "", peer, Deny(reason), 0))
        return request_id

    def _drop_answer(self, reason: Reason, request_id: str) -> bytes:
        return own_bytes(self._replies.failure(reason, request_id), keep_alive=False, old=False, head_only=False)

    def _record_malformed(self, request: web.BaseRequest, reason: Reason, request_id: str) -> None:
        # Neither path nor host are known to mean anything, so neither is recorded.
        event = DecisionEvent(time.time(), request_id, request.method, "", "", peer_of(request), Deny(reason), 0)
        self._audit.record(event)


def _nobody(_route: str, _status: int) -> None:
    """Nobody counts."""


def _tick(upstreams: Mapping[str, Upstream]) -> float:
    shortest = min(
        (min(upstream.timeouts.first_byte, upstream.timeouts.idle) for upstream in upstreams.values()), default=TICK
    )
    return min(TICK, shortest / 4)


def _check_upstreams(guard: SessionGuard, upstreams: Mapping[str, Upstream]) -> None:
    for route in guard.routes.by_name.values():
        if route.upstream not in upstreams:
            raise ConfigError(
                f"route {route.name}", f"there is no upstream {route.upstream!r}", "name one of [[upstream]]"
            )


def _own(reply: Reply, request: web.BaseRequest, context: RequestContext) -> OwnAnswer:
    """An answer of ours; behind a body that nobody read the connection ends, or it would be the next request."""
    unread = has_body(context.headers) and not request.content.at_eof()
    return OwnAnswer(reply, request, close=context.websocket or unread)
