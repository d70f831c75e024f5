"""What a gateway knows from its start to its end, whatever its configuration becomes meanwhile.

A reload must forgive nobody: who signed out stays signed out, and a session that learned its networks keeps them. So
these live here and not with the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from gateway.adapters.memory import MemoryDenyList
from gateway.adapters.network_memory import InProcessNetworks
from gateway.clock import SystemClock
from gateway.observe.metrics import CountingSink, Metrics
from gateway.wiring.shared import SharedParts

if TYPE_CHECKING:
    from gateway.core.ports import AuditSink, Clock


class Lasting:
    """The clock, the memories, the figures, the client for keys, and the parts that configurations share.

    :param audit: where decisions go at first.
    """

    def __init__(self, audit: AuditSink) -> None:
        self.clock: Clock = SystemClock()
        self.deny_list = MemoryDenyList(self.clock)
        self.networks = InProcessNetworks()
        self.metrics = Metrics()
        self.sink = CountingSink(self.metrics, audit)
        self.parts = SharedParts()
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """For requests to the issuer and the account service. Needs a running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=True)
        return self._session

    async def close(self) -> None:
        """Close what is still open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
