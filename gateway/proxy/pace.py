"""The rate floor: transfers that hardly move are ended.

The rule this file obeys (``threats.md`` row 36): a client that sends a body, or takes an answer, byte by byte holds a
connection, and one to the backend, for as long as it likes; so in every window in which the gateway waits for the
client and for nobody else, a least number of bytes has to move. Time in which the gateway itself, or the backend, is
what is waited for does not count. Neither does silence of those who have nothing to send: event streams, WebSockets
and long polls wait for the backend, and a floor is only laid under bytes that the client owes, or has not taken.

One timer looks at all transfers, and there is none while there are no transfers.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from typing import Any, Final

TICK: Final = 1.0
"""Seconds between two looks; a quarter of the window where that is less."""
_LOOKS: Final = 4
_INT: Final = struct.Struct("i")
_LINGER_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with zero seconds: closing sends a reset, and the kernel forgets what it has not sent."""


class _Watched:
    __slots__ = ("bytes", "looks", "moved", "slow", "total")

    def __init__(self, moved: Callable[[], int | None], slow: Callable[[], None]) -> None:
        self.moved = moved
        self.slow = slow
        self.total = 0
        self.bytes = 0
        self.looks = 0


class Floor:
    """Watches over transfers in one direction.

    :param rate: bytes a second that must move on average over each window; 0 watches nothing.
    :param window: seconds.
    """

    def __init__(self, rate: float, window: float) -> None:
        tick = min(TICK, window / _LOOKS)
        self._tick = tick
        self._looks = max(round(window / tick), 1)
        self._least = rate * window
        self._watched: dict[object, _Watched] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Transfers that are watched."""
        return len(self._watched)

    def watch(self, key: object, moved: Callable[[], int | None], slow: Callable[[], None]) -> None:
        """Watch over a transfer, unless it is watched already.

        :param moved: the bytes that have moved since some beginning; None while the client is not what is waited for.
        :param slow: called once, when too few moved in a window.
        """
        if not self._least or key in self._watched:
            return
        self._watched[key] = _Watched(moved, slow)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick, self._look)

    def forget(self, key: object) -> None:
        """The transfer has ended, or goes on by itself."""
        self._watched.pop(key, None)

    def close(self) -> None:
        """Watch over nothing any more."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        for key, watched in list(self._watched.items()):
            total = watched.moved()
            if total is None:
                continue
            watched.bytes += total - watched.total
            watched.total = total
            watched.looks += 1
            if watched.looks < self._looks:
                continue
            if watched.bytes < self._least:
                self.forget(key)
                watched.slow()
            watched.bytes = watched.looks = 0
        if self._watched:
            self._timer = asyncio.get_running_loop().call_later(self._tick, self._look)


class Outflow:
    """What a client has taken of what was written to it, the kernel's buffer included."""

    __slots__ = ("_pending", "_taken", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._pending = pending(transport)
        self._taken = 0

    def moved(self) -> int:
        """Bytes taken so far. Where more was written between two looks, that look counts too little."""
        now = pending(self._transport)
        self._taken += max(self._pending - now, 0)
        self._pending = now
        return self._taken


def pending(transport: asyncio.Transport) -> int:
    """Bytes written to ``transport`` that its peer has not acknowledged."""
    waiting = transport.get_write_buffer_size()
    raw: Any = transport.get_extra_info("socket")
    if raw is not None:
        # The kernel may hold megabytes for a client and wakes us only when a third of that has left, so ask it.
        with contextlib.suppress(OSError):
            waiting += _INT.unpack(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))[0]
    return waiting


def reset(transport: asyncio.Transport) -> None:
    """End a connection at once and visibly: what was not sent is dropped, here and in the kernel."""
    raw: Any = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    transport.abort()
