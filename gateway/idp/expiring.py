"""Things that wait for the person's next step: codes sent by SMS, half-finished sign-ins, proofs for linking.

The rule this file obeys: **what waits is found by a long random name only, for a few minutes, once.** It lives in
memory: whoever restarts the provider in between starts over.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from gateway.core.ports import Clock

NAME_BYTES: Final = 40
"""Random bytes of a name: 320 bits, as those of mailed codes."""

MOST: Final = 10_000
"""Things that wait at once; beyond that the oldest is dropped, so that nobody can fill the memory."""

T = TypeVar("T")


class Expiring(Generic[T]):
    """Values by random names, for a limited time."""

    def __init__(self, clock: Clock, lifetime: float) -> None:
        """Begin empty; ``lifetime`` is seconds."""
        self._clock = clock
        self._lifetime = lifetime
        self._waiting: dict[str, tuple[float, T]] = {}

    def put(self, value: T) -> str:
        """Keep a value and answer its name."""
        while len(self._waiting) >= MOST:
            del self._waiting[next(iter(self._waiting))]
        name = secrets.token_urlsafe(NAME_BYTES)
        self._waiting[name] = (self._clock.monotonic() + self._lifetime, value)
        return name

    def get(self, name: str) -> T | None:
        """The value of a name, left where it is; None when there is none, or no more."""
        until, value = self._waiting.get(name, (0.0, None))
        return value if until > self._clock.monotonic() else None

    def pop(self, name: str) -> T | None:
        """The value of a name, used up with this."""
        value = self.get(name)
        self._waiting.pop(name, None)
        return value

    def __iter__(self) -> Iterator[tuple[str, T]]:
        now = self._clock.monotonic()
        return iter([(name, value) for name, (until, value) in self._waiting.items() if until > now])
