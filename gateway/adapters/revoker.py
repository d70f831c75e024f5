"""Ends all sessions of users whose session turned up where it should not, at a bounded rate.

The rule this file obeys: *revoking is the heavy hammer.* It signs a person out on every device, and whoever can make it
happen can annoy them, so it is off unless the operator names levels, and what exceeds the limit is dropped, loudly.
The refusal that led here stands in any case.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from gateway.errors import DependencyError

if TYPE_CHECKING:
    from gateway.core.claims import Principal
    from gateway.core.ports import Clock

PERIOD: Final = 3600.0
"""Seconds that the limit is about."""

_log = logging.getLogger(__name__)


class LimitedRevoker:
    """Implements :class:`gateway.core.ports.Revoker`.

    :param revoke: ends the sessions; may raise :class:`~gateway.errors.DependencyError`.
    :param limit: users per hour; one user counts once in that time.
    """

    def __init__(self, revoke: Callable[[Principal], Awaitable[None]], clock: Clock, *, limit: int) -> None:
        self._revoke = revoke
        self._clock = clock
        self._limit = limit
        self._done: deque[tuple[float, Principal]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped = 0

    def revoke_soon(self, principal: Principal) -> None:
        """Revoke in the background, unless that was done within the hour or the limit is reached."""
        now = self._clock.monotonic()
        while self._done and self._done[0][0] <= now - PERIOD:
            self._done.popleft()
        if any(principal == other for _, other in self._done):
            return
        if len(self._done) >= self._limit:
            self.dropped += 1
            _log.error("network.revoke_limit: %d users were revoked within an hour; further ones are not", self._limit)
            return
        self._done.append((now, principal))
        task = asyncio.get_running_loop().create_task(self._run(principal))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let what has begun end."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, principal: Principal) -> None:
        try:
            await self._revoke(principal)
        except DependencyError as error:
            _log.error("a suspicious session's user could not be revoked: %s", error)
