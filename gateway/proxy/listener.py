"""Listening sockets, and how to stop listening without turning anybody away who is in the door.

The rule this file obeys: **whoever the kernel has connected is served.** Connections wait in the kernel until they are
accepted, and closing a listening socket resets them all; so everything that waits is accepted first, and only then is
the socket closed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from gateway.errors import ConfigError
from gateway.proxy.limits import EXHAUSTED
from gateway.proxy.tls import CLOSE_TIME, HANDSHAKE_TIME

BACKLOG: Final = 1024
"""Connections that may wait to be accepted."""
ACCEPTED: Final = 16
"""Connections that are accepted in one turn of the loop. Each takes a file before it is known whether it may stay, so a
crowd must not take those that requests under way need (``threats.md`` row 46)."""
_TURNS: Final = 20
"""Turns of the loop that closing a socket may take; uvloop needs one or two."""
_MAX_WAITING: Final = 16_384
"""Connections that are still taken when listening ends, should they never cease to come."""

_log = logging.getLogger(__name__)

Make = Callable[[], asyncio.Protocol]
"""Makes the protocol of a connection."""


def bind(host: str, port: int, *, shared: bool = False, where: str = "listen.public") -> list[socket.socket]:
    """Sockets for an address, one for each that its name means; not listening yet.

    :param port: 0 for any free one, the same for all.
    :param shared: other sockets may have the same address (``SO_REUSEPORT``); the kernel spreads connections over them.
    :raises ConfigError: the address cannot be listened on.
    """
    bound: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            bound.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.settimeout(0)
            one.bind((address[0], port, *address[2:]))
            port = one.getsockname()[1]
            # Listening begins here, and not only in the loop, so that an address that another program has is told now.
            one.listen(BACKLOG)
    except OSError as error:
        for one in bound:
            one.close()
        raise listen_error(where, host, port, error) from error
    return bound


class Listener:
    """One listening socket of the public listener.

    :param sock: bound; this class closes it.
    """

    def __init__(self, sock: socket.socket, make: Make, *, tls: ssl.SSLContext | None = None) -> None:
        self._sock = sock
        self._make = make
        self._tls = tls
        # The loop takes these two only beside a context.
        self._handshake = None if tls is None else HANDSHAKE_TIME
        self._goodbye = None if tls is None else CLOSE_TIME
        self._server: asyncio.Server | None = None
        self._copy: socket.socket | None = None
        self._late: list[asyncio.Task[None]] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._sock.getsockname()[1])

    async def start(self) -> None:
        """Take connections from now on."""
        loop = asyncio.get_running_loop()
        # A copy, since the loop closes what it is given, and this class has to accept once more after that.
        self._copy = copy = self._sock.dup()
        copy.settimeout(0)
        self._server = await loop.create_server(
            self._make,
            sock=copy,
            backlog=ACCEPTED,
            ssl=self._tls,
            ssl_handshake_timeout=self._handshake,
            ssl_shutdown_timeout=self._goodbye,
        )
        # The loop made it the length of the queue as well.
        self._sock.listen(BACKLOG)

    async def stop(self) -> None:
        """Accept whoever waits, then listen no more. Stopping again is harmless.

        The connections of those who waited appear in the turns of the loop that follow.
        """
        if self._sock.fileno() < 0:
            return
        server, self._server = self._server, None
        if server is not None:
            server.close()
            # asyncio closes its copy at once, uvloop a turn later; until then the kernel would still connect people.
            for _ in range(_TURNS):
                if self._copy is None or self._copy.fileno() < 0:
                    break
                await asyncio.sleep(0)
        waiting = self._accept_all()
        self._sock.close()
        self._late = [asyncio.create_task(self._serve(one)) for one in waiting]

    async def give_up(self) -> None:
        """Let go of connections that waited and still have made no handshake."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    def _accept_all(self) -> list[socket.socket]:
        waiting: list[socket.socket] = []
        self._sock.settimeout(0)
        while len(waiting) < _MAX_WAITING:
            try:
                one, _ = self._sock.accept()
            except BlockingIOError:
                break
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno in EXHAUSTED:
                    _log.warning("connections that waited are lost: no file is left for them")
                break
            one.settimeout(0)
            waiting.append(one)
        return waiting

    async def _serve(self, one: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._make,
                one,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake,
                ssl_shutdown_timeout=self._goodbye,
            )
        except (OSError, ConnectionError):
            one.close()  # gone meanwhile, or no handshake


def adopt(sockets: Sequence[socket.socket], where: str) -> list[socket.socket]:
    """Listening sockets that another program opened for us.

    :raises ConfigError: one of them is no TCP socket.
    """
    for one in sockets:
        if one.type != socket.SOCK_STREAM or one.family not in {socket.AF_INET, socket.AF_INET6}:
            raise ConfigError(where, "the socket that was handed over is no TCP socket", "ListenStream=[::]:443")
        one.settimeout(0)
    return list(sockets)


def listen_error(where: str, host: str, port: int, error: OSError) -> ConfigError:
    """Why an address cannot be listened on, and what to try."""
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            where, f"port {port} is already in use", "stop the other program or choose another port with --port"
        )
    if error.errno == errno.EACCES:
        return ConfigError(where, f"port {port} needs more rights than this process has", "use a port above 1023")
    return ConfigError(where, f"{host} port {port}: {error.strerror or error}", "check the address")
