"""WebSockets: the opening handshake is a request like any other, and after 101 the bytes are spliced.

The rules this file obeys (``threats.md`` row 26; RFC 6455 section 4):

* The client gets 101 only after the upstream gave a right one: ``Upgrade: websocket`` and the accept value of the
  client's own key. Any other answer is relayed as the ordinary answer it is, and the client's connection ends with
  it, so that nothing sent behind the handshake can be taken for a second request.
* Frames are not opened: subprotocol, extensions, compression, masks and close codes are between the two ends. Nothing
  is collected either, a piece is passed on before the next is read, so no frame or message size costs memory here.
* When one side ends, the other one is ended: cleanly after a clean end, broken after a broken one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from typing import Final

from aiohttp import web

from gateway.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.answer import AnswerHead
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.forward import Exchange, Relayed, Transfer, head_bytes, request_head
from gateway.proxy.upstream import Upstream

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""
_SWITCHING: Final = 101


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


async def tunnel(request: web.BaseRequest, exchange: Exchange, upstream: Upstream) -> web.StreamResponse:
    """Pass the handshake on, and after 101 everything.

    :raises UpstreamError: nothing was written to the client, who can be told why.
    """
    connection = await upstream.acquire(repeatable=False, fresh=True)
    try:
        try:
            connection.write(request_head(exchange, websocket=True))
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
        await _splice(request, exchange, head, connection)
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
    request: web.BaseRequest, exchange: Exchange, head: AnswerHead, connection: UpstreamConnection
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
    upwards = asyncio.create_task(_to_upstream(client, connection))
    downwards = asyncio.create_task(_to_client(connection, request))
    try:
        done, _ = await asyncio.wait({upwards, downwards}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        upwards.cancel()
        downwards.cancel()
        await asyncio.gather(upwards, downwards, return_exceptions=True)
    if any(task.exception() is not None for task in done if not task.cancelled()):
        transport.abort()


async def _to_upstream(client: ClientBytes, connection: UpstreamConnection) -> None:
    while data := await client.read():
        connection.write(data)
        await connection.drain()


async def _to_client(connection: UpstreamConnection, request: web.BaseRequest) -> None:
    while data := await connection.read():
        await request.writer.write(data)
