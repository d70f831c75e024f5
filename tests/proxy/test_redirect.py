"""The listener for plain http."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.errors import ConfigError
from gateway.proxy import redirect
from gateway.proxy.redirect import RedirectServer, redirection
from tests.support.wire import read_answer


def location(head: bytes, port: int = 8443) -> bytes:
    answer = redirection(head, port)
    assert answer.endswith(b"\r\nConnection: close\r\n\r\n")
    if answer.startswith(b"HTTP/1.1 400 "):
        return b"400"
    assert answer.startswith(b"HTTP/1.1 308 ")
    return answer.partition(b"Location: ")[2].partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("head", "where"),
    [
        (b"GET /a?b=c HTTP/1.1\r\nHost: app.example\r\n", b"https://app.example/a?b=c"),
        (b"POST / HTTP/1.0\r\nhost:app.example:80 \r\n", b"https://app.example:8443/"),
        (b"GET / HTTP/1.1\r\nX: y\r\nHost: [2001:db8::1]:8080\r\n", b"https://[2001:db8::1]:8443/"),
        (b"GET //evil.example HTTP/1.1\r\nHost: app.example\r\n", b"https://app.example//evil.example"),
        (b"GET / HTTP/1.1\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: one.example\r\nHost: two.example\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: one.example\r\nhost : two.example\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: app.example@evil.example\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: app.example/path\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: app.example\nX: y\r\n", b"400"),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: app.example\r\n", b"400"),
        (b"GET /\x00 HTTP/1.1\r\nHost: app.example\r\n", b"400"),
        (b"GET / HTTP/2.0\r\nHost: app.example\r\n", b"400"),
        (b"nonsense\r\n", b"400"),
    ],
)
def test_where_it_sends(head: bytes, where: bytes) -> None:
    """... sends to the same page over https, and nowhere that it cannot be sure of."""
    assert location(head) == where


def test_the_usual_port_is_not_named() -> None:
    """... leaves the port of https out."""
    assert location(b"GET / HTTP/1.1\r\nHost: app.example:80\r\n", 443) == b"https://app.example/"


@pytest.fixture
async def listening() -> AsyncIterator[int]:
    server = RedirectServer(8443)
    port = await server.start("127.0.0.1", 0)
    yield port
    server.close()


async def test_it_listens(listening: int) -> None:
    """... answers a head that comes in pieces, and ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listening)
    for piece in (b"GET / HTTP/1.1\r\nHo", b"st: app.example\r\n", b"\r\nrest"):
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(5):
        assert b"Location: https://app.example/\r\n" in await read_answer(reader)
        assert await reader.read() == b""
    writer.close()


async def test_it_has_bounds(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """... takes no endless head, no slow one, and no more connections than it has places."""
    monkeypatch.setattr(redirect, "TIME", 0.05)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", listening)
        writer.write(b"GET / HTTP/1.1\r\nHost: " + b"a" * redirect.MAX_HEAD)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 400 ")
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", listening)
        assert await reader.read() == b""
        writer.close()
        monkeypatch.setattr(redirect, "MAX_CONNECTIONS", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", listening)
        assert await reader.read() == b""
        writer.close()


async def test_closing_ends_connections() -> None:
    """... ends with the gateway, and tells an address that is taken."""
    server = RedirectServer(443)
    port = await server.start("127.0.0.1", 0)
    with pytest.raises(ConfigError, match=r"\$\.listen\.redirect"):
        await RedirectServer(443).start("127.0.0.1", port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    server.close()
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    RedirectServer(443).close()
