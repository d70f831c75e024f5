"""A clock that stands still until a test moves it, with the sleeps that hang on it.

Hand ``FakeClock()`` wherever a :class:`gateway.core.ports.Clock` is wanted, and its ``sleep`` where a component takes
the function that it waits with. Time then passes only by:

* ``advance(seconds)``: both clocks move, sleepers whose time has come wake when the event loop next turns;
* ``await run_for(seconds)``: the same, from sleeper to sleeper, giving tasks the loop in between, as real time would;
* ``jump(seconds)``: only the wall clock moves, as when NTP steps it.

``await settle()`` gives every task that is ready its turns without moving time. ``NOW`` is where the wall clock starts;
the token forge uses the same moment. ``await eventually(condition)`` waits for real I/O, which needs no clock of ours.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Final

NOW: Final = 1_800_000_000.0
"""Wall-clock seconds since the epoch (January 2027)."""

_START_MONOTONIC: Final = 5_000.0
_TURNS: Final = 40
"""Loop turns that ``settle`` gives: more than the longest chain of awaits without I/O in the house."""


async def settle(turns: int = _TURNS) -> None:
    """Give other tasks the loop until whatever needs no I/O and no time is done."""
    for _ in range(turns):
        await asyncio.sleep(0)


class FakeClock:
    """Implements :class:`gateway.core.ports.Clock`."""

    def __init__(self, now: float = NOW) -> None:
        self._now = now
        self._monotonic = _START_MONOTONIC
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward and wake who is due."""
        assert seconds >= 0
        self._now += seconds
        self._monotonic += seconds
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)

    def jump(self, seconds: float) -> None:
        """Step the wall clock alone, forward or back."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been moved this far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), sleeper))
        await sleeper

    async def run_for(self, seconds: float) -> None:
        """Let this much time pass, waking sleepers in order; each gets the loop before time moves on."""
        end = self._monotonic + seconds
        await settle()
        while True:
            due = next((at for at, _, sleeper in sorted(self._sleepers[:]) if not sleeper.done()), None)
            if due is None or due > end:
                break
            self.advance(max(0.0, due - self._monotonic))
            await settle()
        self.advance(max(0.0, end - self._monotonic))
        await settle()


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until real I/O has made ``condition`` true; five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)
