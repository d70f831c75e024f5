"""aiohttp's server protocol, bounded (:mod:`gateway.proxy.bounded`), with the fast path in front and two things mended.

The rules this file obeys (``threats.md`` rows 20 and 37):

* What aiohttp's parser refuses is answered with the gateway's own small problem document. aiohttp's answer repeats
  parts of the request, and a token that was too long would come back in it.
* When the parser refuses the *rest of a body*, the request being handled is told (:mod:`gateway.proxy.fast_client`).
  aiohttp only queues the error behind it, and whoever reads the body would wait for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import hdrs, http_exceptions, web

from gateway import reasons
from gateway.http.reply import Replies
from gateway.proxy.bounded import Bounds
from gateway.proxy.fast import FastPath, aiohttp_fits
from gateway.proxy.fast_client import LINGER, FastHandler
from gateway.proxy.limits import MAX_FIELD, MAX_FIELDS, MAX_REQUEST_LINE
from gateway.proxy.own import OwnAnswer
from gateway.proxy.proxy_protocol import read_announcement
from gateway.reasons import Reason

_log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
OnRefused = Callable[[web.BaseRequest, Reason], str]
"""Told of a request that never reached the handler and why; gives the request id for the answer."""
Announces = Callable[[str], bool]
"""Whether the socket's peer is a proxy that begins each connection with a PROXY header."""


def parser_reason(error: BaseException | None) -> Reason:
    """Which reason an error of aiohttp's request parser belongs to."""
    if isinstance(error, http_exceptions.LineTooLong):
        limit = error.args[1] if len(error.args) > 1 else None
        return reasons.TARGET_TOO_LONG if limit == MAX_REQUEST_LINE else reasons.HEADERS_TOO_LARGE
    message = error.message if isinstance(error, http_exceptions.HttpProcessingError) else ""
    if message.startswith("Too many headers"):
        return reasons.HEADERS_TOO_LARGE
    if f"'{hdrs.HOST}' header" in message:  # missing, or "Duplicate 'Host' header found."
        return reasons.HOST_INVALID
    return reasons.REQUEST_MALFORMED


class ClientProtocol(FastHandler):
    """One client connection."""

    __slots__ = ("_on_refused", "_replies")

    def __init__(
        self,
        manager: web.Server,
        *,
        replies: Replies,
        on_refused: OnRefused,
        bounds: Bounds,
        fast: FastPath | None = None,
        **options: Any,
    ) -> None:
        super().__init__(manager, bounds=bounds, fast=fast, **options)
        self._replies = replies
        self._on_refused = on_refused

    def speak(self, replies: Replies) -> None:
        """Answer with other words from now on."""
        self._replies = replies

    # ---- answers aiohttp would write ----

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's text quotes the request
    ) -> web.StreamResponse:
        """Answer for what never reached the handler, without a word of the request in it.

        :raises ConnectionError: an answer has begun already; aiohttp then closes the connection.
        """
        self._stop_deadline()
        self.take_handed()
        if request.writer.output_size > 0:
            raise ConnectionResetError("an answer has begun already")
        if status >= 500:  # noqa: PLR2004 - RFC 9110 section 15.6
            _log.error("a request could not be handled", exc_info=exc)
        reason = reasons.INTERNAL if status >= 500 else parser_reason(exc)  # noqa: PLR2004
        return OwnAnswer(self._replies.failure(reason, self._on_refused(request, reason)), request, close=True)


class AnnouncedProtocol(ClientProtocol):
    """One connection of a proxy that tells by a PROXY header whom it is from.

    :param announces: whether the socket's peer may.
    """

    __slots__ = ("_announced", "_announces")

    def __init__(self, manager: web.Server, *, announces: Announces, **options: Any) -> None:
        super().__init__(manager, **options)
        self._announces = announces
        self._announced: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Get in, and expect the PROXY header first."""
        super().connection_made(transport)
        if self._wire is not None:
            self._announced = b""
            peer = transport.get_extra_info("peername")
            if not isinstance(peer, tuple) or not self._announces(str(peer[0])):
                _log.warning("a connection that is not from a trusted proxy was closed: listen.proxy_protocol is on")
                self.force_close()

    def data_received(self, data: bytes) -> None:
        """Take bytes, the PROXY header first."""
        if self._announced is not None:
            data = self._read_announcement(self._announced + data)
            if not data:
                return
        super().data_received(data)

    def _read_announcement(self, data: bytes) -> bytes:
        """Read the PROXY header; what follows it, or nothing while it is incomplete."""
        try:
            announced = read_announcement(data)
        except ValueError as error:
            _log.warning("a trusted proxy's connection was closed: %s", error)
            self.force_close()
            return b""
        if announced is None:
            self._announced = data
            return b""
        self._announced = None
        rest = data[announced.length :]
        if announced.peer is not None and not self.announce(announced.peer, rest):
            return b""
        return rest


class ClientServer(web.Server):
    """Makes a :class:`ClientProtocol` for each connection."""

    def __init__(
        self,
        handler: Handler,
        *,
        replies: Replies,
        on_refused: OnRefused,
        bounds: Bounds,
        announces: Announces | None = None,
        fast: FastPath | None = None,
    ) -> None:
        # A client that goes away cancels its handler, which closes the upstream's connection.
        super().__init__(handler, handler_cancellation=True)
        self._replies = replies
        self._on_refused = on_refused
        self._bounds = bounds
        self._announces = announces
        self._fast = fast
        self._parting = False

    async def try_fast_path(self) -> str:
        """Whether aiohttp's private names mean what the fast path takes them for; empty when they do."""
        return await aiohttp_fits(lambda server: self._make(server, None, None))

    def give_up_fast_path(self) -> None:
        """Let every connection from now on go the ordinary way."""
        self._fast = None

    @property
    def clients(self) -> list[ClientProtocol]:
        """Open connections."""
        return [one for one in self.connections if isinstance(one, ClientProtocol)]

    def part(self) -> None:
        """Say in every answer from now on that it is the connection's last."""
        self._parting = True
        for client in self.clients:
            client.parting = True

    def speak(self, replies: Replies) -> None:
        """Answer with other words from now on, on every connection."""
        self._replies = replies
        for client in self.clients:
            client.speak(replies)

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of one connection."""
        protocol = self._make(self, self._fast, self._announces)
        protocol.parting = self._parting
        return protocol

    def _make(self, manager: web.Server, fast: FastPath | None, announces: Announces | None) -> ClientProtocol:
        make = ClientProtocol if announces is None else partial(AnnouncedProtocol, announces=announces)
        return make(
            manager,
            fast=fast,
            replies=self._replies,
            on_refused=self._on_refused,
            bounds=self._bounds,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._bounds.limits.idle,
            lingering_time=LINGER,
            max_line_size=MAX_REQUEST_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            auto_decompress=False,  # a body is passed on as it is
            access_log=None,  # the audit sink records decisions
        )
