"""Parts that outlive a configuration: keys, what is known of users, data files.

A configuration asks for a part under a key that names all that the part was made from. Where the configuration before
it used the same, the part goes on, with everything it has learned; where nobody uses it any more, it is closed. So a
reload costs neither a fetch of certificates nor a look-up of every user.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

Part = TypeVar("Part")


@dataclass(slots=True)
class _Shared:
    part: Any
    close: Callable[[], Awaitable[None]]
    users: int


class SharedParts:
    """All parts in use, by their keys."""

    def __init__(self) -> None:
        self._parts: dict[Hashable, _Shared] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def lease(self) -> Lease:
        """What one configuration will use."""
        return Lease(self._parts)


class Lease:
    """The parts of one configuration. :meth:`release` ends it, whether the configuration was ever used or not."""

    def __init__(self, parts: dict[Hashable, _Shared]) -> None:
        self._parts = parts
        self._held: list[Hashable] = []

    def take(
        self, key: Hashable, make: Callable[[], Part], close: Callable[[Part], Awaitable[None]] | None = None
    ) -> tuple[Part, bool]:
        """The part of that key, and whether it is new, so that it has to be started.

        :raises ConfigError: ``make`` raised it.
        """
        shared = self._parts.get(key)
        if shared is not None:
            if key not in self._held:
                shared.users += 1
                self._held.append(key)
            found: Part = shared.part
            return found, False
        part = make()

        async def end() -> None:
            if close is not None:
                await close(part)

        self._parts[key] = _Shared(part, end, 1)
        self._held.append(key)
        return part, True

    async def release(self) -> None:
        """Close what nobody else uses, the part that was taken last first. Releasing twice is harmless."""
        held, self._held = self._held, []
        for key in reversed(held):
            shared = self._parts[key]
            shared.users -= 1
            if not shared.users:
                del self._parts[key]
                await shared.close()
