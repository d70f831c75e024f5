"""What signals mean."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

from gateway.cli.signals import Signals

CHILD = """
import asyncio, os, signal
from gateway.cli.signals import Signals
async def main():
    signals = Signals()
    signals.listen(interactive=False)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGHUP)
    print(await signals.stopped(0.05), signals.reload.is_set())
    os.kill(os.getpid(), signal.SIGTERM)
    print(await signals.stopped(5))
asyncio.run(main())
"""


async def test_the_second_signal_is_in_a_hurry() -> None:
    """... stops at the first signal, and at once at the second."""
    signals, told = Signals(), asyncio.Event()
    signals.on_stop = told.set
    signals.listen()
    loop = asyncio.get_running_loop()
    try:
        assert not await signals.stopped(0.0)
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(5):
            await signals.reload.wait()
        assert not signals.stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await signals.stopped(5)
        assert told.is_set()
        assert not await signals.hurried(0.0)
        os.kill(os.getpid(), signal.SIGINT)
        assert await signals.hurried(5)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


def test_a_terminal_takes_the_demo_with_it() -> None:
    """... ends with its terminal where there is nothing to reload."""
    program = "import asyncio, os, signal\nfrom gateway.cli.signals import Signals\n"
    program += "async def main():\n    Signals().listen(reloads=False)\n    os.kill(os.getpid(), signal.SIGHUP)\n"
    done = subprocess.run([sys.executable, "-c", program + "asyncio.run(main())"], check=False)
    assert done.returncode == -signal.SIGHUP


def test_a_terminals_signals_are_not_for_workers() -> None:
    """... leaves a worker alone when somebody types Ctrl+C, which its parent hears."""
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, check=True, text=True)
    assert done.stdout.split("\n") == ["False False", "True", ""]
