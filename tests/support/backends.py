"""Backends that a test writes as a conversation, byte for byte, and that record what reached them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager


class Conversation:
    """One connection as the backend sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = bytearray()

    async def head(self) -> bytes:
        data = await self.reader.readuntil(b"\r\n\r\n")
        self.received += data
        return data

    async def exactly(self, count: int) -> bytes:
        data = await self.reader.readexactly(count)
        self.received += data
        return data

    async def until(self, end: bytes) -> bytes:
        data = await self.reader.readuntil(end)
        self.received += data
        return data

    async def to_end(self) -> bytes:
        data = await self.reader.read()
        self.received += data
        return data

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def body(self, head: bytes) -> bytes:
        """The request's body, as its head announces it."""
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length is not None:
            return await self.exactly(int(length.group(1)))
        body = b""
        if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head) is not None:
            while True:
                size = int(await self.until(b"\r\n"), 16)
                body += await self.exactly(size)
                await self.until(b"\r\n")
                if size == 0:
                    break
        return body


Script = Callable[[Conversation], Awaitable[None]]


def answers(body: bytes = b"ok", *, status: bytes = b"200 OK", fields: Sequence[bytes] = ()) -> Script:
    """A backend that reads each request whole and gives each the same answer."""

    async def script(conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            await conversation.body(head)
            lines = [b"HTTP/1.1 " + status, *fields, b"Content-Length: %d" % len(body)]
            await conversation.send(b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head.startswith(b"HEAD ") else body))

    return script


def says(data: bytes, *, close: bool = False) -> Script:
    """A backend that reads each request whole and sends these very bytes."""

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.body(await conversation.head())
            await conversation.send(data)
            if close:
                return

    return script


class Backend:
    """A server on a free port that follows a script per connection and keeps what it heard."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.conversations: list[Conversation] = []
        self.url = ""
        self.closed = asyncio.Event()
        """Set when any connection to it has ended."""
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def received(self) -> bytes:
        return b"".join(bytes(conversation.received) for conversation in self.conversations)

    def fields(self) -> list[tuple[str, str]]:
        """Field lines of the last request that arrived."""
        head = bytes(self.conversations[-1].received).split(b"\r\n\r\n")[0].decode("latin-1")
        return [(name, value) for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        conversation = Conversation(reader, writer)
        self.conversations.append(conversation)
        try:
            await self.script(conversation)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the other side is done, or the test is
        finally:
            conversation.received += reader._buffer  # type: ignore[attr-defined]
            writer.close()
            self.closed.set()
            self.tasks.discard(task)


@asynccontextmanager
async def backend(script: Script) -> AsyncIterator[Backend]:
    """A running :class:`Backend`."""
    running = Backend(script)
    server = await asyncio.start_server(running._serve, "127.0.0.1", 0, limit=2**20)
    running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield running
    finally:
        server.close()
        for conversation in running.conversations:
            transport = conversation.writer.transport
            if not transport.is_closing() or transport.get_write_buffer_size():  # asyncio aborts nothing twice
                transport.abort()
        for task in running.tasks:
            task.cancel()
        await asyncio.gather(*running.tasks)
