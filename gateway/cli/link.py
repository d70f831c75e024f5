"""What a parent and its workers say to each other, over a pair of sockets that nobody else has.

One JSON object a line. Nothing that travels here is a credential: who signed out is named by project, tenant, user and
moment of sign-in.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, TypeAlias

import msgspec

from gateway.observe.gathered import Family
from gateway.wiring.news import Ended, News, Renewed, Revoked

MAX_LINE: Final = 64 * 1024 * 1024
"""Bytes of a message. The longest tells a new worker of all sessions that were ended: 100,000 at some 200 bytes."""


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """To a worker: this is what the others know, now serve."""

    ended: list[Ended]


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """To a worker: read the configuration again. ``readable``: whether the parent could."""

    readable: bool


class Stopping(msgspec.Struct, frozen=True, tag="stopping"):
    """To a worker: the end is near, so be no longer ready."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """To a worker: take no more connections and end. ``now``: without waiting for requests in flight."""

    now: bool


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """To a worker: how are you? ``figures``: and what have you counted?"""

    number: int
    figures: bool


class Up(msgspec.Struct, frozen=True, tag="up"):
    """From a worker: it serves."""


class Reloaded(msgspec.Struct, frozen=True, tag="reloaded"):
    """From a worker: how the reload went; ``error`` empty when it is in use."""

    error: str


class State(msgspec.Struct, frozen=True, tag="state"):
    """From a worker: the answer to :class:`Ask` of that number."""

    number: int
    failing: dict[str, str]
    degraded: dict[str, str]
    families: list[Family]


ToWorker: TypeAlias = Begin | Reload | Stopping | Stop | Ask | Ended | Revoked | Renewed
FromWorker: TypeAlias = Up | Reloaded | State | Ended | Revoked | Renewed

_encode: Final = msgspec.json.Encoder().encode
_to_worker: Final = msgspec.json.Decoder(ToWorker)
_from_worker: Final = msgspec.json.Decoder(FromWorker)


class Link:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> Link:
        """The end that a socket is."""
        return cls(*await asyncio.open_connection(sock=sock, limit=MAX_LINE))

    def tell(self, message: ToWorker | FromWorker) -> None:
        """Send; what cannot be sent because the other is gone is lost."""
        if not self._writer.is_closing():
            self._writer.write(_encode(message) + b"\n")

    async def hear_parent(self) -> ToWorker | None:
        """The parent's next message; None when it is gone."""
        line = await self._line()
        return _to_worker.decode(line) if line else None

    async def hear_worker(self) -> FromWorker | None:
        """The worker's next message; None when it is gone."""
        line = await self._line()
        return _from_worker.decode(line) if line else None

    async def close(self) -> None:
        """Send what waits, then end."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readline()
        except OSError:
            return b""
        return line if line.endswith(b"\n") else b""


__all__ = [
    "Ask",
    "Begin",
    "Ended",
    "FromWorker",
    "Link",
    "News",
    "Reload",
    "Reloaded",
    "Renewed",
    "Revoked",
    "State",
    "Stop",
    "Stopping",
    "ToWorker",
    "Up",
]
