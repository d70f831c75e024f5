"""Threads for functions that may block.

The rule this file obeys: **a function that never returns keeps nobody waiting, the end of the program neither**. The
standard library's pool joins its threads when the interpreter ends, so that one plain function stuck in a call without
a time limit would keep a stopped server until the platform kills it, other work included. These are daemon threads. Nor
does work that nobody waits for any more pile up behind functions that are stuck.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Executor):
    """A pool of at most ``most`` threads, made as they are needed; more work waits in line.

    :param name: of the threads, with a number behind it.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._count = 0
        self._idle = 0
        self._closed = False

    def __len__(self) -> int:
        """How much waits in line."""
        return len(self._waiting)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function called in a thread.

        :raises RuntimeError: the pool was shut down.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the threads were let go")
            while self._waiting and self._waiting[0][0].cancelled():
                self._waiting.popleft()
            self._waiting.append((future, lambda: fn(*args, **kwargs)))
            if self._idle < len(self._waiting) and self._count < self._most:
                self._count += 1
                threading.Thread(target=self._work, name=f"{self._name} {self._count}", daemon=True).start()
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - the base class's
        """Take no more work, and let the threads go as they finish theirs; nobody waits for them.

        :param wait: makes no difference.
        :param cancel_futures: forget what waits in line.
        """
        with self._changed:
            self._closed = True
            forgotten = [future for future, _ in self._waiting] if cancel_futures else []
            if cancel_futures:
                self._waiting.clear()
            self._changed.notify_all()
        for future in forgotten:
            future.cancel()

    def _work(self) -> None:
        while (item := self._next()) is not None:
            future, call = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - whoever waits is told
                    future.set_exception(error)
            del item, future, call  # or the last arguments live as long as the thread

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """What to do next; None when there is nothing more to come."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._waiting.popleft()
