"""Over two hundred WebSocket conversations, byte for byte the same through the gateway as straight to the backend."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from gateway.proxy.live import LiveSettings
from tests.proxy.test_websocket import ACCEPT, HANDSHAKE
from tests.support.wire import PATIENCE, gateway, request

TEXT, BINARY, CONTINUED, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
FINAL, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
MIB = 1024 * 1024
KEY = b"\x11\x9f\x00\xe3"
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
NO_MASK = b"\0\0\0\0"
"""A mask that changes nothing, for payloads so large that Python would take long to change them."""


@dataclass(frozen=True)
class Case:
    """What a client says behind the handshake, how, and what it offers in it.

    ``step``: bytes written at a time, 0 for all at once. ``lasting``: the backend has no reason to end it, so the
    client closes it.
    """

    name: str
    sent: bytes
    offers: tuple[str, ...] = ()
    step: int = 0
    lasting: bool = True


def frame(opcode: int, payload: bytes = b"", *, first: int = FINAL, masked: bool = True, length: bytes = b"") -> bytes:
    """A client's frame; ``length`` replaces the length's right form, the mask bit aside."""
    size = len(payload)
    mark = 0x80 if masked else 0
    if not length:
        short, long = bytes((min(size, 125),)), b"\x7e" + min(size, 65_535).to_bytes(2)
        length = short if size <= 125 else long if size <= 65_535 else b"\x7f" + size.to_bytes(8)
    mask = (KEY if size <= 70_000 else NO_MASK) if masked else b""
    if masked and mask != NO_MASK:
        payload = bytes(byte ^ KEY[index % 4] for index, byte in enumerate(payload))
    return bytes((first | opcode, mark | length[0])) + length[1:] + mask + payload


def deflated(data: bytes) -> bytes:
    """RFC 7692 section 7.2.1."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def pieces(opcode: int, parts: list[bytes], between: bytes = b"", first: int = 0) -> bytes:
    """A message in fragments, with ``between`` between any two of them; ``first``: bits of the first one."""
    last = len(parts) - 1
    return between.join(
        frame(CONTINUED if index else opcode, part, first=(FINAL if index == last else 0) | (0 if index else first))
        for index, part in enumerate(parts)
    )


def content(opcode: int, size: int) -> bytes:
    """Text or bytes of a size, not the same everywhere."""
    if opcode == TEXT:
        return ("aé€😀z" * (size // 10 + 1)).encode()[:size].decode(errors="ignore").encode().ljust(size, b".")
    return bytes(range(256)) * (size // 256) + bytes(range(size % 256))


def split(data: bytes, count: int) -> list[bytes]:
    """``data`` in ``count`` parts, wherever the cuts fall, in the middle of characters too."""
    size = max(len(data) // count, 1)
    return [*(data[index * size : (index + 1) * size] for index in range(count - 1)), data[(count - 1) * size :]]


def whole_messages() -> Iterator[Case]:
    for size in (0, 1, 125, 126, 127, 65_535, 65_536, MIB):
        for opcode in (TEXT, BINARY):
            data = content(opcode, size)
            kind = "text" if opcode == TEXT else "bytes"
            yield Case(f"{kind} of {size}", frame(opcode, data))
            yield Case(f"{kind} of {size}, compression offered and not used", frame(opcode, data), (DEFLATE,))
            yield Case(f"{kind} of {size}, compressed", frame(opcode, deflated(data), first=FINAL | RSV1), (DEFLATE,))


def fragments() -> Iterator[Case]:
    for opcode in (TEXT, BINARY):
        for size, count in ((0, 2), (1, 3), (200, 2), (200, 50), (65_536, 3), (MIB, 4)):
            data = content(opcode, size)
            yield Case(f"opcode {opcode}, {size} bytes in {count}", pieces(opcode, split(data, count)))
            packed = pieces(opcode, split(deflated(data), count), first=RSV1)
            yield Case(f"opcode {opcode}, {size} bytes compressed in {count}", packed, (DEFLATE,))
    yield Case("empty fragments around", pieces(TEXT, [b"", b"middle", b""]))
    yield Case("two fragmented messages", pieces(TEXT, [b"a", b"b"]) + pieces(BINARY, [b"c", b"d"]))


def controls() -> Iterator[Case]:
    for size in (0, 1, 124, 125):
        for name, opcode in (("ping", PING), ("pong", PONG)):
            control = frame(opcode, bytes(size))
            yield Case(f"{name} of {size} alone", control + frame(TEXT, b"after"))
            yield Case(f"{name} of {size} between fragments", pieces(TEXT, [b"one", b"two", b"three"], control))
            packed = pieces(TEXT, split(deflated(b"some text, some text"), 3), control, first=RSV1)
            yield Case(f"{name} of {size} between compressed fragments", packed, (DEFLATE,))
    yield Case("many pings", frame(PING, b"x") * 100)


def closes() -> Iterator[Case]:
    good = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4401, 4403, 4999)
    bad = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
    for code in (*good, *bad):
        yield Case(f"close {code}", frame(CLOSE, code.to_bytes(2)), lasting=False)
    for reason in (b"plain", "größer".encode(), b"r" * 123, b"bad \xff"):
        yield Case(f"close with {reason[:12]!r}", frame(CLOSE, (4000).to_bytes(2) + reason), lasting=False)
    yield Case("close without a code", frame(CLOSE), lasting=False)
    yield Case("close with half a code", frame(CLOSE, b"\x03"), lasting=False)
    yield Case(
        "close in the middle of a message", frame(TEXT, b"x", first=0) + frame(CLOSE, b"\x03\xe8"), lasting=False
    )
    yield Case("messages, then close", frame(TEXT, b"a") * 20 + frame(CLOSE, b"\x03\xe8done"), lasting=False)


def bad_text() -> Iterator[Case]:
    broken = {
        "lone byte": b"\xff",
        "lone continuation": b"a\x80b",
        "overlong slash": b"\xc0\xaf",
        "overlong NUL": b"\xe0\x80\x80",
        "surrogate": b"\xed\xa0\x80",
        "beyond the last": b"\xf4\x90\x80\x80",
        "cut off": "€".encode()[:2],
        "late": b"x" * 70_000 + b"\xfe",
    }
    for name, data in broken.items():
        yield Case(f"bad UTF-8: {name}", frame(TEXT, data), lasting=False)
        yield Case(f"bad UTF-8 in fragments: {name}", pieces(TEXT, split(data, 2)), lasting=False)
        packed = frame(TEXT, deflated(data), first=FINAL | RSV1)
        yield Case(f"bad UTF-8 compressed: {name}", packed, (DEFLATE,), lasting=False)
    yield Case("a character over two fragments", pieces(TEXT, ["€".encode()[:1], "€".encode()[1:]]))
    yield Case("the same bytes as binary", frame(BINARY, b"\xff\xfe\xc0\xaf"))


def reserved() -> Iterator[Case]:
    for bits in (RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3):
        for opcode in (TEXT, BINARY, PING, CLOSE):
            yield Case(f"bits {bits:#x} on opcode {opcode}", frame(opcode, b"x", first=FINAL | bits), lasting=False)
        yield Case(
            f"bits {bits:#x} on a ping, compression on",
            frame(PING, b"x", first=FINAL | bits),
            (DEFLATE,),
            lasting=bits == RSV1,  # this backend lets that pass
        )
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield Case(f"opcode {opcode}", frame(TEXT, b"before") + frame(opcode, b"x"), lasting=False)


def malformed() -> Iterator[Case]:
    def bad(name: str, sent: bytes, *offers: str) -> Case:
        return Case(name, sent, offers, lasting=False)

    yield bad("continuation of nothing", frame(CONTINUED, b"x"))
    yield bad("a message within a message", frame(TEXT, b"x", first=0) + frame(TEXT, b"y"))
    yield bad("fragmented ping", frame(PING, b"x", first=0))
    yield bad("fragmented close", frame(CLOSE, b"\x03\xe8", first=0))
    yield bad("ping of 126", frame(PING, bytes(126)))
    yield bad("close of 126", frame(CLOSE, b"\x03\xe8" + bytes(124)))
    yield bad("length of 4 EiB", frame(BINARY, b"", length=b"\x7f" + b"\x40" + bytes(7)))
    yield bad("length with its highest bit", frame(BINARY, b"", length=b"\x7f" + b"\x80" + bytes(7)))
    yield bad("broken compression", frame(TEXT, b"\xff\xff\xff\xff", first=FINAL | RSV1), DEFLATE)
    yield Case("unmasked", frame(TEXT, b"plain", masked=False))
    yield Case("length in two bytes without need", frame(TEXT, b"short", length=b"\x7e\x00\x05"))
    yield Case("length in eight bytes without need", frame(TEXT, b"short", length=b"\x7f" + (5).to_bytes(8)))


def deliveries() -> Iterator[Case]:
    stream = (
        frame(TEXT, "größer".encode())
        + frame(BINARY, content(BINARY, 126))
        + pieces(TEXT, [b"one", b"two"], frame(PING, b"p"))
        + frame(BINARY, content(BINARY, 300))
    )
    for step in (1, 2, 3, 5, 7, 13, 64):
        yield Case(f"{step} bytes at a time", stream, step=step)
    yield Case("all at once", stream)
    yield Case("a thousand messages at once", frame(TEXT, b"hello") * 1000)
    yield Case("64-bit length, byte by byte", frame(BINARY, b"short", length=b"\x7f" + (5).to_bytes(8)), step=1)
    yield Case("compressed, byte by byte", frame(TEXT, deflated(b"abc" * 50), first=FINAL | RSV1), (DEFLATE,), step=1)


def handshakes() -> Iterator[Case]:
    hello = frame(TEXT, b"hello, hello, hello, hello")
    for offer in ("chat", "echo", "chat, echo", "echo, chat", "unknown", "unknown, echo"):
        yield Case(f"subprotocol {offer}", hello, (f"Sec-WebSocket-Protocol: {offer}",))
    for parameters in (
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_no_context_takeover; client_no_context_takeover",
        "client_max_window_bits",
        "server_max_window_bits=9",
        "server_max_window_bits=12; client_max_window_bits=12",
        "server_max_window_bits=15; client_max_window_bits",
        "server_max_window_bits=99",
    ):
        packed = frame(TEXT, deflated(b"hello, hello"), first=FINAL | RSV1)
        yield Case(f"deflate {parameters}", hello * 3, (f"{DEFLATE}; {parameters}",))
        if "99" not in parameters:
            yield Case(f"deflate {parameters}, used", packed * 1 + hello, (f"{DEFLATE}; {parameters}",))
    yield Case("an unknown extension", hello, ("Sec-WebSocket-Extensions: x-unknown",))


CASES = [
    *whole_messages(),
    *fragments(),
    *controls(),
    *closes(),
    *bad_text(),
    *reserved(),
    *malformed(),
    *deliveries(),
    *handshakes(),
]


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=("chat", "echo"))
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


@asynccontextmanager
async def both_ways() -> AsyncIterator[tuple[int, int]]:
    """Ports of an echo server and of a gateway in front of it."""
    handler = web.Server(echo)
    server = await asyncio.get_running_loop().create_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        # Without the gateway's own limit, since the backend is to have the last word on every frame.
        async with gateway(f"http://127.0.0.1:{port}", live=LiveSettings(max_message=0)) as front:
            yield port, front.port
    finally:
        server.close()
        await handler.shutdown(0)


async def converse(port: int, case: Case) -> tuple[list[bytes], bytes]:
    """The WebSocket's own lines of the handshake's answer, and all that came behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    sent = case.sent + (frame(CLOSE, (1000).to_bytes(2)) if case.lasting else b"")
    said = b""
    async with asyncio.timeout(PATIENCE * 2):
        writer.write(request("GET /ws HTTP/1.1", *HANDSHAKE, *case.offers))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        hearing = asyncio.create_task(reader.read())
        try:
            for at in range(0, len(sent), case.step or len(sent)):
                writer.write(sent[at : at + (case.step or len(sent))])
                await writer.drain()
                if case.step:
                    await asyncio.sleep(0)
            said = await hearing
        finally:
            hearing.cancel()
            writer.transport.abort()
    lines = re.findall(rb"(?i)\r\n(sec-websocket-[^\r]*|upgrade:[^\r]*|connection:[^\r]*)", head)
    return sorted(line.lower() for line in lines), said


def test_there_are_enough_of_them() -> None:
    """has over two hundred conversations to compare, each with a name of its own."""
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


async def test_every_conversation_is_the_same() -> None:
    """carries every conversation byte for byte: what the backend says is what the client hears, up to the last one."""
    different: list[str] = []
    silent: list[str] = []
    async with both_ways() as (direct, through):
        for case in CASES:
            expected = await converse(direct, case)
            heard = await converse(through, case)
            if heard != expected:
                different.append(case.name)
            if case.lasting and not expected[1].endswith(b"\x88\x02\x03\xe8"):
                silent.append(case.name)
    assert different == []
    # The comparison means something: the backend did talk to the end where it had no reason to hang up.
    assert silent == []


@pytest.mark.parametrize("step", [1, 3, 1000, 0])
async def test_what_a_backend_sends_is_the_same(step: int) -> None:
    """passes a backend's frames on as they are, whatever they are: masked, fragmented, reserved, cut off by the end."""
    stream = b"".join(
        (
            frame(TEXT, b"masked, although from a backend"),
            frame(BINARY, content(BINARY, 126), masked=False),
            frame(TEXT, b"start", first=RSV1 | RSV2, masked=False),
            frame(PING, b"p" * 125, masked=False),
            frame(CONTINUED, b"end", masked=False),
            frame(11, b"reserved", masked=False),
            frame(BINARY, content(BINARY, 5_000), masked=False),
            frame(BINARY, b"short", masked=False, length=b"\x7f" + (5).to_bytes(8)),
            b"\x82\x7f\x00\x00",
        )
    )

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(head + b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n")
        for at in range(0, len(stream), step or len(stream)):
            writer.write(stream[at : at + (step or len(stream))])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with gateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as front:
        heard = await front.speak(request("GET /ws HTTP/1.1", *HANDSHAKE), until_close=True)
    server.close()
    assert heard.partition(b"\r\n\r\n")[2] == stream
