"""The machine's clock, and a watch over it.

The rule this file obeys (``threats.md`` row 45): what a token says is compared with the wall clock, everything that
the gateway measures itself with a clock that never jumps, and when the two drift apart by more than a minute (NTP
step, suspended machine, restored snapshot), whoever remembers something checks it again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.core.ports import Clock

MAX_STEP: Final = 60.0
"""Seconds by which the wall clock may leave the monotonic one between two looks. NTP slews far less; a leap second is
one."""


class SystemClock:
    """The machine's clock. Implements :class:`gateway.core.ports.Clock`."""

    __slots__ = ()

    # The very functions, since every request asks for the time.
    now: Final = staticmethod(time.time)
    """Wall-clock seconds since the epoch."""
    monotonic: Final = staticmethod(time.monotonic)
    """Seconds of a clock that never jumps; only differences mean anything."""


class ClockWatch:
    """Notices when the wall clock is stepped."""

    __slots__ = ("_clock", "_offset")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.now() - clock.monotonic()

    def step(self) -> float:
        """Seconds of a step since the last call: positive forward, negative back, 0.0 for none worth naming."""
        offset = self._clock.now() - self._clock.monotonic()
        step = offset - self._offset
        self._offset = offset
        return step if abs(step) > MAX_STEP else 0.0
