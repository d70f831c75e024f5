"""What stays open: the workshop's event stream and the echo.

Both end when the visitor leaves or the backend closes, whichever comes first, so that nothing outlives the demo.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from gateway.demo.data import HAPPENINGS
from gateway.demo.visitor import Visitor, visitor_of

TICK_SECONDS: Final = 1.0
"""Pause between two events of the stream."""

BEATS_EVERY: Final = 15
"""Events between two comments that keep idle intermediaries awake (HTML Standard section 9.2.7 advises every 15 s)."""

RETRY_MILLISECONDS: Final = 2_000
"""What the stream tells the browser to wait before it reconnects."""

MAX_MESSAGE_BYTES: Final = 16 * 2**10
"""The longest message that the echo takes; longer ones close the connection (RFC 6455 section 7.4.1, code 1009)."""

PING_SECONDS: Final = 30.0
"""Silence after which the echo asks whether the visitor is still there."""

_STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class Live:
    """Open streams and sockets of one backend. ``tick`` is in seconds."""

    def __init__(self, tick: float = TICK_SECONDS) -> None:
        self._tick = tick
        self._closing = asyncio.Event()
        self._sockets: set[web.WebSocketResponse] = set()
        self._watching = 0

    @property
    def watching(self) -> int:
        """Event streams that are open now."""
        return self._watching

    @property
    def talking(self) -> int:
        """WebSocket connections that are open now."""
        return len(self._sockets)

    async def close(self) -> None:
        """End every stream and socket."""
        self._closing.set()
        for socket in tuple(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the workshop closes")

    async def events(self, request: web.Request) -> web.StreamResponse:
        """One event per tick, for as long as the visitor listens."""
        response = web.StreamResponse(headers=_STREAM_HEADERS)
        await response.prepare(request)
        async with self._counted():
            # A visitor who leaves shows as a reset connection on the next write: that is the normal end.
            with contextlib.suppress(ConnectionError):
                await response.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
                count = 0
                while not self._closing.is_set():
                    await response.write(self._event(count))
                    count += 1
                    await self._pause()
                await response.write_eof()
        return response

    def _event(self, count: int) -> bytes:
        happening = HAPPENINGS[count % len(HAPPENINGS)]
        data = {"who": happening.who, "what": happening.what, "job": happening.job, "watching": self._watching}
        beat = ": still here\n\n" if count % BEATS_EVERY == BEATS_EVERY - 1 else ""
        return f"{beat}id: {count}\ndata: {json.dumps(data)}\n\n".encode()

    @contextlib.asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self._watching += 1
        try:
            yield
        finally:
            self._watching -= 1

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), self._tick)

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        """Say who is connected, then say back whatever text comes."""
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, heartbeat=PING_SECONDS)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            await socket.send_json(_hello(visitor_of(request.raw_headers)))
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await socket.send_json({"type": "echo", "text": message.data})
        except ConnectionError:
            pass  # the visitor left while we were writing
        finally:
            self._sockets.discard(socket)
        return socket


def _hello(visitor: Visitor | None) -> dict[str, Any]:
    return {"type": "hello", "visitor": None if visitor is None else visitor.as_json()}
