"""One backend: which of its addresses a request goes to, and over which connection.

The rules this file obeys (``threats.md`` rows 24, 29 and 42): where a request goes is the operator's word and never
the request's; a connection is used again only when its last answer was read to the end and not a byte more; the next
address is tried only when connecting to the one before failed, so before anything was sent.

A request goes to the address with the fewest requests under way; between equals they take turns. Addresses that fail
their health check or keep breaking off are left out, but never all of them: when no address is well, all are tried.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Final

from gateway.errors import ConfigError, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.address import Address, BackendTls, spoken
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.health import HealthCheck, HealthWatch, ask
from gateway.proxy.limits import EXHAUSTED
from gateway.proxy.pool import FAULTS_ALLOWED, Pool

KEEP: Final = "keep"
"""The backend sees the client's ``Host``."""
REPLACE: Final = "replace"
"""The backend sees its own address as ``Host``."""
FILES_PAUSE: Final = 0.05
"""Seconds until a connection is tried again for which this process had no file (threats.md row 46)."""


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
class Standing:
    """How one address stands. ``healthy``: its checks and its last requests went well."""

    upstream: str
    address: str
    healthy: bool
    idle: int
    busy: int
    faults: int
    why: str


class Upstream:
    """A backend with one or more addresses.

    :param tls: how to speak to ``https`` addresses; None for the system's authorities and no certificate of ours.
    :param health: None to judge addresses by what they do with requests alone.
    :param host: :data:`KEEP`, :data:`REPLACE` or the very name to send as ``Host``.
    :raises ConfigError: an address or a file cannot be used.
    """

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        timeouts: Timeouts | None = None,
        *,
        tls: BackendTls | None = None,
        health: HealthCheck | None = None,
        host: str = KEEP,
    ) -> None:
        where = f"upstream {name}"
        if not urls:
            raise ConfigError(where, "it has no address", 'add urls = ["http://127.0.0.1:3000"]')
        self.name: Final = name
        self.timeouts: Final = timeouts or Timeouts()
        addresses = tuple(Address.parse(url, where) for url in urls)
        self._urls: Final = tuple(urls)
        self._pools: Final = tuple(Pool(name, address) for address in addresses)
        self._only: Final = self._pools[0] if len(self._pools) == 1 else None
        self._turns: Final = tuple(self._pools[first:] + self._pools[:first] for first in range(len(addresses)))
        self._turn = 0
        """Whose turn it is among equals."""
        self._host: Final = host
        self._tls: Final = _context(addresses, tls, where)
        self._server_name: Final = tls.server_name if tls is not None else ""
        self._closed = False
        self._check: Final = health
        self._watch: Final = (
            HealthWatch(self._pools, health, self._open_checked, host=self._fixed_host) if health is not None else None
        )

    def start(self) -> None:
        """Begin to ask the addresses how they are, where that is wanted."""
        if self._watch is not None:
            self._watch.start()

    # ---- connections ----

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
        """A kept connection to the address whose turn it is, when one is open and fresh enough; see :meth:`acquire`."""
        now = monotonic()
        only = self._only
        if only is not None:
            return only.take(now, repeatable=repeatable)
        first, least = None, 0
        for pool in self._turns[self._turn]:
            # The same order as in _in_order, without the sorting: this is every request's way.
            busy = pool.opened + pool.connecting - len(pool.idle)
            if (first is None or busy < least) and pool.sound and pool.out_until <= now:
                first, least = pool, busy
                if not busy:
                    break
        if first is None:
            first = self._in_order(now)[0]
        connection = first.take(now, repeatable=repeatable)
        if connection is not None:
            self._pass_turn(first)
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Give a connection back whose answer was read to the end."""
        pool = connection.pool
        if self._closed or pool is None:
            connection.close()
            return
        if pool.faults:
            pool.succeeded()
        pool.give(connection, monotonic())

    def succeeded(self, connection: UpstreamConnection) -> None:
        """A whole answer came on a connection that cannot be used again."""
        if connection.pool is not None and connection.pool.faults:
            connection.pool.succeeded()

    def failed(self, connection: UpstreamConnection, why: Exception) -> None:
        """The server at the other end of a connection broke off, was silent for too long, or answered nonsense."""
        if connection.pool is not None:
            connection.pool.fault(monotonic(), _told(why, self.name))

    def _in_order(self, now: float) -> list[Pool]:
        """Addresses, the one to take first: available before others, few requests before many, then by turn."""
        return sorted(self._turns[self._turn], key=lambda pool: (not pool.available(now), pool.busy))

    def _pass_turn(self, pool: Pool) -> None:
        self._turn = (self._pools.index(pool) + 1) % len(self._pools)

    async def _connect(self) -> UpstreamConnection:
        timed_out = False
        for pool in self._in_order(monotonic()):
            pool.connecting += 1
            try:
                async with asyncio.timeout(self.timeouts.connect):
                    connection = await self._open(pool)
            except TimeoutError:
                timed_out = True
                pool.fault(monotonic(), "no connection in time", weight=FAULTS_ALLOWED)
            except OSError as error:
                timed_out = False
                pool.fault(monotonic(), spoken(error), weight=FAULTS_ALLOWED)
            else:
                self._pass_turn(pool)
                return connection
            finally:
                pool.connecting -= 1
        if timed_out:
            raise UpstreamTimeout(f"upstream {self.name}: connecting timed out")
        raise UpstreamUnreachable(f"upstream {self.name}: no address takes a connection")

    async def _open(self, pool: Pool) -> UpstreamConnection:
        while True:
            try:
                return await self._open_now(pool)
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                # No fault of the backend's: this process has no file left, and soon will have one again.
                await asyncio.sleep(FILES_PAUSE)

    async def _open_now(self, pool: Pool) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        address = pool.address
        make = partial(UpstreamConnection, pool)
        if address.path:
            _, connection = await loop.create_unix_connection(make, address.path)
        elif address.tls:
            name = self._server_name or address.host
            _, connection = await loop.create_connection(
                make, address.host, address.port, ssl=self._tls, server_hostname=name
            )
        else:
            _, connection = await loop.create_connection(make, address.host, address.port)
        if self._host != KEEP:
            connection.host = self._fixed_host or address.authority.encode("ascii")
        return connection

    async def _open_checked(self, pool: Pool) -> UpstreamConnection:
        """A connection for a health check, which weighs nothing when requests are counted."""
        connection = await self._open(pool)
        connection.leave_pool()
        return connection

    @property
    def _fixed_host(self) -> bytes:
        return b"" if self._host in {KEEP, REPLACE} else self._host.encode("ascii")

    # ---- what is known ----

    def standings(self) -> list[Standing]:
        """How each address stands now."""
        return [
            Standing(self.name, str(pool.address), pool.well, len(pool.idle), pool.busy, pool.fault_total, pool.why)
            for pool in self._pools
        ]

    async def probe(self, timeout: float) -> dict[str, int | Exception]:  # noqa: ASYNC109 - each address has its own
        """Ask every address once: its health check, or HEAD of ``/``.

        :param timeout: seconds for each.
        :returns: by URL the status of its answer, or what went wrong.
        """
        check = HealthCheck(self._check.path if self._check is not None else "/", timeout=timeout)
        method = "GET" if self._check is not None else "HEAD"
        found: dict[str, int | Exception] = {}
        for url, pool in zip(self._urls, self._pools, strict=True):
            try:
                found[url] = await ask(self._open_checked, pool, check, method=method, host=self._fixed_host)
            except (OSError, UpstreamError) as error:
                found[url] = error
        return found

    async def close(self) -> None:
        """Close the idle connections; those in use end with their requests."""
        self._closed = True
        if self._watch is not None:
            await self._watch.close()
        for pool in self._pools:
            pool.drop_idle()
        await asyncio.sleep(0)  # lets the transports tell their protocols


def _context(addresses: Sequence[Address], tls: BackendTls | None, where: str) -> ssl.SSLContext | None:
    if not any(address.tls for address in addresses):
        if tls is not None:
            raise ConfigError(f"{where}.tls", "means nothing without an https address", "https://…, or leave tls out")
        return None
    if tls is not None and not tls.verify and not all(address.local for address in addresses):
        raise ConfigError(
            f"{where}.tls.verify",
            "may be off for addresses of this machine only",
            "name the certificate's authority with ca_file, or its name with server_name",
        )
    return (tls or BackendTls()).context(f"{where}.tls")


def _told(error: Exception, name: str) -> str:
    """The fault without the name of the upstream, which stands in front of it wherever it is told."""
    return spoken(error) if isinstance(error, OSError) else str(error).removeprefix(f"upstream {name}: ")
