"""WebSockets: the opening handshake is a request like any other, and after 101 the bytes are spliced.

The rules this file obeys (``threats.md`` row 26; RFC 6455 section 4):

* The client gets 101 only after the upstream gave a right one: ``Upgrade: websocket`` and the accept value of the
  client's own key. Any other answer is relayed as the ordinary answer it is, and the client's connection ends with
  it, so that nothing sent behind the handshake can be taken for a second request.
* Frames are not opened: subprotocol, extensions, compression, masks and close codes are between the two ends. Nothing
  is collected either, a piece is passed on before the next is read, so no frame or message size costs memory here.
  Lengths are read (:mod:`gateway.proxy.frames`), and a message above the limit ends the connection with 1009.
* When one side ends, the other one is ended: cleanly after a clean end, broken after a broken one.
* When the gateway itself ends a WebSocket, because the session behind it is over, not a byte of the client's reaches
  the backend from that moment on, and the client is told why in a Close frame of its own, between two frames of the
  backend's. A backend that does not get to the end of its frame in :data:`BOUNDARY_WAIT` leaves only a broken
  connection. The backend gets a Close frame with 1001 (going away), or a broken connection in the middle of a frame.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from typing import Any, Final

from aiohttp import web

from gateway import reasons
from gateway.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.answer import AnswerHead
from gateway.proxy.connection import FLUSH_TIME, UpstreamConnection
from gateway.proxy.forward import Relayed, Transfer, head_bytes
from gateway.proxy.frames import Frames, close_frame
from gateway.proxy.live import CLOSE_GOING_AWAY, CLOSE_TOO_BIG, Live
from gateway.proxy.outgoing import Exchange, request_head
from gateway.proxy.upstream import Upstream
from gateway.reasons import Reason

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""
_SWITCHING: Final = 101
BOUNDARY_WAIT: Final = 0.4
"""Seconds that the backend gets to finish a frame, so that a Close frame can follow it: what is left of one second when
noticing takes a half."""
CLOSE_WAIT: Final = 0.5
"""Seconds that the client gets to answer a Close frame. It may still be sending, and a connection that is closed with
bytes unread takes the Close frame with it."""


class ClientBytes:
    """Receives what the client sends behind the handshake: aiohttp feeds it like a WebSocket parser.

    At most one piece waits; the client's socket is paused until it is fetched.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._pieces: list[bytes] = []
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes; aiohttp's parser protocol (not the end of the stream, nothing left over)."""
        if data:
            self._pieces.append(data)
            with contextlib.suppress(RuntimeError):
                self._transport.pause_reading()
            self._wake()
        return False, b""

    def feed_eof(self) -> None:
        """The client is gone."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> bytes:
        """The next bytes; ``b""`` at the end."""
        while not self._pieces and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            with contextlib.suppress(RuntimeError):
                self._transport.resume_reading()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


async def tunnel(
    request: web.BaseRequest, exchange: Exchange, upstream: Upstream, max_message: int = 0
) -> web.StreamResponse:
    """Pass the handshake on, and after 101 everything.

    :param max_message: bytes of one message, in either direction; 0 for any number.
    :raises UpstreamError: nothing was written to the client, who can be told why.
    """
    connection = await upstream.acquire(repeatable=False, fresh=True)
    try:
        try:
            connection.write(request_head(exchange, host=connection.host, websocket=True))
            async with asyncio.timeout(upstream.timeouts.first_byte):
                head = await connection.read_head()
                while head.interim:
                    head = await connection.read_head()
        except TimeoutError:
            raise UpstreamTimeout(f"upstream {upstream.name}: no answer to a WebSocket handshake") from None
        except OSError as error:
            raise UpstreamUnreachable(f"upstream {upstream.name}: the connection broke") from error
        if head.status != _SWITCHING:
            response = await Transfer(request, exchange, upstream, connection).relay_refusal(head)
            connection.close()
            return response
        _check_accepted(exchange, head)
        await _splice(request, exchange, head, connection, max_message)
    except (UpstreamError, ConnectionError):
        connection.close()
        raise
    finally:
        connection.finish()
    return Relayed(_SWITCHING, keep_alive=False)


def _check_accepted(exchange: Exchange, head: AnswerHead) -> None:
    """Whether the upstream really took the handshake (RFC 6455 section 4.1).

    :raises UpstreamProtocolError: it did not.
    """
    key = exchange.context.headers.one(b"sec-websocket-key") or ""
    expected = base64.b64encode(hashlib.sha1((key + _GUID).encode("latin-1"), usedforsecurity=False).digest())
    told = {name.lower(): value for name, value in head.fields}
    if told.get(b"upgrade", b"").lower() != b"websocket" or told.get(b"sec-websocket-accept") != expected:
        raise UpstreamProtocolError("the upstream switched to something that is no WebSocket")


async def _splice(
    request: web.BaseRequest,
    exchange: Exchange,
    head: AnswerHead,
    connection: UpstreamConnection,
    max_message: int,
) -> None:
    transport = request.transport
    if transport is None:
        return
    client = ClientBytes(transport)
    fields = [(name, value) for name, value in head.fields if name.lower().startswith(b"sec-websocket-")]
    fields += [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
    fields.append((b"X-Request-Id", exchange.request_id.encode("ascii")))
    fields += exchange.answer_fields
    await request.writer.write(head_bytes(head, fields))
    # aiohttp holds back what the client sends behind an upgrade until a parser for it is set.
    request.protocol.set_parser(client)  # type: ignore[arg-type]
    assert exchange.live is not None
    splice = Splice(request, transport, client, connection, exchange.live, max_message)
    exchange.live.end = splice.end
    await splice.run()


class Splice:
    """Both directions of one WebSocket, and its end."""

    def __init__(
        self,
        request: web.BaseRequest,
        transport: asyncio.Transport,
        client: ClientBytes,
        connection: UpstreamConnection,
        live: Live,
        max_message: int,
    ) -> None:
        self._writer = request.writer
        self._transport = transport
        self._client = client
        self._connection = connection
        self._live = live
        self._up = Frames(max_message)
        self._down = Frames(max_message)
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[tuple[Reason, int]] = self._loop.create_future()

    def end(self, reason: Reason, code: int) -> bool:
        """Close it soon, with this code and the reason's id. False: it is ending already."""
        if self._ending.done():
            return False
        self._ending.set_result((reason, code))
        return True

    async def run(self) -> None:
        """Pass everything on until one side ends, or somebody calls :meth:`end`."""
        upwards = asyncio.create_task(self._to_upstream())
        downwards = asyncio.create_task(self._to_client())
        either: set[asyncio.Future[Any]] = {upwards, downwards, self._ending}
        try:
            done, _ = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._ending.done():
                await self._say_goodbye(upwards, downwards)
                return
        finally:
            self._ending.cancel()
            await _stop(upwards, downwards)
        if any(task.exception() is not None for task in done if not task.cancelled()):
            self._transport.abort()

    async def _to_upstream(self) -> None:
        frames, connection = self._up, self._connection
        while data := await self._client.read():
            self._live.moved = self._loop.time()
            if piece := frames.take(data):
                connection.write(piece)
                await connection.drain()
            if frames.too_large:
                self._refuse_message()
                return
        if rest := frames.flush():
            connection.write(rest)

    async def _to_client(self) -> None:
        frames, writer = self._down, self._writer
        while data := await self._connection.read():
            self._live.moved = self._loop.time()
            ending = self._ending.done()
            if piece := frames.rest(data) if ending else frames.take(data):
                await writer.write(piece)
            if frames.too_large:
                self._refuse_message()
                return
            if self._ending.done() and frames.between:
                return
        if rest := frames.flush():
            await writer.write(rest)

    def _refuse_message(self) -> None:
        if self.end(reasons.MESSAGE_TOO_LARGE, CLOSE_TOO_BIG):
            self._live.ended = reasons.MESSAGE_TOO_LARGE

    async def _say_goodbye(self, upwards: asyncio.Task[None], downwards: asyncio.Task[None]) -> None:
        reason, code = self._ending.result()
        await _stop(upwards)
        if not self._down.between:
            await asyncio.wait({downwards}, timeout=BOUNDARY_WAIT)
        await _stop(downwards)
        if not self._down.between:
            self._connection.close()
            self._transport.abort()
            return
        if not self._down.closed:
            self._transport.write(close_frame(code, reason.id))
        if not self._up.between:
            self._connection.close()
        elif not self._up.closed:
            with contextlib.suppress(ConnectionError):
                self._connection.write(close_frame(CLOSE_GOING_AWAY, masked=True))
            self._connection.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT):
                while not self._up.closed and (data := await self._client.read()):
                    self._up.take(data)
        self._transport.close()
        self._loop.call_later(FLUSH_TIME, self._transport.abort)


async def _stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
