"""A listener for plain http that knows one answer: the same page over https.

The rules this file obeys (``threats.md`` rows 16 and 36): nothing is ever forwarded from here, nothing that a client
sends is kept, and where it is sent is made of a host name of letters, digits, dots and hyphens and of a target without
control characters or spaces, or it gets a 400. 308 keeps the method (RFC 9110 section 15.4.9).
"""

from __future__ import annotations

import asyncio
import re
from typing import Final, cast

from gateway.proxy.listener import listen_error

MAX_HEAD: Final = 8_192
"""Bytes of a request that is to be redirected."""
TIME: Final = 10.0
"""Seconds for a connection, all of it."""
MAX_CONNECTIONS: Final = 512
"""Connections at once; each is over after one answer."""
HTTPS_PORT: Final = 443

_REQUEST: Final = re.compile(rb"[A-Z]{1,16} (/[\x21-\x7e]*) HTTP/1\.[01]\r\n")
_HOST: Final = re.compile(
    rb"\r\n[Hh][Oo][Ss][Tt]:[ \t]*([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?[ \t]*(?=\r\n)"
)
_ANY_HOST: Final = re.compile(rb"\r\n[Hh][Oo][Ss][Tt][ \t]*:")
_BAD: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def redirection(head: bytes, port: int) -> bytes:
    """The answer to a request's head.

    A client that named a port came to this very listener, so it is sent to ``port``; one that named none came to port
    80, wherever that was mapped to, and is sent to the port of https.
    """
    asked = _REQUEST.match(head)
    hosts = _HOST.findall(head)
    if asked is None or len(hosts) != 1 or len(_ANY_HOST.findall(head)) != 1:
        return _BAD
    host, named_port = hosts[0]
    authority = host + (b":%d" % port if named_port and port != HTTPS_PORT else b"")
    return (
        b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://%b%b\r\n"
        b"Cache-Control: no-store\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % (authority, asked[1])
    )


class RedirectServer:
    """The listener.

    :param port: of the public listener.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener: asyncio.Server | None = None
        self._clients: set[_Client] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port.

        :raises ConfigError: the address cannot be listened on.
        """
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: _Client(self._port, self._clients), host, port
            )
        except OSError as error:
            raise listen_error("$.listen.redirect", host, port, error) from error
        return int(self._listener.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop."""
        if self._listener is not None:
            self._listener.close()
        for client in list(self._clients):
            client.end()


class _Client(asyncio.Protocol):
    def __init__(self, port: int, clients: set[_Client]) -> None:
        self._port = port
        self._clients = clients
        self._head = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's are not of that class
        self._transport = transport
        if len(self._clients) >= MAX_CONNECTIONS:
            transport.abort()
            return
        self._clients.add(self)
        self._timer = asyncio.get_running_loop().call_later(TIME, self.end)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end >= 0:
            transport.write(redirection(self._head[: end + 2], self._port))
            transport.close()
        elif len(self._head) > MAX_HEAD:
            transport.write(_BAD)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._clients.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def end(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
