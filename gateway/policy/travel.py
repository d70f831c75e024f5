"""Whether somebody can have got from one place to another in a given time.

Distances are great circles on a sphere: at most 0.6 % off (WGS 84's flattening is 1/298), which is nothing beside what
databases know of where an address is. Therefore :data:`ACCURACY` is taken off every distance first.
"""

from __future__ import annotations

import math
from typing import Final

EARTH_RADIUS: Final = 6371.0088
"""Kilometres; mean radius of the GRS 80 ellipsoid (IUGG)."""

MAX_SPEED: Final = 1000.0
"""Kilometres per hour: a little more than an airliner makes over ground."""

ACCURACY: Final = 100.0
"""Kilometres by which two addresses of one town may lie apart in a city database."""

MIN_ABSENCE: Final = 6 * 3600.0
"""Seconds without a request after which another country is plausible where no location is known."""

_HOUR: Final = 3600.0

Location = tuple[float, float]


def distance(one: Location, other: Location) -> float:
    """Kilometres between two points in degrees of latitude and longitude, by the haversine formula."""
    lat_1, lon_1 = map(math.radians, one)
    lat_2, lon_2 = map(math.radians, other)
    half_chord = (
        math.sin((lat_2 - lat_1) / 2) ** 2 + math.cos(lat_1) * math.cos(lat_2) * math.sin((lon_2 - lon_1) / 2) ** 2
    )
    return 2 * EARTH_RADIUS * math.asin(math.sqrt(min(1.0, half_chord)))


def speed(one: Location, other: Location, seconds: float) -> float:
    """Kilometres per hour that the way takes, :data:`ACCURACY` taken off; infinite when there was no time at all."""
    way = max(0.0, distance(one, other) - ACCURACY)
    if way == 0:
        return 0.0
    return way / (seconds / _HOUR) if seconds > 0 else math.inf


def is_plausible(one: Location | None, other: Location | None, seconds: float) -> bool:
    """Whether one person can have been at both places, ``seconds`` apart.

    With both locations known the speed decides; without, only a long absence makes another country plausible.
    """
    if one is not None and other is not None:
        return speed(one, other, seconds) <= MAX_SPEED
    return seconds > MIN_ABSENCE
