"""Distances and speeds."""

from __future__ import annotations

import math

import pytest

from gateway.policy.travel import ACCURACY, MAX_SPEED, MIN_ABSENCE, distance, is_plausible, speed

BERLIN, NEW_YORK, SYDNEY = (52.52, 13.405), (40.7128, -74.006), (-33.8688, 151.2093)


@pytest.mark.parametrize(
    ("one", "other", "kilometres"),
    [
        (BERLIN, NEW_YORK, 6385),
        (BERLIN, SYDNEY, 16094),
        (BERLIN, BERLIN, 0),
        ((0, 0), (0, 180), 20015),
        ((90, 0), (-90, 0), 20015),
        ((0, 179.5), (0, -179.5), 111),
        ((89.9, 0), (89.9, 180), 22),
    ],
)
def test_distances(one: tuple[float, float], other: tuple[float, float], kilometres: float) -> None:
    """... measures great circles, over the poles and across the date line too."""
    assert distance(one, other) == pytest.approx(kilometres, rel=0.005, abs=1)
    assert distance(other, one) == pytest.approx(distance(one, other))


def test_speeds() -> None:
    """... takes the databases' accuracy off first, and needs infinite speed for no time."""
    assert speed(BERLIN, NEW_YORK, 3600) == pytest.approx(distance(BERLIN, NEW_YORK) - ACCURACY)
    assert speed(BERLIN, NEW_YORK, 0) == math.inf
    assert speed((0, 0), (0, 0.89), 0) == 0


def test_locations_decide_by_speed() -> None:
    """... believes a journey at an airliner's speed and none that is faster."""
    fastest = (distance(BERLIN, NEW_YORK) - ACCURACY) / MAX_SPEED * 3600
    assert is_plausible(BERLIN, NEW_YORK, fastest + 1)
    assert not is_plausible(BERLIN, NEW_YORK, fastest - 1)


@pytest.mark.parametrize(("one", "other"), [(None, None), (BERLIN, None), (None, BERLIN)])
def test_without_locations_the_absence_decides(
    one: tuple[float, float] | None, other: tuple[float, float] | None
) -> None:
    """... believes in a journey after six hours when it does not know how far it is."""
    assert not is_plausible(one, other, MIN_ABSENCE)
    assert is_plausible(one, other, MIN_ABSENCE + 1)
