from __future__ import annotations

import time

import pytest

from gateway.clock import ClockWatch, SystemClock
from tests.support.clock import FakeClock


def test_system_clock_tells_wall_and_monotonic_time() -> None:
    """reads the machine's two clocks, each from its own source."""
    clock = SystemClock()
    assert clock.now() == pytest.approx(time.time(), abs=1)
    assert clock.monotonic() == pytest.approx(time.monotonic(), abs=1)


@pytest.mark.parametrize(
    ("passed", "jump", "step"),
    [
        (0, 0, 0.0),
        (86_400, 0, 0.0),
        (10, 59, 0.0),
        (10, -59, 0.0),
        (10, 61, 61.0),
        (10, -61, -61.0),
        (0, 3600, 3600.0),
        (0, -3600, -3600.0),
    ],
)
def test_watch_notices_steps_of_more_than_a_minute(passed: float, jump: float, step: float) -> None:
    """takes slewing for what it is and a step for a step, in either direction."""
    clock = FakeClock()
    watch = ClockWatch(clock)
    clock.advance(passed)
    clock.jump(jump)
    assert watch.step() == pytest.approx(step)


def test_watch_reports_a_step_once() -> None:
    """acts on one step of the clock once."""
    clock = FakeClock()
    watch = ClockWatch(clock)
    clock.jump(3600)
    assert watch.step() == pytest.approx(3600)
    clock.advance(5)
    assert watch.step() == 0.0
