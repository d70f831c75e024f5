"""One backend: its addresses and its idle connections.

The rules this file obeys (``threats.md`` rows 24, 29 and 42): where a request goes is the operator's word and never
the request's; a connection is used again only when its last answer was read to the end and not a byte more; the next
address is tried only when connecting to the one before failed, so before anything was sent.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.errors import ConfigError, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.connection import UpstreamConnection

_log = logging.getLogger(__name__)

MAX_IDLE: Final = 64
"""Idle connections kept per upstream."""
MAX_IDLE_TIME: Final = 15.0
"""Seconds that an idle connection is kept."""
FRESH_ENOUGH: Final = 1.0
"""Seconds after its last answer within which a connection is used for a request that must not be sent twice. Servers
close idle connections after 2 s (gunicorn), 5 s (Node, uvicorn) or more, and a request that crosses such a close is
lost."""

_LINK_LOCAL: Final = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fe80::/10"))
_METADATA_NAMES: Final = frozenset({"metadata", "metadata.google.internal", "instance-data"})
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines in seconds.

    ``first_byte`` runs from the last byte of the request that was sent; ``idle`` between two pieces of a body, either
    way.
    """

    connect: float = 5.0
    first_byte: float = 30.0
    idle: float = 300.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where one server of the backend listens."""

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, url: str, where: str) -> Address:
        """Read ``http://host:port`` or ``https://host:port``.

        :raises ConfigError: it is anything else, or a cloud's metadata service.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigError(where, f"{url!r} is not a URL", "write http://127.0.0.1:3000") from None
        host = parts.hostname
        if parts.scheme not in _PORTS or not host:
            raise ConfigError(where, f"{url!r} is not an http or https URL", "write http://127.0.0.1:3000")
        if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username is not None:
            raise ConfigError(
                where, f"{parts.hostname}: an upstream is scheme, host and port only", "leave out the rest"
            )
        try:
            metadata = any(ipaddress.ip_address(host) in network for network in _LINK_LOCAL)
        except ValueError:
            metadata = host.rstrip(".").lower() in _METADATA_NAMES
        if metadata:
            raise ConfigError(where, f"{host} is a metadata service, not a backend", "name the application's address")
        return cls(host, port or _PORTS[parts.scheme], parts.scheme == "https")


class Upstream:
    """A backend with one or more addresses.

    :raises ConfigError: an address cannot be used.
    """

    def __init__(self, name: str, urls: Sequence[str], timeouts: Timeouts | None = None) -> None:
        if not urls:
            raise ConfigError(f"upstream {name}", "it has no address", 'add urls = ["http://127.0.0.1:3000"]')
        self.name: Final = name
        self.timeouts: Final = timeouts or Timeouts()
        self._addresses = tuple(Address.parse(url, f"upstream {name}") for url in urls)
        self._last_good = 0
        self._idle: deque[UpstreamConnection] = deque()
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def acquire(self, *, repeatable: bool, fresh: bool = False) -> UpstreamConnection:
        """A connection for one request.

        :param repeatable: the request may be sent again if the connection turns out to be dead.
        :param fresh: do not take one from the pool.
        :raises UpstreamUnreachable: no address takes a connection.
        :raises UpstreamTimeout: connecting takes too long.
        """
        connection = None if fresh else self.take_idle(repeatable=repeatable)
        return connection or await self._connect()

    def take_idle(self, *, repeatable: bool) -> UpstreamConnection | None:
        """The connection that was given back last, when one is open and fresh enough; see :meth:`acquire`."""
        now = asyncio.get_running_loop().time()
        self._drop_old(now)
        while self._idle:
            connection = self._idle[-1]
            if not repeatable and now - connection.parked_at > FRESH_ENOUGH:
                break
            self._idle.pop()
            if connection.usable:
                connection.answered = False
                return connection
            connection.close()
        return None

    def release(self, connection: UpstreamConnection) -> None:
        """Give a connection back whose answer was read to the end."""
        if self._closed or not connection.usable or len(self._idle) >= MAX_IDLE:
            connection.close()
            return
        connection.parked_at = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def _drop_old(self, now: float) -> None:
        while self._idle and (now - self._idle[0].parked_at > MAX_IDLE_TIME or not self._idle[0].usable):
            self._idle.popleft().close()

    async def _connect(self) -> UpstreamConnection:
        timed_out = False
        for offset in range(len(self._addresses)):
            index = (self._last_good + offset) % len(self._addresses)
            address = self._addresses[index]
            try:
                connection = await self._open(address)
            except TimeoutError:
                timed_out = True
                _log.warning("upstream %s: no connection to %s:%d in time", self.name, address.host, address.port)
            except OSError as error:
                timed_out = False
                _log.warning("upstream %s: %s:%d: %s", self.name, address.host, address.port, error.strerror or error)
            else:
                self._last_good = index
                return connection
        if timed_out:
            raise UpstreamTimeout(f"upstream {self.name}: connecting timed out")
        raise UpstreamUnreachable(f"upstream {self.name}: no address takes a connection")

    async def _open(self, address: Address) -> UpstreamConnection:
        tls: ssl.SSLContext | None = None
        if address.tls:
            if self._tls is None:
                self._tls = ssl.create_default_context()
            tls = self._tls
        async with asyncio.timeout(self.timeouts.connect):
            _, connection = await asyncio.get_running_loop().create_connection(
                UpstreamConnection, address.host, address.port, ssl=tls
            )
        return connection

    async def close(self) -> None:
        """Close the idle connections; those in use end with their requests."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # lets the transports tell their protocols
