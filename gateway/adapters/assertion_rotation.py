"""Keeps the keys of assertions current while a gateway runs: rotates them, and takes note when somebody else did.

What was signed stays valid through all of it (see :mod:`gateway.mutators.assertion`), so nothing here is in a hurry. A
file that cannot be read or written any more is a warning: the keys at hand go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from gateway.adapters.assertion_keys import AssertionKeyFile, is_due
from gateway.errors import ConfigError
from gateway.mutators.assertion import Assertions, AssertionSettings, KeyRing

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.ports import Clock

LOOK_EVERY: Final = 30.0
"""Seconds between two looks at the file; far less than a new key is published before it signs."""

_log = logging.getLogger(__name__)


class RotatingKeys:
    """The keys of assertions and who makes them.

    :param path: the file of the keys; None to keep them in memory.
    :param every: seconds that a key signs; 0 for as long as nobody rotates it by hand.
    :raises ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path | None, settings: AssertionSettings, clock: Clock, *, every: float) -> None:
        self._file = AssertionKeyFile(path) if path is not None else None
        self._clock = clock
        self._every = every
        now = clock.now()
        ring = self._file.rotate_when_due(now, every) if self._file is not None else KeyRing.fresh(now)
        self.assertions: Final = Assertions(ring, settings)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look after the keys. Needs a running loop."""
        self._task = asyncio.create_task(self._run(), name="rotation of assertion keys")

    async def close(self) -> None:
        """Stop looking after them."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def look(self) -> None:
        """Rotate when that is due, and take over what others wrote."""
        now = self._clock.now()
        ring = self.assertions.ring
        if self._file is None:
            self.assertions.ring = ring.rotated(now) if is_due(ring, now, self._every) else ring
            return
        try:
            if self._file.changed():
                self.assertions.ring = self._file.read()
            elif is_due(ring, now, self._every):
                self.assertions.ring = self._file.rotate_when_due(now, self._every)
        except (ConfigError, FileNotFoundError) as error:
            _log.warning("the keys of assertions stay as they are: %s", error)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.look()
