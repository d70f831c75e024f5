"""What signals mean to a command that serves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


class Signals:
    """SIGTERM or SIGINT: stop; again: at once. SIGHUP: read the configuration again.

    ``on_stop`` is called at the first of them, within the loop.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.reload = asyncio.Event()
        self.on_stop: Callable[[], None] | None = None

    def listen(self, *, interactive: bool = True, reloads: bool = True) -> None:
        """Take signals from now on.

        :param interactive: a terminal's signals count too; in a child they are its parent's business.
        :param reloads: SIGHUP asks for a reload; otherwise it does what it does by itself, which ends the process.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.end)
        if interactive:
            loop.add_signal_handler(signal.SIGINT, self.end)
            if reloads:
                loop.add_signal_handler(signal.SIGHUP, self.reload.set)
        else:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def end(self) -> None:
        """Stop; the second time, at once."""
        if self.stop.is_set():
            self.hurry.set()
            return
        self.stop.set()
        if self.on_stop is not None:
            self.on_stop()

    async def stopped(self, seconds: float | None = None) -> bool:
        """Wait for the end, or for so many seconds; whether it was the end."""
        return await _within(self.stop, seconds)

    async def hurried(self, seconds: float) -> bool:
        """Wait for so many seconds, unless somebody is in a hurry; whether somebody is."""
        return await _within(self.hurry, seconds)


async def _within(event: asyncio.Event, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
