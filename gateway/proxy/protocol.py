"""aiohttp's server protocol with three things mended and one added.

The rules this file obeys (``threats.md`` rows 20, 36 and 37):

* A request's head has to be there within :data:`HEAD_DEADLINE` seconds *in total*, from the connection's start or
  from its first byte on a kept connection. aiohttp has no such deadline, so a thousand slow clients could hold a
  thousand connections for ever.
* What aiohttp's parser refuses is answered with the gateway's own small problem document. aiohttp's answer repeats
  parts of the request, and a token that was too long would come back in it.
* Between two requests, a plain one whose decision can be given again is passed on at once (:mod:`gateway.proxy.fast`);
  the parser never sees it. Everything else the parser sees as it came.
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
from gateway.errors import UpstreamError
from gateway.http.reply import Replies
from gateway.proxy.boundary import Boundary
from gateway.proxy.fast import FastPath, Passage, aiohttp_fits
from gateway.proxy.own import OwnAnswer
from gateway.proxy.plain import may_become_plain
from gateway.proxy.proxy_protocol import read_announcement
from gateway.proxy.replay import Peer, ReplayTable
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
MAX_WAITING: Final = 65_536
"""Bytes that wait behind a request on the fast path before the client's socket is left alone."""

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


class ClientProtocol(web.RequestHandler):
    """One client connection. Implements :class:`gateway.proxy.direct.Client`."""

    __slots__ = (
        "_announced",
        "_announces",
        "_boundary",
        "_deadline",
        "_fast",
        "_handling",
        "_head_deadline",
        "_on_refused",
        "_passage",
        "_peer",
        "_repeated",
        "_replies",
        "_table",
        "_waiting",
        "announced_peer",
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        replies: Replies,
        on_refused: OnRefused,
        head_deadline: float,
        announces: Announces | None = None,
        fast: FastPath | None = None,
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self.announced_peer: str | None = None
        self._announces = announces
        self._announced: bytes | None = None
        self._replies = replies
        self._on_refused = on_refused
        self._head_deadline = head_deadline
        self._deadline: asyncio.TimerHandle | None = None
        self._handling: web.BaseRequest | None = None
        self._fast = fast
        self._boundary = Boundary()
        self._waiting = b""
        """Bytes that came behind a request on the fast path, or a head of which more must come."""
        self._passage: Passage | None = None
        self._repeated: str | None = None
        self._table: ReplayTable | None = None
        self._peer = Peer("", "http", trusted=False)

    # ---- the head's deadline ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock for the first head."""
        super().connection_made(transport)
        self._start_deadline()
        if self._announces is not None:
            self._announced = b""
            peer = transport.get_extra_info("peername")
            if not isinstance(peer, tuple) or not self._announces(str(peer[0])):
                _log.warning("a connection that is not from a trusted proxy was closed: listen.proxy_protocol is on")
                self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clock, and whatever goes on for this client."""
        self._stop_deadline()
        passage = self._passage
        if passage is not None and self._fast is not None:
            self._passage = None
            passage.exchange.client_gone()
            self._fast.leave()
        self.take_repeated()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass a plain request on, or parse."""
        if self._announced is not None:
            data = self._read_announcement(self._announced + data)
            if not data:
                return
        fast = self._fast
        if fast is not None and data:
            if self._waiting:
                data = self._waiting + data
                self._waiting = b""
            if self._passage is not None:
                self._wait(data)
                return
            if self._boundary.clear and self.resting:
                if self._replay(fast, data):
                    return
                if may_become_plain(data):
                    if self._deadline is None:
                        self._start_deadline()
                    self._waiting = data
                    return
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        """Let aiohttp read, and watch over what it does not tell."""
        if self._deadline is None and self._handling is None and data:
            self._start_deadline()
        self._boundary.fed(data)
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
        self.announced_peer = announced.peer
        return data[announced.length :]

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

    # ---- the fast path ----

    @property
    def resting(self) -> bool:
        """Whether aiohttp waits for the next request, has none queued, and what it wrote has left."""
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and not self._messages
            and not self._message_tail
            and not self._upgraded
            and self._payload_parser is None
            and not self._paused
            and not self._reading_paused
            and not self._close
            and not self._force_close
            and self._keepalive
            and self.transport is not None
        )

    def take_repeated(self) -> str | None:
        """The id of a request that the fast path recorded and gave back, once: from now on somebody else counts it."""
        repeated, self._repeated = self._repeated, None
        if repeated is not None and self._fast is not None:
            self._fast.leave()
        return repeated

    def _replay(self, fast: FastPath, data: bytes) -> bool:
        table = fast.table
        if self._table is not table:
            # A connection remembers nothing across a change of configuration.
            self._table, self._peer = table, table.peer(*self._whereabouts())
        passage = fast.begin(self, self._peer, data)
        if passage is None:
            return False
        self._passage = passage
        if self._deadline is not None:
            self._stop_deadline()
        return True

    def _whereabouts(self) -> tuple[str, str]:
        transport = self.transport
        assert transport is not None
        peer = transport.get_extra_info("peername")
        scheme = "https" if transport.get_extra_info("sslcontext") is not None else "http"
        return (str(peer[0]) if isinstance(peer, tuple) and peer else ""), scheme

    def _wait(self, data: bytes) -> None:
        self._waiting = data
        if len(data) > MAX_WAITING and self.transport is not None:
            self._pause_transport_reading()

    def answer(self, data: bytes) -> None:
        """Write to the client."""
        if self.transport is not None:
            self.transport.write(data)

    def answered(self) -> None:
        """The answer is complete; the next request may come."""
        passage = self._passage
        if passage is not None and self._fast is not None:
            self._fast.answered(passage.route, passage.exchange.status)
        closing = self._leave()
        self.still_here()
        if closing:
            self.force_close()
        waiting = self._waiting
        if waiting:
            self._waiting = b""
            self._resume_transport_reading()
            self.data_received(waiting)

    def broken_off(self) -> None:
        """The answer is incomplete, and the client must see that."""
        self._leave()
        if self.transport is not None:
            self.transport.abort()

    def given_back(self) -> None:
        """Nothing was written: the request goes the ordinary way, under the id that it was recorded with."""
        passage = self._passage
        assert passage is not None
        # It stays in flight: a server that closes must not see a moment without requests and cut this one off.
        self._passage = None
        self._repeated = passage.request_id
        waiting, self._waiting = self._waiting, b""
        if waiting:
            self._resume_transport_reading()
        self._parse(passage.original + waiting)

    def failed(self, error: UpstreamError) -> None:
        """Nothing was written: tell the client why."""
        passage = self._passage
        assert passage is not None
        assert self._fast is not None
        self.answer(self._fast.failure(passage, error))
        self.answered()

    def still_here(self) -> None:
        """Begin the time anew that the connection may be idle."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout

    def _leave(self) -> bool:
        self._passage = None
        assert self._fast is not None
        return self._fast.leave()

    def pause_writing(self) -> None:
        """The client takes no more for now."""
        super().pause_writing()
        if self._passage is not None:
            self._passage.exchange.client_slow(slow=True)

    def resume_writing(self) -> None:
        """The client takes more again."""
        super().resume_writing()
        if self._passage is not None:
            self._passage.exchange.client_slow(slow=False)

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
        self,
        handler: Handler,
        *,
        replies: Replies,
        on_refused: OnRefused,
        head_deadline: float = HEAD_DEADLINE,
        announces: Announces | None = None,
        fast: FastPath | None = None,
    ) -> None:
        # A client that goes away cancels its handler, which closes the upstream's connection.
        super().__init__(handler, handler_cancellation=True)
        self._replies = replies
        self._on_refused = on_refused
        self._head_deadline = head_deadline
        self._announces = announces
        self._fast = fast

    async def try_fast_path(self) -> str:
        """Whether aiohttp's private names mean what the fast path takes them for; empty when they do."""
        return await aiohttp_fits(lambda server: self._make(server, None))

    def give_up_fast_path(self) -> None:
        """Let every connection from now on go the ordinary way."""
        self._fast = None

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of one connection."""
        return self._make(self, self._fast)

    def _make(self, manager: web.Server, fast: FastPath | None) -> ClientProtocol:
        return ClientProtocol(
            manager,
            fast=fast,
            replies=self._replies,
            on_refused=self._on_refused,
            head_deadline=self._head_deadline,
            announces=self._announces,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE,
            lingering_time=LINGER,
            max_line_size=MAX_REQUEST_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            auto_decompress=False,  # a body is passed on as it is
            access_log=None,  # the audit sink records decisions
        )
