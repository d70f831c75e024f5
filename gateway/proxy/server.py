"""The proxy: listens, asks the guard, and passes on or refuses.

:meth:`ProxyServer.handle` is the whole way of one request. There is no judgement here: everything that decides lies
behind the guard, and a verdict belongs to one request, never to a connection (``threats.md`` row 25).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from aiohttp import web

from gateway.core.client_ip import parse_address
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Decision, Deny, Preflight
from gateway.core.ports import AuditSink, DecisionEvent
from gateway.errors import ConfigError, RequestError, UpstreamError
from gateway.guard import SessionGuard
from gateway.http import cors
from gateway.http.endpoints import Endpoints
from gateway.http.intake import has_body, peer_of, read_body, read_request, require_strict_parser
from gateway.http.negotiate import PROBLEM, form_of_refusal
from gateway.http.reply import Replies, Reply
from gateway.http.trail import TrailReaders, trail_fields
from gateway.mutators.headers import upstream_fields
from gateway.policy.routes import Unauthenticated
from gateway.proxy.direct import TICK, Watch
from gateway.proxy.fast import REQUEST_ID, FastPath, new_request_id
from gateway.proxy.forward import Exchange, forward
from gateway.proxy.own import OwnAnswer
from gateway.proxy.protocol import HEAD_DEADLINE, ClientProtocol, ClientServer
from gateway.proxy.replay import ReplayTable
from gateway.proxy.upstream import Upstream
from gateway.proxy.websocket import tunnel
from gateway.reasons import Reason

_log = logging.getLogger(__name__)

GRACE: Final = 10.0
"""Seconds that requests in flight get when the server closes."""
OWN_ROUTE: Final = "gateway"
"""What the gateway's own pages and files are counted under."""
_ROUTE: Final = web.RequestKey("gateway.route", str)
_CUT: Final = 0.05
"""Seconds that aiohttp waits for handlers when it is told to end; to it, 0 means for ever."""
_MICROS: Final = 1_000_000


class ProxyServer:
    """The public listener.

    :param upstreams: backends by the name that routes use.
    :param readers: whose answers carry the steps of their judgement.
    :param proxy_protocol: connections begin with a PROXY header, and only trusted proxies may connect.
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
        head_deadline: float = HEAD_DEADLINE,
        proxy_protocol: bool = False,
        fast_path: bool = True,
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
        self._head_deadline = head_deadline
        self._proxy_protocol = proxy_protocol
        self.on_answer: Callable[[str, int], None] | None = None
        """Told the route's name, empty where none matched, and the status of each answer; returns at once."""
        self._server: ClientServer | None = None
        self._listeners: list[asyncio.Server] = []
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self.fast: FastPath | None = None
        # Behind a PROXY header a connection is not from where its socket says, which the replay table compares.
        if fast_path and not proxy_protocol:
            self._watch = Watch(_tick(upstreams))
            self.fast = FastPath(
                ReplayTable(guard, upstreams, endpoints),
                self._watch,
                audit,
                replies,
                enter=self._enter,
                leave=self._leave,
                answered=self._answered,
                now=now,
            )

    def replace(self, guard: SessionGuard, upstreams: Mapping[str, Upstream]) -> None:
        """Judge by another guard from the next request on; those in flight end with the one that they began with.

        Closing upstreams that are no longer used is the caller's, once their requests have ended.

        :raises ConfigError: a route names no upstream; nothing has changed then.
        """
        _check_upstreams(guard, upstreams)
        self.guard, self.upstreams = guard, upstreams
        if self.fast is not None:
            self.fast.table = ReplayTable(guard, upstreams, self._endpoints)

    # ---- life ----

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Listen, and return the port (useful when ``port`` is 0).

        :raises ConfigError: the address cannot be listened on.
        """
        if self._server is None:
            self._server = ClientServer(
                self.handle,
                replies=self._replies,
                on_refused=self._on_refused,
                head_deadline=self._head_deadline,
                announces=self._announces if self._proxy_protocol else None,
                fast=self.fast,
            )
            if self.fast is not None and (misfit := await self._server.try_fast_path()):
                _log.warning("the fast path is off, because this aiohttp is not the one it knows: %s", misfit)
                self._server.give_up_fast_path()
                self.fast = None
        try:
            listener = await asyncio.get_running_loop().create_server(self._server, host, port, ssl=tls)
        except OSError as error:
            raise _listen_error(host, port, error) from error
        self._listeners.append(listener)
        return int(listener.sockets[0].getsockname()[1])

    async def close(self, grace: float = GRACE) -> None:
        """Stop listening, let requests in flight finish for up to ``grace`` seconds, end what is left."""
        self._closing = True
        for listener in self._listeners:
            listener.close()
        if self._active:
            try:
                async with asyncio.timeout(grace):
                    await self._idle.wait()
            except TimeoutError:
                _log.warning("%d requests were cut off after a grace of %g s", self._active, grace)
        if self._server is not None:
            await self._server.shutdown(_CUT)
        if self.fast is not None:
            self._watch.close()
        for upstream in self.upstreams.values():
            await upstream.close()

    def _enter(self) -> None:
        """A request is in flight."""
        self._active += 1
        self._idle.clear()

    def _leave(self) -> bool:
        """It has ended. Whether its connection has to end with it."""
        self._active -= 1
        if not self._active:
            self._idle.set()
        return self._closing

    # ---- one request ----

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        protocol = request.protocol
        self._enter()
        if isinstance(protocol, ClientProtocol):
            protocol.begin(request)
        try:
            response = await self._handle(request)
        finally:
            if isinstance(protocol, ClientProtocol):
                protocol.end()
            self._leave()
        self._answered(request.get(_ROUTE, ""), response.status)
        if self._closing:
            response.force_close()
        return response

    def _answered(self, route: str, status: int) -> None:
        if self.on_answer is not None:
            self.on_answer(route, status)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        guard, upstreams = self.guard, self.upstreams
        repeated = request.protocol.take_repeated() if isinstance(request.protocol, ClientProtocol) else None
        request_id = repeated or self._request_id(request, guard)
        try:
            context = read_request(request)
        except RequestError as error:
            self._record_malformed(request, error.reason, request_id)
            form = form_of_refusal(Headers(request.raw_headers))
            return OwnAnswer(self._replies.failure(error.reason, request_id, form), request, close=True)
        context, renewed = await self._endpoints.freshen(context, guard)
        if self._endpoints.own(context.target):
            started = time.perf_counter()
            answer = await self._endpoints.answer(context, guard, request_id, partial(read_body, request))
            request[_ROUTE] = (answer.decision.route if answer.decision is not None else None) or OWN_ROUTE
            if answer.decision is not None:
                self._record(context, answer.decision, request_id, started)
            return _own(answer.reply.beside(renewed), request, context)
        trail = self._readers.trail_for(context, guard.addresses)
        started = time.perf_counter()
        decision = await guard.judge(context, trail)
        request[_ROUTE] = decision.route or ""
        if repeated is None or not isinstance(decision, Allow):
            self._record(context, decision, request_id, started)
        route = guard.routes.by_name[decision.route] if decision.route is not None else None
        lists = route.cors if route is not None else None
        added = (*renewed, *cors.answer_fields(lists, context.headers), *trail_fields(trail))
        if isinstance(decision, Preflight):
            assert lists is not None
            return _own(cors.preflight(lists, request_id).beside(added), request, context)
        if not isinstance(decision, Allow):
            setting = route.unauthenticated if route is not None else Unauthenticated.AUTO
            refusal = self._replies.refuse(decision, context, request_id, setting)
            return _own(refusal.beside(added), request, context)
        assert route is not None
        if self.fast is not None and self.fast.table.guard is guard and trail is None and not added:
            self.fast.table.learn(context, decision, route)
        cookies = self._endpoints.private_cookies
        fields = upstream_fields(context, decision, route, guard.addresses, request_id, cookies=cookies)
        answer_fields = [(name.encode("ascii"), value.encode("ascii")) for name, value in added]
        exchange = Exchange(context, decision, route, request_id, fields, answer_fields)
        return await self._pass_on(request, exchange, upstreams[route.upstream])

    async def _pass_on(self, request: web.BaseRequest, exchange: Exchange, upstream: Upstream) -> web.StreamResponse:
        context, request_id = exchange.context, exchange.request_id
        try:
            if context.websocket:
                return await tunnel(request, exchange, upstream)
            return await forward(request, exchange, upstream)
        except UpstreamError as error:
            _log.error("%s: %s (request %s)", error.reason.id, error, request_id)
            form = PROBLEM if context.websocket else form_of_refusal(context.headers)
            added = [(name.decode("ascii"), value.decode("ascii")) for name, value in exchange.answer_fields]
            return _own(self._replies.failure(error.reason, request_id, form).beside(added), request, context)
        except RequestError as error:
            return OwnAnswer(self._replies.failure(error.reason, request_id), request, close=True)

    def _announces(self, peer: str) -> bool:
        return self.guard.addresses.trusts(parse_address(peer))

    def _request_id(self, request: web.BaseRequest, guard: SessionGuard) -> str:
        """The request's id: a trusted peer's, when it sent one that is harmless, else a new one."""
        if guard.addresses.trusts(parse_address(peer_of(request))):
            given = Headers(request.raw_headers).one(b"x-request-id")
            if given is not None and REQUEST_ID.fullmatch(given) is not None:
                return given
        return new_request_id()

    # ---- audit ----

    def _record(self, context: RequestContext, decision: Decision, request_id: str, started: float) -> None:
        micros = int((time.perf_counter() - started) * _MICROS)
        client = str(decision.client) if decision.client is not None else context.peer
        self._audit.record(
            DecisionEvent(
                time.time(), request_id, context.method, context.host, context.target.path, client, decision, micros
            )
        )

    def _on_refused(self, request: web.BaseRequest, reason: Reason) -> str:
        request_id = new_request_id()
        self._record_malformed(request, reason, request_id)
        return request_id

    def _record_malformed(self, request: web.BaseRequest, reason: Reason, request_id: str) -> None:
        # Neither path nor host are known to mean anything, so neither is recorded.
        event = DecisionEvent(time.time(), request_id, request.method, "", "", peer_of(request), Deny(reason), 0)
        self._audit.record(event)


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


def _listen_error(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            "listen.public",
            f"port {port} is already in use",
            "stop the other program or choose another port with --port",
        )
    if error.errno == errno.EACCES:
        return ConfigError(
            "listen.public", f"port {port} needs more rights than this process has", "use a port above 1023"
        )
    return ConfigError("listen.public", f"{host} port {port}: {error.strerror or error}", "check the address")
