"""Work that goes on after an answer: it is kept alive until it is done or the program stops."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, Final

GRACE: Final = 10.0
"""Seconds that deferred work may take once the program stops: Cloud Run's own figure between SIGTERM and SIGKILL."""

_log = logging.getLogger(__name__)


class Deferred:
    """What the functions of one event have deferred. ``add`` may be called from any thread."""

    __slots__ = ("_works",)

    def __init__(self) -> None:
        self._works: list[tuple[Any, tuple[Any, ...]]] = []

    def add(self, work: Any, *arguments: Any) -> None:
        """Take a function and its arguments, or a coroutine.

        :raises TypeError: neither, or a coroutine with arguments.
        """
        if inspect.iscoroutine(work):
            if arguments:
                raise TypeError("a coroutine takes no arguments any more")
        elif not callable(work):
            raise TypeError(f"{type(work).__name__} is neither a function nor a coroutine")
        self._works.append((work, arguments))

    def drop(self) -> None:
        """Forget everything."""
        for work, _ in self._works:
            if inspect.iscoroutine(work):
                work.close()  # or Python warns that nobody awaited it
        self._works.clear()

    def take(self) -> list[tuple[Any, tuple[Any, ...]]]:
        """Hand over everything, once."""
        works, self._works = self._works, []
        return works


class Background:
    """Runs deferred work.

    :param executor: for plain functions.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, deferred: Deferred, event_id: str | None) -> None:
        """Start what was deferred, all at once."""
        for work, arguments in deferred.take():
            self._keep(_logged(self._run(work, arguments), event_id))

    async def drain(self, grace: float = GRACE) -> None:
        """Wait for everything, at most ``grace`` seconds; cancel what is left then, loudly."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=grace)
            for task in left:
                _log.error("deferred work was not done %g seconds after the end; it is cancelled", grace)
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="deferred")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, work: Any, arguments: tuple[Any, ...]) -> None:
        if inspect.iscoroutine(work):
            await work
        else:
            await call(work, arguments, self._executor)


async def _logged(work: Coroutine[Any, Any, None], event_id: str | None) -> None:
    try:
        await work
    except (Exception, SystemExit):  # noqa: BLE001 - whatever it raises, nobody is left to be told
        _log.exception("deferred work of event %s failed", event_id)


async def call(function: Callable[..., Any], arguments: tuple[Any, ...], executor: Executor) -> Any:
    """What ``function`` returns; a plain one runs in a thread, so that it may block."""
    if is_async(function):
        return await function(*arguments)
    result = await asyncio.get_running_loop().run_in_executor(executor, _in_context(function), *arguments)
    return await result if inspect.isawaitable(result) else result


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine: ``async def``, a partial of one, or an object with such a ``__call__``."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - the method is what is looked at


def _in_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with the context variables of the caller, as :func:`asyncio.to_thread` has it."""
    context = contextvars.copy_context()
    return lambda *arguments: context.run(function, *arguments)
