"""One request to the backend and its answer back, streamed both ways.

The rules this file obeys (``threats.md`` rows 22, 24, 25, 28, 42 and 43):

* What was judged is what is asked for (:mod:`gateway.proxy.outgoing`).
* No body is ever held as a whole: each piece is passed on as it arrives, and reading waits for writing.
* Framing is written anew from what was understood, so nothing ambiguous passes in either direction.
* A request is sent again only when it is idempotent without a body, on a reused connection that died before the first
  byte of an answer, and only once.
* An answer that ends too early is visibly broken for the client, never a clean end. A client that goes away takes its
  upstream connection with it, so half an upload never looks whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import socket
import struct
from collections.abc import AsyncGenerator
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway import reasons
from gateway.core.context import RequestContext
from gateway.errors import RequestError, UpstreamError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from gateway.http.intake import has_body
from gateway.mutators.headers import HOP_BY_HOP, Fields, fold, response_fields
from gateway.proxy import trailers
from gateway.proxy.answer import AnswerHead, ChunkedBody, RawFields
from gateway.proxy.connection import MAX_INTERIM, UpstreamConnection
from gateway.proxy.outgoing import Exchange, request_head, wants_trailers
from gateway.proxy.own import kept
from gateway.proxy.upstream import Timeouts, Upstream
from gateway.reasons import Reason

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2."""

RELAYED_INTERIM: Final = frozenset({100, 102, 103})
_SWITCHING: Final = 101
_LINGER_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with zero seconds: closing sends a reset."""


class Relayed(web.StreamResponse):
    """A response that was written to the connection already, in the upstream's own bytes.

    aiohttp's server wants a response object to know whether the connection lives on; it writes nothing of its own for
    this one.
    """

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._lives_on = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        """Whether the client's connection takes another request."""
        return self._lives_on

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002
        """Nothing is left to be written."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be written."""


async def forward(request: web.BaseRequest, exchange: Exchange, upstream: Upstream) -> web.StreamResponse:
    """Pass the request on and its answer back.

    :raises UpstreamError: nothing was written to the client, who can be told why.
    :raises RequestError: the request's body turned out to be malformed and nothing was written to the client.
    """
    body = has_body(exchange.context.headers)
    repeatable = exchange.context.method in IDEMPOTENT and not body
    connection = await upstream.acquire(repeatable=repeatable, fresh=exchange.again)
    try:
        return await Transfer(request, exchange, upstream, connection).run()
    except _Stale:
        connection = await upstream.acquire(repeatable=repeatable, fresh=True)
        return await Transfer(request, exchange, upstream, connection).run()


class _Stale(Exception):
    """A reused connection was dead before the upstream can have seen the request."""


class Transfer:
    """One attempt on one connection."""

    def __init__(
        self, request: web.BaseRequest, exchange: Exchange, upstream: Upstream, connection: UpstreamConnection
    ) -> None:
        self._request = request
        self._exchange = exchange
        self._upstream = upstream
        self._timeouts: Timeouts = upstream.timeouts
        self._connection = connection
        self._pump: asyncio.Task[bool] | None = None
        self._sent_at = 0.0
        self._complete = False
        """Whether the answer was read to its end."""
        self._trailers: Fields = []

    async def run(self) -> web.StreamResponse:
        """Send the request, relay the answer, and let go of the connection.

        :raises UpstreamError: nothing was written to the client.
        :raises RequestError: the request's body is malformed and nothing was written to the client.
        """
        reused = self._connection.requests > 0
        self._connection.requests += 1
        finished = False
        try:
            response, finished = await self._exchange_messages()
        except OSError as error:
            self._blame_client_body()
            if reused and not self._connection.answered and self._may_repeat():
                raise _Stale from error
            self._upstream.failed(self._connection, error)
            raise UpstreamUnreachable(f"upstream {self._upstream.name}: the connection broke") from error
        except UpstreamError as error:
            self._blame_client_body()
            self._upstream.failed(self._connection, error)
            raise
        else:
            return response
        finally:
            if self._pump is not None and not self._pump.cancel() and not self._pump.cancelled():
                self._pump.exception()  # looked at, should nobody be left to tell
            if finished:
                self._upstream.release(self._connection)
            else:
                if self._complete:
                    self._upstream.succeeded(self._connection)
                self._connection.close()

    def _may_repeat(self) -> bool:
        return self._exchange.context.method in IDEMPOTENT and self._pump is None

    def _blame_client_body(self) -> None:
        """Tell a broken upload from a broken upstream.

        :raises RequestError: the pump stopped because of the client's body.
        """
        if self._pump is not None and self._pump.done() and not self._pump.cancelled():
            fault = self._pump.exception()
            if isinstance(fault, RequestError):
                raise fault

    async def _exchange_messages(self) -> tuple[web.StreamResponse, bool]:
        self._connection.write(request_head(self._exchange, host=self._connection.host))
        self._sent_at = asyncio.get_running_loop().time()
        if has_body(self._exchange.context.headers):
            self._pump = asyncio.create_task(self._send_body())
        head = await self._final_head()
        return await self._relay(head)

    # ---- towards the upstream ----

    async def _send_body(self) -> bool:
        """Pass the body on piece by piece, and say whether all of it was.

        :raises RequestError: the client's body broke off; the upstream's connection is closed then.
        """
        chunked = b"transfer-encoding" in self._exchange.context.headers
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    async with asyncio.timeout(self._timeouts.idle):
                        piece = await self._request.content.readany()
                except RequestError:
                    self._connection.close()
                    raise
                except Exception as error:
                    # A broken chunk, a silent client: the upstream must not see a complete request.
                    self._connection.close()
                    raise RequestError(reasons.REQUEST_MALFORMED, "the request's body broke off") from error
                if not piece:
                    break
                self._connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                self._sent_at = loop.time()
                async with asyncio.timeout(self._timeouts.idle):
                    await self._connection.drain()
                self._sent_at = loop.time()
            if chunked:
                behind = trailers.of_request(self._client_trailers())
                self._connection.write(b"0\r\n%b\r\n" % field_bytes(behind))
        except TimeoutError:
            self._connection.close()
            return False
        except ConnectionError:
            # The upstream stopped taking the body. It may have answered all the same, so reading goes on.
            return False
        return True

    def _client_trailers(self) -> RawFields:
        watch = getattr(self._request.protocol, "trailers", None)
        return watch.take() if isinstance(watch, trailers.TrailerWatch) else ()

    # ---- towards the client ----

    async def _final_head(self) -> AnswerHead:
        for _ in range(MAX_INTERIM):
            head = await self._head_in_time()
            if head.status == _SWITCHING:
                raise UpstreamProtocolError("the upstream switched protocols unasked")
            if not head.interim:
                return head
            await self._relay_interim(head)
        raise UpstreamProtocolError("the upstream sends interim answers without end")

    async def _head_in_time(self) -> AnswerHead:
        """The next head.

        :raises UpstreamTimeout: the upstream is silent for too long after the last byte it was sent.
        """
        loop = asyncio.get_running_loop()
        reading = asyncio.ensure_future(self._connection.read_head())
        try:
            while True:
                uploading = self._uploading
                # While a body is on its way the upstream may wait for its end: the upload's own deadline counts.
                allowed = self._timeouts.idle if uploading else self._timeouts.first_byte
                left = self._sent_at + allowed - loop.time()
                if left <= 0:
                    raise UpstreamTimeout(f"upstream {self._upstream.name}: no answer within {allowed:g} s")
                waiting: set[asyncio.Future[object]] = {reading}  # type: ignore[arg-type]
                if uploading and self._pump is not None:
                    waiting.add(self._pump)  # type: ignore[arg-type]
                await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    return reading.result()
                if uploading and self._pump is not None and self._pump.done():
                    self._sent_at = loop.time()
        finally:
            if not reading.done():
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError, UpstreamError):
                    await reading

    async def _relay_interim(self, head: AnswerHead) -> None:
        if head.status not in RELAYED_INTERIM or self._request.version.minor == 0:
            return
        fields = [(name, value) for name, value in head.fields if fold(name) not in HOP_BY_HOP]
        await self._request.writer.write(head_bytes(head, fields))

    async def _relay(self, head: AnswerHead, *, close: bool = False) -> tuple[web.StreamResponse, bool]:
        """Write the answer. Returns the response and whether the upstream's connection can be used again."""
        context = self._exchange.context
        bodyless = head.bodyless(context.method)
        modern = self._request.version.minor > 0
        chunked = not bodyless and head.length is None and modern
        delimited = bodyless or head.length is not None or chunked
        # A client that waits for "100 Continue" may send its body late or never; what follows could be read as either.
        unclear = self._uploading and b"expect" in context.headers
        keep_alive = kept(self._request) and delimited and not unclear and not close
        exchange = self._exchange
        if exchange.live is not None:
            exchange.live.answer = head.fields
        added = exchange.answer_fields
        fields = response_fields(head.fields, exchange.decision, exchange.route, exchange.request_id, added)
        if head.length is not None and head.status != http.HTTPStatus.NO_CONTENT:
            fields.append((b"Content-Length", str(head.length).encode("ascii")))
        if chunked:
            if head.chunked and wants_trailers(context):
                fields += trailers.announced(head.fields)
            fields.append((b"Transfer-Encoding", b"chunked"))
        if not keep_alive:
            fields.append((b"Connection", b"close"))
        elif not modern:
            fields.append((b"Connection", b"keep-alive"))
        pending = head_bytes(head, fields)
        writer = self._request.writer
        try:
            if bodyless:
                await writer.write(pending)
                surplus = head.chunked or bool(head.length)
                self._complete = head.status != http.HTTPStatus.NO_CONTENT or not surplus
            else:
                await self._relay_body(head, pending, chunked=chunked)
        except (UpstreamError, TimeoutError, OSError) as error:
            if isinstance(error, UpstreamError):
                self._upstream.failed(self._connection, error)
            self._break_off(delimited=delimited)
            return Relayed(head.status, keep_alive=False), False
        reusable = self._complete and head.persistent and self._sent_whole
        return Relayed(head.status, keep_alive=keep_alive), reusable

    async def _relay_body(self, head: AnswerHead, pending: bytes, *, chunked: bool) -> None:
        writer = self._request.writer
        if not self._connection.buffered:
            # Nothing of the body is here yet, and an event stream may stay silent for long: the head goes out alone.
            await writer.write(pending)
            pending = b""
        async with contextlib.aclosing(self._body(head)) as pieces:
            async for piece in pieces:
                async with asyncio.timeout(self._timeouts.idle):
                    await writer.write(pending + (b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece))
                pending = b""
        if chunked:
            pending += b"0\r\n" + field_bytes(self._trailers) + b"\r\n"
        if pending:
            await writer.write(pending)

    async def _body(self, head: AnswerHead) -> AsyncGenerator[bytes]:
        """Pieces of the answer's body as they arrive.

        :raises UpstreamProtocolError: the body is malformed or ends too early.
        :raises UpstreamTimeout: nothing more of it comes.
        """
        decoder = ChunkedBody() if head.chunked else None
        left = head.length
        while left != 0 and not (decoder is not None and decoder.done):
            try:
                async with asyncio.timeout(self._timeouts.idle):
                    data = await self._connection.read()
            except TimeoutError:
                raise UpstreamTimeout(f"upstream {self._upstream.name}: the answer stopped") from None
            if not data:
                if left is None and decoder is None:
                    return  # the end of the connection is the end of the body
                raise UpstreamProtocolError("the answer broke off")
            piece = data
            if decoder is not None:
                piece = decoder.feed(data)
                if decoder.done:
                    self._connection.unread(decoder.rest)
            elif left is not None:
                piece = data[:left]
                left -= len(piece)
                self._connection.unread(data[len(piece) :])
            if piece:
                yield piece
        if decoder is not None and wants_trailers(self._exchange.context):
            self._trailers = trailers.passing(decoder.trailers)
        self._complete = True

    async def relay_refusal(self, head: AnswerHead) -> web.StreamResponse:
        """Relay an answer that was read already, and end the client's connection with it."""
        response, _ = await self._relay(head, close=True)
        return response

    @property
    def _uploading(self) -> bool:
        return self._pump is not None and not self._pump.done()

    @property
    def _sent_whole(self) -> bool:
        """Whether the upstream got the whole request."""
        pump = self._pump
        return pump is None or (pump.done() and not pump.cancelled() and pump.exception() is None and pump.result())

    def _break_off(self, *, delimited: bool) -> None:
        if self._request.transport is not None:
            break_off(self._request.transport, delimited=delimited)


def break_off(transport: asyncio.Transport, *, delimited: bool) -> None:
    """End the client's connection so that the client cannot take the answer for complete."""
    if not delimited:
        # Only the end of the connection ends this body, so an orderly end would look like success: reset instead.
        raw = transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    transport.abort()


class UnderWay:
    """A request on its way, as far as whoever judges it again is concerned."""

    __slots__ = ("_context", "_request")

    def __init__(self, request: web.BaseRequest, context: RequestContext) -> None:
        self._request = request
        self._context = context

    def context(self) -> RequestContext:
        """What was asked."""
        return self._context

    def end(self, reason: Reason, code: int) -> bool:  # noqa: ARG002 - nobody can be told either within an answer
        """Break the connection, which also ends the call to the backend. False: it had ended."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return False
        # In HTTP/1.0 only the end of the connection may delimit the answer.
        break_off(transport, delimited=self._request.version.minor > 0)
        return True


def head_bytes(head: AnswerHead, fields: Fields) -> bytes:
    """Status line and fields of an answer as they go to the client."""
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, field_bytes(fields))


def field_bytes(fields: Fields) -> bytes:
    """Field lines as they are written, each with its CRLF."""
    return b"".join(b"%b: %b\r\n" % field for field in fields)
