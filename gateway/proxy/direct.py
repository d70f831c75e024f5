"""One replayed request to the backend and its answer back, driven by the sockets alone: no task, no request object.

The rules this file obeys are those of :mod:`gateway.proxy.forward` (``threats.md`` rows 22, 24, 25, 42 and 43), and so
are the bytes on both sides. What it does not do itself it gives back before a byte was written to the client: a request
that may be repeated, and whose reused connection died before the first byte of an answer, goes the ordinary way once
more.

A body goes up as it comes, and no faster than the backend takes it. A client that goes away or falls silent within it
takes the backend's connection with it, so that half an upload never looks whole. An answer may come before the body's
end; what is left of the body is then the client connection's to read and throw away.

Deadlines are watched by one timer for all exchanges, so they are kept to within :data:`TICK` seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from gateway import reasons
from gateway.core.context import RequestContext
from gateway.core.decision import Allow
from gateway.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from gateway.mutators.headers import HOP_BY_HOP, fold
from gateway.policy.routes import Route
from gateway.proxy.answer import MAX_HEAD_SIZE, AnswerHead, ChunkedBody, RawFields, head_end
from gateway.proxy.connection import MAX_INTERIM, UpstreamConnection
from gateway.proxy.forward import RELAYED_INTERIM, head_bytes
from gateway.proxy.plain_answer import RewrittenHead, rewrite
from gateway.proxy.upstream import Upstream
from gateway.reasons import Reason

TICK: Final = 0.5
"""Seconds between two looks at the deadlines; a quarter of the shortest deadline where that is less."""

_LARGE: Final = 8_192
"""Bytes from which on a copy costs more than a view."""
_HEAD_END: Final = b"\r\n\r\n"
_HEAD_END_SIZE: Final = len(_HEAD_END)
_SWITCHING: Final = 101
_BODYLESS: Final = frozenset({204, 304})


class Client(Protocol):
    """The client's connection, as an exchange sees it. ``parting``: it is to end soon."""

    parting: bool

    def answer(self, data: bytes | memoryview) -> None:
        """Write to the client."""

    def answered(self) -> None:
        """The answer is complete; the next request may come."""

    def broken_off(self) -> None:
        """The answer is incomplete, and the client must see that."""

    def given_back(self) -> None:
        """Nothing was written: the request goes the ordinary way."""

    def failed(self, error: UpstreamError) -> None:
        """Nothing was written: the client can be told why."""

    def still_here(self) -> None:
        """The exchange goes on, so the connection is not idle."""

    def hold(self, *, held: bool) -> None:
        """The backend takes no more of the body for now, or takes more again."""

    def body_stopped(self, reason: Reason) -> None:
        """Nothing was written, and the request's body does not come: the client can be told so."""

    def last_answer(self) -> bool:
        """Whether the answer that begins is to say that it is the connection's last; it then has to be."""

    def asked(self) -> RequestContext:
        """The request under way, for whoever judges it again."""


class Watch:
    """Exchanges under way and their deadlines.

    :param tick: seconds between two looks.
    """

    def __init__(self, tick: float = TICK) -> None:
        self.exchanges: set[DirectExchange] = set()
        self.looked: Callable[[], None] | None = None
        """Told after each look."""
        self._tick = tick
        self._timer: asyncio.TimerHandle | None = None

    def add(self, exchange: DirectExchange) -> None:
        """Watch over ``exchange``."""
        self.exchanges.add(exchange)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick, self._look)

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = monotonic()
        for exchange in list(self.exchanges):
            exchange.look(now)
        if self.looked is not None:
            self.looked()
        if self.exchanges:
            self._timer = loop.call_later(self._tick, self._look)


class DirectExchange:
    """One request and its answer. Implements :class:`gateway.proxy.connection.Receiver`."""

    # What most exchanges begin with is held by the class, which costs a request nothing.
    status = 0
    """The answer's, once its head is here."""
    owed = 0
    """Bytes of the request's body that the client has still to send."""
    received = 0
    """Bytes of it that came."""
    held = False
    """Whether the backend takes no more of it for now."""
    _buffer = b""
    """A head that has not arrived as a whole."""
    _head: RewrittenHead | None = None
    """The answer's, once it is here."""
    _answering = False
    """Whether the answer's head was written to the client."""
    _interim = 0
    _left: int | None = None
    """Bytes of the body still to come; None for a body that its coding or the connection's end delimits."""
    _chunked = False
    _decoder: ChunkedBody | None = None
    _deadline = 0.0
    _over = False

    def __init__(  # noqa: PLR0913 - all that is known of the request
        self,
        client: Client,
        upstream: Upstream,
        connection: UpstreamConnection,
        watch: Watch,
        original: bytes,
        decision: Allow,
        route: Route,
        request_id: str,
        *,
        head_only: bool,
        repeatable: bool = True,
    ) -> None:
        self.original = original
        """The request's head as the client sent it, and what of the body came with it."""
        self.decision = decision
        """What let the request pass."""
        self.route = route
        self.request_id = request_id
        self._client = client
        self._upstream = upstream
        self._connection = connection
        self._watch = watch
        self._head_only = head_only
        self._repeatable = repeatable

    @property
    def receiving(self) -> bool:
        """Whether bytes from the client belong to this request."""
        return self.owed > 0

    def start(self, head: bytes, body: bytes | memoryview = b"", owed: int = 0) -> None:
        """Send the request.

        :param head: as the backend is to get it.
        :param body: what of the body is here already; ``owed`` bytes of it are still to come.
        :raises ConnectionResetError: the connection is gone; nothing has happened.
        """
        connection = self._connection
        connection.write(head + body if body else head)
        connection.requests += 1
        connection.receiver = self
        timeouts = self._upstream.timeouts
        if body or owed:
            self.owed, self.received = owed, len(body)
        self._deadline = monotonic() + (timeouts.idle if owed else timeouts.first_byte)
        self._watch.add(self)

    # ---- from the upstream ----

    def upstream_data(self, data: bytes) -> None:
        """Take bytes of the answer and pass them on."""
        try:
            if self._answering:
                self._deadline = monotonic() + self._upstream.timeouts.idle
                self._body(data, b"")
            else:
                self._heads(self._buffer + data if self._buffer else data)
        except UpstreamError as error:
            self._fail(error)

    def upstream_ended(self, error: Exception | None) -> None:
        """The upstream closed its side, or the connection broke."""
        if self._over:
            return
        if self._answering:
            if error is None and self._left is None and self._decoder is None:
                # The end of the connection is the end of this body.
                self._finish(b"0\r\n\r\n", reusable=False)
            else:
                self._fail(UpstreamProtocolError("the answer broke off"))
        elif self._buffer:
            self._fail(UpstreamProtocolError("the answer ended within its head"))
        elif self._repeatable and not self._connection.answered:
            # A reused connection (there are no others here) that died before the upstream can have seen the request.
            self._end(reusable=False)
            self._client.given_back()
        else:
            self._fail(UpstreamUnreachable(f"upstream {self._upstream.name}: the connection broke"))

    def _heads(self, data: bytes) -> None:
        """Heads from the start of ``data``: interim ones, then the final one and what of its body is there.

        :raises UpstreamProtocolError: one may not be passed on.
        """
        while True:
            end = data.find(_HEAD_END, 0, MAX_HEAD_SIZE)
            if end < 0:
                head_end(data)  # refuses what cannot become one
                self._buffer = data
                return
            end += _HEAD_END_SIZE
            head = rewrite(data[:end], self.decision, self.route)
            if isinstance(head, RewrittenHead):
                self._buffer = b""
                # A large piece of body is not copied once more for its head's sake.
                large = head.length is not None and len(data) > _LARGE
                self._final(head, memoryview(data)[end:] if large else data[end:])
                return
            data = data[end:]
            self._relay_interim(head)

    def _relay_interim(self, head: AnswerHead) -> None:
        if head.status == _SWITCHING:
            raise UpstreamProtocolError("the upstream switched protocols unasked")
        if head.status in RELAYED_INTERIM:
            fields = [(name, value) for name, value in head.fields if fold(name) not in HOP_BY_HOP]
            self._client.answer(head_bytes(head, fields))
        self._interim += 1
        if self._interim >= MAX_INTERIM:
            raise UpstreamProtocolError("the upstream sends interim answers without end")

    def _final(self, head: RewrittenHead, data: bytes | memoryview) -> None:
        self._answering = True
        self._head = head
        status, lines, length, chunked, _ = head
        self.status = status
        bodyless = self._head_only or status in _BODYLESS
        last = self._client.parting and self._client.last_answer()
        if length is not None and length == len(data) and not bodyless and not last:
            # Most answers: small, and here as a whole.
            told = lines, self.request_id.encode("ascii"), length
            self._finish(b"%bX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n" % told + data, reusable=True)
            return
        self._deadline = monotonic() + self._upstream.timeouts.idle
        written = b"%bX-Request-Id: %b\r\n" % (lines, self.request_id.encode("ascii"))
        if length is not None and status != http.HTTPStatus.NO_CONTENT:
            written += b"Content-Length: %d\r\n" % length
        if bodyless:
            if last:
                written += b"Connection: close\r\n"
            surplus = status == http.HTTPStatus.NO_CONTENT and (chunked or bool(length))
            self._finish(written + b"\r\n", reusable=not data and not surplus)
            return
        self._left = length
        self._decoder = ChunkedBody() if chunked else None
        self._chunked = length is None
        if self._chunked:
            written += b"Transfer-Encoding: chunked\r\n"
        if last:
            written += b"Connection: close\r\n"
        if not data and self._left != 0:
            # Nothing of the body is here yet, and an event stream may stay silent for long: the head goes out alone.
            self._client.answer(written + b"\r\n")
            return
        self._body(data, written + b"\r\n")

    def _body(self, data: bytes | memoryview, pending: bytes) -> None:
        """Pass a piece of the body on, behind what is ``pending``.

        :raises UpstreamProtocolError: the chunked coding is malformed.
        """
        left, decoder = self._left, self._decoder
        if left is not None:
            size = len(data)
            if size < left:
                self._left = left - size
                self._client.answer(pending + data if pending else data)
            else:
                self._finish(pending + data[:left], reusable=size == left)
            return
        piece = bytes(data)
        if decoder is not None:
            try:
                piece = decoder.feed(piece)
            except UpstreamProtocolError:
                if pending:
                    self._client.answer(pending)
                raise
        if piece:
            pending += b"%x\r\n%b\r\n" % (len(piece), piece)
        if decoder is not None and decoder.done:
            self._finish(pending + b"0\r\n\r\n", reusable=not decoder.rest)
        elif pending:
            self._client.answer(pending)

    def upstream_slow(self, *, slow: bool) -> None:
        """The backend's socket takes no more, or takes more again."""
        if not self._over and slow is not self.held:
            self.held = slow
            self._moved()
            self._client.hold(held=slow)

    # ---- from the client's side and the clock ----

    def client_data(self, data: bytes) -> bytes:
        """Pass a piece of the request's body on. What is behind its end is given back."""
        owed = self.owed
        if len(data) > owed:
            data, rest = data[:owed], data[owed:]
        else:
            rest = b""
        self.owed = owed - len(data)
        self.received += len(data)
        with contextlib.suppress(ConnectionResetError):  # the backend hung up; what it said before is still being read
            self._connection.write(data)
        self._moved()
        return rest

    def _moved(self) -> None:
        """Begin the time anew that nothing of the request may move."""
        if self._answering:
            return
        timeouts = self._upstream.timeouts
        self._deadline = monotonic() + (timeouts.idle if self.owed or self.held else timeouts.first_byte)

    def body_broke_off(self, reason: Reason) -> None:
        """The rest of the request's body will not come, or is not to."""
        if self._over:
            return
        self._end(reusable=False)
        if self._answering:
            self._client.broken_off()
        else:
            self._client.body_stopped(reason)

    def client_slow(self, *, slow: bool) -> None:
        """The client's socket takes no more, or takes more again."""
        if not self._over:
            self._deadline = monotonic() + self._upstream.timeouts.idle
            self._connection.hold(held=slow)

    def client_gone(self) -> None:
        """The client's connection ended: so does the call to the backend."""
        if not self._over:
            self._end(reusable=False)

    def look(self, now: float) -> None:
        """End the exchange if nothing moved for too long."""
        if now < self._deadline:
            self._client.still_here()
        elif self.owed and not self.held and not self._answering:
            self.body_broke_off(reasons.REQUEST_MALFORMED)
        elif not self._over:
            self._fail(UpstreamTimeout(f"upstream {self._upstream.name}: no answer in time"))

    # ---- for whoever judges it again (gateway.proxy.live_connections) ----

    @property
    def answer(self) -> RawFields:
        """Fields of the answer, once they are here."""
        lines = self._head.lines.split(b"\r\n")[1:-1] if self._head is not None else ()
        pairs = (line.partition(b": ") for line in lines)
        return tuple((name, value) for name, _, value in pairs)

    def context(self) -> RequestContext:
        """What was asked.

        :raises LookupError: it has ended, and its client may ask for something else by now.
        """
        if self._over:
            raise LookupError("the request has ended")
        return self._client.asked()

    def cut(self) -> bool:
        """End it, visibly. False: it had ended."""
        if self._over:
            return False
        self._end(reusable=False)
        self._client.broken_off()
        return True

    # ---- the end ----

    def _finish(self, last: bytes, *, reusable: bool) -> None:
        assert self._head is not None
        reusable = reusable and self._head.persistent and not self.owed and not self.held
        self._end(reusable=reusable)
        if not reusable:
            self._upstream.succeeded(self._connection)
        self._client.answer(last)
        self._client.answered()

    def _fail(self, error: UpstreamError) -> None:
        if self._over:
            return
        self._end(reusable=False)
        if not self._connection.held:  # else it is the client who takes nothing
            self._upstream.failed(self._connection, error)
        if self._answering:
            self._client.broken_off()
        else:
            self._client.failed(error)

    def _end(self, *, reusable: bool) -> None:
        self._over = True
        self._watch.exchanges.discard(self)
        connection = self._connection
        connection.receiver = None
        if self.held:
            self.held = False
            self._client.hold(held=False)
        if reusable:
            if connection.held:
                connection.hold(held=False)
            self._upstream.release(connection)
        else:
            connection.close()
