"""One answer for one event, however often it is delivered.

Identity Platform does not repeat events on purpose, but networks and proxies do. A repetition gets the answer of the
first delivery, also while that is still being made, and nothing runs twice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from gateway.core.ports import Clock

WINDOW: Final = 600.0
"""Seconds that an answer is kept: ``exp`` - ``iat`` of the events of the official emulator (section 1.4)."""

MAX_ANSWERS: Final = 10_000
"""Answers kept, oldest out first: with claims of 1000 characters, some twenty megabytes at most."""

_T = TypeVar("_T")


class Answers(Generic[_T]):
    """Remembers answers by the name of the question."""

    def __init__(self, clock: Clock, *, window: float = WINDOW, limit: int = MAX_ANSWERS) -> None:
        self._clock = clock
        self._window = window
        self._limit = limit
        self._kept: OrderedDict[Hashable, tuple[float, asyncio.Task[_T]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def once(self, name: Hashable, make: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """The answer to ``name``: a remembered one, the one being made, or else what ``make`` gives.

        Whoever waits may go away; the making goes on. An exception is no answer and is not remembered.
        """
        now = self._clock.monotonic()
        self._forget(now)
        entry = self._kept.get(name)
        if entry is None:
            task = asyncio.get_running_loop().create_task(make(), name="event")
            self._kept[name] = (now + self._window, task)
            task.add_done_callback(lambda done: self._settle(name, done))
        else:
            task = entry[1]
        return await asyncio.shield(task)

    def when_made(self, name: Hashable, then: Callable[[_T], None]) -> None:
        """Hand the answer to ``then`` once it is made, if it is."""
        entry = self._kept.get(name)
        if entry is not None:
            entry[1].add_done_callback(
                lambda done: None if done.cancelled() or done.exception() is not None else then(done.result())
            )

    def running(self) -> list[asyncio.Task[_T]]:
        """Answers being made."""
        return [task for _, task in self._kept.values() if not task.done()]

    def clear(self) -> None:
        """Forget all answers."""
        self._kept.clear()

    def _settle(self, name: Hashable, done: asyncio.Task[_T]) -> None:
        entry = self._kept.get(name)
        if entry is not None and entry[1] is done and (done.cancelled() or done.exception() is not None):
            del self._kept[name]

    def _forget(self, now: float) -> None:
        while self._kept:
            name, (until, task) = next(iter(self._kept.items()))
            if until > now and len(self._kept) < self._limit:
                return
            if not task.done():
                # The oldest is still being made, which only a flood can bring about: it is kept, and so are the others.
                return
            del self._kept[name]
