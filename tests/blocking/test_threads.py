"""Threads for functions that may block."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError
from typing import Any

import pytest

from gateway.blocking.threads import Threads

PATIENCE = 20.0
"""Seconds until a test that waits gives up."""


def test_results_and_failures() -> None:
    """the kit gets what a function in a thread returns or raises, whatever that is."""
    threads = Threads(2, "worker")
    assert threads.submit(lambda a, b: (a, b), 1, b=2).result(PATIENCE) == (1, 2)

    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        threads.submit(leave).result(PATIENCE)
    assert threads.submit(lambda: threading.current_thread().name).result(PATIENCE).startswith("worker ")
    threads.shutdown()


def test_no_more_threads_than_allowed() -> None:
    """the kit has no more functions at work at once than it has threads, and all get their turn."""
    threads, release = Threads(3, "worker"), threading.Event()
    started = threading.Semaphore(0)

    def work() -> str:
        started.release()
        release.wait(PATIENCE)
        return threading.current_thread().name

    futures = [threads.submit(work) for _ in range(7)]
    for _ in range(3):
        assert started.acquire(timeout=PATIENCE)
    assert sum(future.running() for future in futures) == 3
    release.set()
    assert len({future.result(PATIENCE) for future in futures}) <= 3
    threads.shutdown()


def test_an_idle_thread_is_used_again() -> None:
    """the kit makes no thread while one has nothing to do."""
    threads = Threads(9, "worker")
    names = set()
    for _ in range(5):
        names.add(threads.submit(lambda: threading.current_thread().name).result(PATIENCE))
        # A result is there a moment before its thread is idle.
        until = time.monotonic() + PATIENCE
        while threads._idle == 0 and time.monotonic() < until:
            threading.Event().wait(0.001)
    assert names == {"worker 1"}
    threads.shutdown()


def test_what_waits_is_forgotten_at_the_end() -> None:
    """the kit calls nothing any more that still waited when it was closed, and takes nothing new."""
    threads, release, begun = Threads(1, "worker"), threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        release.wait(PATIENCE)
        return "done"

    first, second = threads.submit(work), threads.submit(work)
    assert begun.wait(PATIENCE)
    threads.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        second.result(PATIENCE)
    with pytest.raises(RuntimeError):
        threads.submit(work)
    release.set()
    assert first.result(PATIENCE) == "done"


def test_what_waits_is_done_unless_it_is_to_be_forgotten() -> None:
    """the kit finishes what waits when it is closed without being told to forget it."""
    threads = Threads(1, "worker")
    futures = [threads.submit(lambda: 7) for _ in range(5)]
    threads.shutdown()
    assert [future.result(PATIENCE) for future in futures] == [7] * 5


def test_arguments_are_let_go() -> None:
    """the kit keeps no credential alive in a thread that is idle."""

    class Token:
        pass

    threads, token = Threads(1, "worker"), Token()
    gone = threading.Event()
    weakref.finalize(token, gone.set)
    held: list[Any] = [token]
    del token
    threads.submit(lambda given: None, held.pop()).result(PATIENCE)
    assert gone.wait(PATIENCE)
    threads.shutdown()


def test_a_function_that_never_returns_does_not_keep_the_program() -> None:
    """the kit lets the program end while a function is stuck."""
    program = (
        "import threading\n"
        "from gateway.blocking.threads import Threads\n"
        "begun = threading.Event()\n"
        "threads = Threads(1, 'worker')\n"
        "threads.submit(lambda: (begun.set(), threading.Event().wait()))\n"
        "begun.wait()\n"
        "threads.shutdown()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=PATIENCE, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_nothing_piles_up_behind_stuck_functions() -> None:
    """the kit forgets work that nobody waits for any more while all its threads are stuck."""
    threads, release, begun = Threads(1, "worker"), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait(PATIENCE)

    stuck = threads.submit(work)
    assert begun.wait(PATIENCE)
    for _ in range(100):
        assert threads.submit(work).cancel()
    last = threads.submit(lambda: 7)
    assert len(threads) == 1
    release.set()
    assert (stuck.result(PATIENCE), last.result(PATIENCE)) == (None, 7)
    threads.shutdown()
