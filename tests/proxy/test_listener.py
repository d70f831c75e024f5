"""Listening, and stopping without turning anybody away."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.proxy.listener import Listener, adopt, bind
from tests.support.authority import Authority

WAITING = 40


class Greeter(asyncio.Protocol):
    """Answers each line, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"hello " + data)
        self._transport.close()


async def said(one: socket.socket) -> bytes:
    """What comes until the end."""
    loop = asyncio.get_running_loop()
    found = b""
    async with asyncio.timeout(5):
        while piece := await loop.sock_recv(one, 100):
            found += piece
    return found


async def test_whoever_waits_is_served() -> None:
    """... serves connections that the kernel made before the listener closed, and takes none afterwards."""
    sockets = bind("127.0.0.1", 0)
    listener = Listener(sockets[0], Greeter)
    await listener.start()
    port = listener.port
    # Nothing is awaited here, so the loop has accepted none of them when it is told to stop.
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(WAITING)]
    for one in waiting:
        one.sendall(b"there")
        one.setblocking(False)
    await listener.stop()
    assert [await said(one) for one in waiting] == [b"hello there"] * WAITING
    for one in waiting:
        one.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_whoever_waits_is_served_over_tls(tmp_path: Path) -> None:
    """... makes the handshake of a connection that waited, and gives up on those that make none."""
    authority = Authority(tmp_path)
    listener = Listener(bind("127.0.0.1", 0)[0], Greeter, tls=authority.issue("app.example").server())
    await listener.start()
    context = ssl.create_default_context(cafile=str(authority.file))
    with (
        socket.create_connection(("127.0.0.1", listener.port)) as good,
        socket.create_connection(("127.0.0.1", listener.port)) as bad,
    ):
        bad.sendall(b"GET / HTTP/1.1\r\n\r\n")
        good.setblocking(False)
        opening = asyncio.create_task(asyncio.open_connection(sock=good, ssl=context, server_hostname="app.example"))
        await listener.stop()
        async with asyncio.timeout(5):
            reader, writer = await opening
            writer.write(b"there")
            assert await reader.read() == b"hello there"
            writer.close()


async def test_stopping_what_never_listened() -> None:
    """... lets go of a socket that was never used."""
    sock = bind("127.0.0.1", 0)[0]
    await Listener(sock, Greeter).stop()
    assert sock.fileno() == -1


def test_a_name_may_mean_several_addresses() -> None:
    """... listens on every address of a name, at one port."""
    sockets = bind("localhost", 0)
    try:
        assert len({one.getsockname()[1] for one in sockets}) == 1
        for one in sockets:
            socket.create_connection(one.getsockname()[:2]).close()
    finally:
        for one in sockets:
            one.close()


def test_a_port_can_be_shared_on_purpose_only() -> None:
    """... shares a port with its own processes, and tells a port that another program has."""
    one = bind("127.0.0.1", 0, shared=True)[0]
    port = one.getsockname()[1]
    two = bind("127.0.0.1", port, shared=True)[0]
    with pytest.raises(ConfigError, match=f"port {port} is already in use"):
        bind("127.0.0.1", port)
    one.close()
    two.close()


def test_addresses_that_cannot_be_are_told() -> None:
    """... says which address cannot be listened on."""
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 port 80"):
        bind("192.0.2.1", 80, where="listen.redirect")


def test_only_tcp_is_taken_over(tmp_path: Path) -> None:
    """... refuses a handed-over socket that browsers cannot reach."""
    with socket.create_server(("127.0.0.1", 0)) as good, socket.socket(socket.AF_UNIX) as bad:
        assert adopt([good], "LISTEN_FDS") == [good]
        with pytest.raises(ConfigError, match="LISTEN_FDS"):
            adopt([good, bad], "LISTEN_FDS")
