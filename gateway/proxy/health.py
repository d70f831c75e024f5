"""Asking a backend's addresses how they are, in times when nobody else asks them.

The rule this file obeys: *a check tells where requests go, never whether one may pass.* Checks carry no credential and
nothing of any request, go to the addresses of the configuration only, and read the answer as strictly as any other.

One bad answer proves little and so does one good one: an address changes sides after a number of equal results in a
row. Only the first result of all counts alone, since nothing is known before it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from gateway.errors import UpstreamProtocolError
from gateway.proxy.address import spoken
from gateway.proxy.connection import MAX_INTERIM, UpstreamConnection
from gateway.proxy.pool import Pool

_log = logging.getLogger(__name__)

JITTER: Final = 0.1
"""Part of the interval by which checks vary, so that many gateways do not ask all at once."""

Open = Callable[[Pool], Awaitable[UpstreamConnection]]
"""Opens a connection to an address, without a deadline of its own that would matter here."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What is asked and what counts. ``every`` and ``timeout`` in seconds; ``statuses`` are the good ones."""

    path: str
    every: float = 10.0
    timeout: float = 2.0
    healthy_after: int = 2
    unhealthy_after: int = 3
    statuses: frozenset[int] = frozenset(range(200, 400))


async def ask(open_: Open, pool: Pool, check: HealthCheck, *, method: str = "GET", host: bytes = b"") -> int:
    """Ask one address once, on a connection of its own.

    :param host: the ``Host`` to send; the address's own when empty.
    :returns: the status of its answer.
    :raises OSError: it cannot be reached; a :class:`TimeoutError` when that, or the answer, takes too long.
    :raises UpstreamProtocolError: what came is no answer.
    """
    async with asyncio.timeout(check.timeout):
        connection = await open_(pool)
        try:
            authority = host or pool.address.authority.encode("ascii")
            connection.write(
                b"%b %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: session-gateway\r\nAccept: */*\r\nConnection: close\r\n\r\n"
                % (method.encode("ascii"), check.path.encode("ascii"), authority)
            )
            for _ in range(MAX_INTERIM):
                head = await connection.read_head()
                if not head.interim:
                    return head.status
            raise UpstreamProtocolError("interim answers without end")
        finally:
            connection.close()


class HealthWatch:
    """Checks the addresses of one backend until it is closed.

    :param host: as in :func:`ask`.
    """

    def __init__(self, pools: tuple[Pool, ...], check: HealthCheck, open_: Open, *, host: bytes = b"") -> None:
        self._pools = pools
        self._check = check
        self._open = open_
        self._host = host
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, unless it has begun."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._watch(pool)) for pool in self._pools]

    async def close(self) -> None:
        """Stop asking."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, pool: Pool) -> None:
        verdict = _Verdict(pool, self._check)
        while True:
            verdict.take(await self._fault(pool))
            await asyncio.sleep(self._check.every * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret

    async def _fault(self, pool: Pool) -> str:
        """What is wrong with an address; empty when it is well."""
        try:
            status = await ask(self._open, pool, self._check, host=self._host)
        except TimeoutError:
            return f"no answer to a health check within {self._check.timeout:g} s"
        except OSError as error:
            return f"health check: {spoken(error)}"
        except UpstreamProtocolError as error:
            return f"health check: {error}"
        return "" if status in self._check.statuses else f"health check: status {status}"


class _Verdict:
    """Counts results in a row and turns the address's standing."""

    def __init__(self, pool: Pool, check: HealthCheck) -> None:
        self._pool = pool
        self._check = check
        self._row = 0
        """Results in a row that speak against what is believed now."""
        self._first = True

    def take(self, fault: str) -> None:
        pool, first = self._pool, self._first
        self._first = False
        if pool.sound is not bool(fault):
            self._row = 0
            return
        self._row += 1
        needed = self._check.unhealthy_after if pool.sound else self._check.healthy_after
        if not first and self._row < needed:
            return
        self._row = 0
        pool.sound = not fault
        if fault:
            pool.why = fault
            pool.drop_idle()
            _log.warning("upstream %s: %s gets no more requests: %s", pool.upstream, pool.address, fault)
        else:
            pool.succeeded()
            _log.warning("upstream %s: %s gets requests again", pool.upstream, pool.address)
