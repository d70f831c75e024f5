"""A backend that takes nothing but strict HTTP: it keeps every message that reached it, and every byte that is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import h11

from tests.support.strict_http import Incomplete, Message, NotHttp, read_one

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_HEAD_ANSWER: Final = ANSWER[:-2]


class Recorder:
    """What arrived. ``malformed`` is empty unless the gateway sent something that can be read in two ways."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.malformed: list[bytes] = []
        self.url = ""
        self.transports: set[asyncio.BaseTransport] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])


class _Connection(asyncio.Protocol):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._recorder.transports.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        self._recorder.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        while self._buffer:
            try:
                message, end = read_one(self._buffer)
            except Incomplete:
                return
            except NotHttp:
                self._recorder.malformed.append(self._buffer)
                self._transport.abort()
                return
            self._buffer = self._buffer[end:]
            if any(length != b"%d" % int(length) for length in message.all(b"content-length")):
                self._recorder.malformed.append(message.raw)
            self._recorder.messages.append(message)
            self._transport.write(_HEAD_ANSWER if message.method == b"HEAD" else ANSWER)


@asynccontextmanager
async def recorder() -> AsyncIterator[Recorder]:
    """A running :class:`Recorder`."""
    kept = Recorder()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(kept), "127.0.0.1", 0)
    kept.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield kept
    finally:
        server.close()
        for transport in list(kept.transports):
            transport.abort()  # type: ignore[attr-defined]
        await server.wait_closed()


def second_opinion(message: Message) -> str:
    """What h11 finds other in the message's bytes; empty when it reads the same."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
    try:
        connection.receive_data(message.raw)
        head = connection.next_event()
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError as error:
        return str(error)
    if not isinstance(head, h11.Request) or not isinstance(event, h11.EndOfMessage):
        return "not one whole message"
    lowered = [(name.lower(), value) for name, value in message.fields if name.lower() != b"expect"]
    told = [(bytes(name), bytes(value)) for name, value in head.headers if name != b"expect"]
    if (head.method, head.target, told, body) != (message.method, message.target, lowered, message.body):
        return "another request"
    return "bytes behind the message" if connection.trailing_data[0] else ""
