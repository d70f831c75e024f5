"""One connection to an upstream: bytes with back-pressure both ways, and a strict end.

Reading: what arrives is buffered up to :data:`HIGH_WATER` bytes, then the socket is left alone until somebody reads;
so a slow client slows its upstream down and nothing piles up here. Writing: :meth:`UpstreamConnection.drain` waits
while the kernel takes no more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, cast

from gateway.errors import UpstreamProtocolError
from gateway.proxy.answer import AnswerHead, head_end, parse_head

if TYPE_CHECKING:
    from gateway.proxy.pool import Pool

HIGH_WATER: Final = 262_144
"""Bytes buffered before reading pauses."""
_KEPT: Final = 4_194_304
"""Bytes of a block from which on the C library asks the kernel for each one anew."""
WRITE_SIZE: Final = 262_144
"""Bytes that may wait for an upstream that reads slowly before the client is told to wait; four times asyncio's usual.
Each stop and go costs two system calls on either side."""
FLUSH_TIME: Final = 5.0
"""Seconds that the last bytes of a tunnel get to reach an upstream that reads slowly."""
MAX_INTERIM: Final = 16
"""Interim answers taken before a final one; an endless row of them would hold the client for ever."""


def keep_memory() -> None:
    """Have the C library keep the memory of its last reads for the next ones.

    asyncio allocates 256 KB for every read and gives back what was not needed. glibc gets every block of 128 KB and
    more from the kernel and gives it back at once, page faults included, until it has seen a larger one being freed
    (``mallopt(3)``, ``M_MMAP_THRESHOLD``). For a small message that would cost more than everything else.
    """
    bytes(_KEPT)


class Receiver(Protocol):
    """Takes what arrives as it arrives, instead of a task that reads."""

    def upstream_data(self, data: bytes) -> None:
        """Bytes of an answer."""

    def upstream_ended(self, error: Exception | None) -> None:
        """The upstream sends no more: cleanly, or because of ``error``."""

    def upstream_slow(self, *, slow: bool) -> None:
        """The upstream takes no more for now, or takes more again."""


class UpstreamConnection(asyncio.Protocol):
    """A connection as asyncio's protocol, read by one task at a time, or by a :class:`Receiver`.

    :param pool: counts it while it lasts.
    """

    def __init__(self, pool: Pool | None = None) -> None:
        self.pool = pool
        self._counted = False
        self.host: bytes | None = None
        """``Host`` for requests on this connection; None for the client's."""
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._eof = False
        self._error: Exception | None = None
        self._reading_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._drainers: list[asyncio.Future[None]] = []
        self.requests = 0
        """Requests that were written to this connection so far."""
        self.parked_at = 0.0
        """When it returned to the pool (:func:`time.monotonic`)."""
        self.answered = False
        """Whether any byte of an answer to the current request has arrived."""
        self.receiver: Receiver | None = None

    # ---- asyncio's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        transport = cast("asyncio.Transport", transport)  # uvloop's are not of that class
        if self.pool is not None:
            self.pool.opened += 1
            self._counted = True
        transport.set_write_buffer_limits(WRITE_SIZE)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Buffer what arrived."""
        self.answered = True
        if self.receiver is not None:
            self.receiver.upstream_data(data)
            return
        self._buffer += data
        if len(self._buffer) >= HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> bool | None:
        """Note the upstream's end of sending; asyncio then closes our side."""
        self._eof = True
        if self.receiver is not None:
            self.receiver.upstream_ended(None)
        self._wake_reader()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever waits see the end."""
        self.leave_pool()
        self._eof = True
        self._error = exc
        if self.receiver is not None:
            self.receiver.upstream_ended(exc)
        self._wake_reader()
        for waiter in self._drainers:
            if not waiter.done():
                waiter.set_exception(ConnectionResetError("the upstream connection is gone"))
                waiter.exception()  # whoever waits gets it; nobody waiting is no fault
        self._drainers.clear()

    def pause_writing(self) -> None:
        """Make :meth:`drain` wait."""
        self._writing_paused = True
        if self.receiver is not None:
            self.receiver.upstream_slow(slow=True)

    def resume_writing(self) -> None:
        """Let :meth:`drain` go on."""
        self._writing_paused = False
        if self.receiver is not None:
            self.receiver.upstream_slow(slow=False)
        for waiter in self._drainers:
            if not waiter.done():
                waiter.set_result(None)
        self._drainers.clear()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # ---- our side ----

    def leave_pool(self) -> None:
        """Be counted no longer."""
        if self._counted and self.pool is not None:
            self._counted = False
            self.pool.lost(self)

    @property
    def usable(self) -> bool:
        """Whether another request may be written: open, and no byte there that nobody asked for."""
        return self._transport is not None and not self._transport.is_closing() and not self._eof and not self._buffer

    @property
    def buffered(self) -> bool:
        """Whether something can be read at once, be it the end."""
        return bool(self._buffer) or self._eof

    def write(self, data: bytes) -> None:
        """Send ``data`` soon.

        :raises ConnectionResetError: the connection is gone.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the upstream connection is closed")
        self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the kernel takes more.

        :raises ConnectionResetError: the connection is gone.
        """
        if not self._writing_paused:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._drainers.append(waiter)
        await waiter

    async def read(self) -> bytes:
        """Whatever has arrived; ``b""`` at a clean end.

        :raises OSError: the connection broke.
        """
        while not self._buffer and not self._eof:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = bytes(self._buffer)
        self._buffer.clear()
        if not data and self._error is not None:
            raise self._error
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    def unread(self, data: bytes) -> None:
        """Put back what was read too far."""
        self._buffer[:0] = data

    async def read_head(self) -> AnswerHead:
        """The next head.

        :raises UpstreamProtocolError: it is malformed, or the connection ended within it.
        :raises OSError: the connection broke or ended before its first byte.
        """
        gathered = bytearray()
        while True:
            data = await self.read()
            if not data:
                if gathered:
                    raise UpstreamProtocolError("the answer ended within its head")
                raise ConnectionResetError("the upstream closed the connection without an answer")
            gathered += data
            end = head_end(gathered)
            if end >= 0:
                self.unread(bytes(gathered[end:]))
                return parse_head(bytes(gathered[:end]))

    @property
    def held(self) -> bool:
        """Whether the socket is left alone for now."""
        return self._reading_paused

    def hold(self, *, held: bool) -> None:
        """Leave the socket alone, or no longer: back-pressure for a :class:`Receiver`."""
        if self._transport is None or held is self._reading_paused or self._transport.is_closing():
            return
        self._reading_paused = held
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close at once. What was not sent is dropped, so the upstream never takes half a request for a whole one."""
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Close after what was written has gone out, or after :data:`FLUSH_TIME` at the latest."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            asyncio.get_running_loop().call_later(FLUSH_TIME, self._transport.abort)
