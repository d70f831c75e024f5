"""aiohttp's server protocol with three things mended.

The rules this file obeys (``threats.md`` rows 20, 36 and 37):

* A request's head has to be there within :data:`HEAD_DEADLINE` seconds *in total*, from the connection's start or
  from its first byte on a kept connection. aiohttp has no such deadline, so a thousand slow clients could hold a
  thousand connections for ever.
* What aiohttp's parser refuses is answered with the gateway's own small problem document. aiohttp's answer repeats
  parts of the request, and a token that was too long would come back in it.
* When the parser refuses the *rest of a body*, the request being handled is told. aiohttp only queues the error
  behind it, and whoever reads the body would wait for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import hdrs, http_exceptions, web
from aiohttp.http_parser import RawRequestMessage

from gateway import reasons
from gateway.http.reply import Replies
from gateway.proxy.own import OwnAnswer
from gateway.reasons import Reason

_log = logging.getLogger(__name__)

HEAD_DEADLINE: Final = 10.0
"""Seconds for a request's head, all of it (threats.md row 36; Apache's RequestReadTimeout is 20 s)."""
KEEP_ALIVE: Final = 75.0
"""Seconds that a kept connection may be idle: nginx's keepalive_timeout."""
LINGER: Final = 5.0
"""Seconds that the rest of a refused body is read and thrown away, so that the refusal arrives (nginx:
lingering_timeout)."""
MAX_REQUEST_LINE: Final = 8_190
"""Bytes; aiohttp's and Apache's limit."""
MAX_FIELD: Final = 32_768
"""Bytes of one field line: a 16 KB token twice over. Differs from :data:`MAX_REQUEST_LINE`, which tells the two
errors apart."""
MAX_FIELDS: Final = 128
"""Field lines of one request; Apache's LimitRequestFields is 100."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
OnRefused = Callable[[web.BaseRequest, Reason], str]
"""Told of a request that never reached the handler and why; gives the request id for the answer."""


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


class ClientProtocol(web.RequestHandler):
    """One client connection."""

    __slots__ = ("_deadline", "_handling", "_head_deadline", "_on_refused", "_replies")

    def __init__(
        self,
        manager: web.Server,
        *,
        replies: Replies,
        on_refused: OnRefused,
        head_deadline: float,
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._replies = replies
        self._on_refused = on_refused
        self._head_deadline = head_deadline
        self._deadline: asyncio.TimerHandle | None = None
        self._handling: web.BaseRequest | None = None

    # ---- the head's deadline ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock for the first head."""
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clock."""
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and watch over what the parser does not tell."""
        if self._deadline is None and self._handling is None and data:
            self._start_deadline()
        super().data_received(data)
        handling = self._handling
        if handling is not None and self._refused_by_parser() and not handling.content.is_eof():
            handling.content.set_exception(ConnectionResetError("the rest of the request's body is malformed"))

    def begin(self, request: web.BaseRequest) -> None:
        """A head is complete and its request is being handled."""
        self._stop_deadline()
        self._handling = request

    def end(self) -> None:
        """The request was answered."""
        self._handling = None

    def _start_deadline(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._head_deadline, self._too_slow)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self.force_close()

    def _refused_by_parser(self) -> bool:
        # The queue is aiohttp's own; should it be gone one day, the body's idle deadline still ends the wait.
        queue: Sequence[Any] = getattr(self, "_messages", ())
        return bool(queue) and not isinstance(queue[-1][0], RawRequestMessage)

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
        if request.writer.output_size > 0:
            raise ConnectionResetError("an answer has begun already")
        if status >= 500:  # noqa: PLR2004 - RFC 9110 section 15.6
            _log.error("a request could not be handled", exc_info=exc)
        reason = reasons.INTERNAL if status >= 500 else parser_reason(exc)  # noqa: PLR2004
        return OwnAnswer(self._replies.failure(reason, self._on_refused(request, reason)), request, close=True)


class ClientServer(web.Server):
    """Makes a :class:`ClientProtocol` for each connection."""

    def __init__(
        self, handler: Handler, *, replies: Replies, on_refused: OnRefused, head_deadline: float = HEAD_DEADLINE
    ) -> None:
        # A client that goes away cancels its handler, which closes the upstream's connection.
        super().__init__(handler, handler_cancellation=True)
        self._replies = replies
        self._on_refused = on_refused
        self._head_deadline = head_deadline

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of one connection."""
        return ClientProtocol(
            self,
            replies=self._replies,
            on_refused=self._on_refused,
            head_deadline=self._head_deadline,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE,
            lingering_time=LINGER,
            max_line_size=MAX_REQUEST_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            auto_decompress=False,  # a body is passed on as it is
            access_log=None,  # the audit sink records decisions
        )
