"""A client in the middle of an answer that lasts, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.core.claims import Claims, Principal
from gateway.guard import SessionGuard
from gateway.policy.routes import Route, RouteTable
from gateway.proxy.live import LiveSettings
from tests.proxy.test_websocket import HANDSHAKE, SWITCHED
from tests.support.backends import Backend, Conversation, backend
from tests.support.wire import (
    GOOD,
    PATIENCE,
    Gateway,
    gateway,
    request,
)

ALICE = Principal("demo", None, "alice")
RENEWED = "good.token.two"
IN_TIME = 1.0
"""Seconds within which a connection has to end once there is a reason."""
QUIET = 0.6
"""Seconds after which a connection that was to be ended would have been."""


@dataclass
class Client:
    """One client in the middle of an answer or a WebSocket."""

    front: Gateway
    server: Backend
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes

    async def rest(self) -> bytes:
        """Everything up to a Close frame, which is answered, or the end, which may be a reset; it has to be soon."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            try:
                while piece := await self.reader.read(65_536):
                    data += piece
                    if data.startswith(b"\x88") and len(data) == 2 + data[1]:
                        self.writer.write(b"\x88\x80abcd")
                        assert await self.reader.read() == b""
            except ConnectionError:
                pass
        return data

    async def ends(self) -> tuple[bytes, float]:
        """The rest and how many seconds it took."""
        started = time.monotonic()
        return await self.rest(), time.monotonic() - started

    def still_open(self) -> bool:
        return not self.reader.at_eof() and self.front.proxy.live.ended.total() == 0


async def talks(conversation: Conversation) -> None:
    """Answer a handshake, or stream events, and say nothing more."""
    head = await conversation.head()
    if b"Upgrade: websocket" in head:
        await conversation.send(SWITCHED + b"\x81\x02hi")
    elif b"/download" in head:
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
    else:
        fields = b"Content-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n"
        await conversation.send(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n9\r\ndata: 1\n\n\r\n")
    await conversation.to_end()


@asynccontextmanager
async def watching(
    target: str,
    *,
    tokens: Mapping[str, Claims] | None = None,
    token: str | None = GOOD,
    settings: LiveSettings | None = None,
    fields: tuple[str, ...] = (),
    **options: Any,
) -> AsyncIterator[Client]:
    """A client with a WebSocket (``/ws`` in the target) or an answer that goes on."""
    async with backend(talks) as server, gateway(server.url, tokens=tokens, live=settings, **options) as front:
        reader, writer = await front.connect()
        more = HANDSHAKE if "/ws" in target else ()
        writer.write(request(f"GET {target} HTTP/1.1", *more, *fields, token=token))
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            first = b"\x81\x02hi" if "/ws" in target else b"beginning" if "/download" in target else b"data: 1\n\n\r\n"
            await reader.readuntil(first)
        try:
            yield Client(front, server, reader, writer, head)
        finally:
            writer.transport.abort()


def close_of(data: bytes) -> tuple[int, str]:
    """Code and reason of the one Close frame that ``data`` is."""
    assert data[:1] == b"\x88", data
    assert len(data) == 2 + data[1], data
    return int.from_bytes(data[2:4]), data[4:].decode()


def is_cut(target: str, data: bytes, code: int, reason: str) -> bool:
    """Whether the end is the right one: a Close frame, or an answer that visibly lacks its end."""
    if "/ws" in target:
        return close_of(data) == (code, reason)
    return data == b""


BOTH = pytest.mark.parametrize("target", ["/ws", "/events"])


def another_guard(front: Gateway, *routes: Route) -> SessionGuard:
    old = front.proxy.guard
    return SessionGuard(
        routes=RouteTable(routes),
        verifier=front.verifier,
        revocation=front.revocation,
        addresses=old.addresses,
        clock=old._clock,
        deny_list=old._deny_list,
        cookies=dict.fromkeys(old.cookies, front.verifier),
        generation=old.generation + 1,
    )
