"""Work after the answer."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.blocking.background import Background, Deferred, call, is_async
from tests.support.clock import eventually

WORD = contextvars.ContextVar("WORD", default="none")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


async def test_everything_deferred_is_done(threads: ThreadPoolExecutor) -> None:
    """... runs coroutines, async functions and plain functions, the last in a thread, each once."""
    done: list[object] = []

    async def later(*words: object) -> None:
        done.append(words)

    deferred = Deferred()
    deferred.add(later())
    deferred.add(later, "a", "b")
    deferred.add(lambda: done.append(threading.current_thread() is threading.main_thread()))
    background = Background(threads)
    background.start(deferred, "e")
    background.start(deferred, "e")
    await background.drain()
    assert sorted(map(str, done)) == ["('a', 'b')", "()", "False"]
    assert len(background) == 0


async def test_a_failure_is_logged(threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    """... logs deferred work that fails, with the event's id, and goes on."""

    def fail() -> None:
        raise ValueError("the mail server is down")

    deferred = Deferred()
    deferred.add(fail)
    background = Background(threads)
    background.start(deferred, "event-7")
    await background.drain()
    assert "deferred work of event event-7 failed" in caplog.text
    assert "the mail server is down" in caplog.text


async def test_work_cannot_end_the_server(threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    """... goes on when deferred work calls sys.exit."""
    deferred = Deferred()
    deferred.add(sys.exit, 3)
    background = Background(threads)
    background.start(deferred, "event-8")
    await background.drain()
    assert "deferred work of event event-8 failed" in caplog.text


async def test_the_end_waits_and_then_does_not(threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    """... gives deferred work its time when the program stops, then cancels it, loudly."""
    stopped = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    deferred = Deferred()
    deferred.add(forever)
    background = Background(threads)
    background.start(deferred, "e")
    await eventually(lambda: len(background) == 1)
    with caplog.at_level(logging.ERROR):
        await background.drain(0.01)
    assert stopped.is_set()
    assert "was not done" in caplog.text


def test_dropped_work_is_never_awaited() -> None:
    """... forgets the deferred work of a refused event without a warning."""

    async def later() -> None: ...

    deferred = Deferred()
    deferred.add(later())
    deferred.add(later)
    deferred.drop()
    assert deferred.take() == []


def test_what_cannot_be_done_is_refused() -> None:
    """... refuses to defer what is neither a function nor a coroutine."""

    async def later() -> None: ...

    deferred = Deferred()
    with pytest.raises(TypeError, match="neither"):
        deferred.add(7)
    coroutine = later()
    with pytest.raises(TypeError, match="no arguments"):
        deferred.add(coroutine, 1)
    coroutine.close()


class Callable:
    async def __call__(self) -> str:
        return "object"


async def test_all_kinds_of_functions_are_called(threads: ThreadPoolExecutor) -> None:
    """... calls async functions on the loop and plain ones in a thread, with the caller's context variables."""

    async def coroutine(word: str) -> str:
        return word

    WORD.set("seen")
    assert await call(coroutine, ("a",), threads) == "a"
    assert await call(functools.partial(coroutine, "b"), (), threads) == "b"
    assert await call(lambda: coroutine("c"), (), threads) == "c"
    assert await call(Callable(), (), threads) == "object"
    assert await call(WORD.get, (), threads) == "seen"
    assert is_async(Callable())
    assert not is_async(lambda: None)
