"""The proxy: listens, asks the guard, and passes on or refuses.

:meth:`ProxyServer.handle` is the whole way of one request. There is no judgement here: everything that decides lies
behind the guard, and a verdict belongs to one request, never to a connection (``threats.md`` row 25).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import ssl
import time
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from gateway.core.client_ip import parse_address
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Challenge, Decision, Deny
from gateway.core.ports import AuditSink, DecisionEvent
from gateway.errors import ConfigError, RequestError, UpstreamError
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints
from gateway.http.intake import has_body, peer_of, read_request, require_strict_parser
from gateway.http.negotiate import PROBLEM, form_of_refusal
from gateway.http.reply import Replies, Reply
from gateway.mutators.headers import upstream_fields
from gateway.policy.routes import Route, Unauthenticated
from gateway.proxy.forward import Exchange, forward
from gateway.proxy.own import OwnAnswer
from gateway.proxy.protocol import HEAD_DEADLINE, ClientProtocol, ClientServer
from gateway.proxy.upstream import Upstream
from gateway.proxy.websocket import tunnel
from gateway.reasons import Reason

_log = logging.getLogger(__name__)

GRACE: Final = 10.0
"""Seconds that requests in flight get when the server closes."""
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
_CUT: Final = 0.05
"""Seconds that aiohttp waits for handlers when it is told to end; to it, 0 means for ever."""
_ID_BYTES: Final = 16
_MICROS: Final = 1_000_000


def new_request_id() -> str:
    """A request id that nobody can guess or repeat: 128 random bits in hexadecimal."""
    return os.urandom(_ID_BYTES).hex()


class ProxyServer:
    """The public listener.

    :param upstreams: backends by the name that routes use.
    :raises ConfigError: aiohttp's strict parser is missing, or a route names no upstream.
    """

    def __init__(
        self,
        guard: SessionGuard,
        upstreams: Mapping[str, Upstream],
        endpoints: Endpoints,
        replies: Replies,
        audit: AuditSink,
        *,
        head_deadline: float = HEAD_DEADLINE,
    ) -> None:
        require_strict_parser()
        _check_upstreams(guard, upstreams)
        self.guard = guard
        self.upstreams = upstreams
        self._endpoints = endpoints
        self._replies = replies
        self._audit = audit
        self._head_deadline = head_deadline
        self._server: ClientServer | None = None
        self._listeners: list[asyncio.Server] = []
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False

    def replace(self, guard: SessionGuard, upstreams: Mapping[str, Upstream]) -> None:
        """Judge by another guard from the next request on; those in flight end with the one that they began with.

        Closing upstreams that are no longer used is the caller's, once their requests have ended.

        :raises ConfigError: a route names no upstream; nothing has changed then.
        """
        _check_upstreams(guard, upstreams)
        self.guard, self.upstreams = guard, upstreams

    # ---- life ----

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Listen, and return the port (useful when ``port`` is 0).

        :raises ConfigError: the address cannot be listened on.
        """
        if self._server is None:
            self._server = ClientServer(
                self.handle, replies=self._replies, on_refused=self._on_refused, head_deadline=self._head_deadline
            )
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
        for upstream in self.upstreams.values():
            await upstream.close()

    # ---- one request ----

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        protocol = request.protocol
        self._active += 1
        self._idle.clear()
        if isinstance(protocol, ClientProtocol):
            protocol.begin(request)
        try:
            response = await self._handle(request)
        finally:
            if isinstance(protocol, ClientProtocol):
                protocol.end()
            self._active -= 1
            if not self._active:
                self._idle.set()
        if self._closing:
            response.force_close()
        return response

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        guard, upstreams = self.guard, self.upstreams
        request_id = self._request_id(request, guard)
        try:
            context = read_request(request)
        except RequestError as error:
            self._record_malformed(request, error.reason, request_id)
            form = form_of_refusal(Headers(request.raw_headers))
            return OwnAnswer(self._replies.failure(error.reason, request_id, form), request, close=True)
        if self._endpoints.own(context.target):
            started = time.perf_counter()
            answer = await self._endpoints.answer(context, guard, request_id)
            if answer.decision is not None:
                self._record(context, answer.decision, request_id, started)
            return _own(answer.reply, request, context)
        started = time.perf_counter()
        decision = await guard.judge(context)
        self._record(context, decision, request_id, started)
        if not isinstance(decision, Allow):
            setting = _setting(guard, decision)
            return _own(self._replies.refuse(decision, context, request_id, setting), request, context)
        route = guard.routes.by_name[decision.route]
        return await self._pass_on(request, context, decision, route, guard, upstreams, request_id)

    async def _pass_on(
        self,
        request: web.BaseRequest,
        context: RequestContext,
        decision: Allow,
        route: Route,
        guard: SessionGuard,
        upstreams: Mapping[str, Upstream],
        request_id: str,
    ) -> web.StreamResponse:
        fields = upstream_fields(context, decision, route, guard.addresses, request_id)
        exchange = Exchange(context, decision, route, request_id, fields)
        upstream = upstreams[route.upstream]
        try:
            if context.websocket:
                return await tunnel(request, exchange, upstream)
            return await forward(request, exchange, upstream)
        except UpstreamError as error:
            _log.error("%s: %s (request %s)", error.reason.id, error, request_id)
            form = PROBLEM if context.websocket else form_of_refusal(context.headers)
            return _own(self._replies.failure(error.reason, request_id, form), request, context)
        except RequestError as error:
            return OwnAnswer(self._replies.failure(error.reason, request_id), request, close=True)

    def _request_id(self, request: web.BaseRequest, guard: SessionGuard) -> str:
        """The request's id: a trusted peer's, when it sent one that is harmless, else a new one."""
        if guard.addresses.trusts(parse_address(peer_of(request))):
            given = Headers(request.raw_headers).one(b"x-request-id")
            if given is not None and _REQUEST_ID.fullmatch(given) is not None:
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


def _check_upstreams(guard: SessionGuard, upstreams: Mapping[str, Upstream]) -> None:
    for route in guard.routes.by_name.values():
        if route.upstream not in upstreams:
            raise ConfigError(
                f"route {route.name}", f"there is no upstream {route.upstream!r}", "name one of [[upstream]]"
            )


def _own(reply: Reply, request: web.BaseRequest, context: RequestContext) -> OwnAnswer:
    """An answer of ours; behind a body that nobody read the connection ends, or it would be the next request."""
    return OwnAnswer(reply, request, close=context.websocket or has_body(context.headers))


def _setting(guard: SessionGuard, decision: Challenge | Deny) -> Unauthenticated:
    route = guard.routes.by_name.get(decision.route) if decision.route is not None else None
    return route.unauthenticated if route is not None else Unauthenticated.AUTO


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
