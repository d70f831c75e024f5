"""Parts that configurations share."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.wiring.shared import SharedParts


class Part:
    """Notes that it was closed."""

    def __init__(self, name: str, closed: list[str]) -> None:
        self.name = name
        self._closed = closed

    async def close(self) -> None:
        self._closed.append(self.name)


async def test_a_part_lives_as_long_as_a_configuration_uses_it() -> None:
    """... keeps what the next configuration uses too, and closes it with the last one."""
    closed: list[str] = []
    shared = SharedParts()
    first, second = shared.lease(), shared.lease()
    keys, new = first.take("keys", lambda: Part("keys", closed), Part.close)
    assert new
    first.take("data", lambda: Part("data", closed), Part.close)
    again, new = second.take("keys", lambda: Part("other", closed), Part.close)
    assert (again, new) == (keys, False)
    await first.release()
    assert closed == ["data"]
    await first.release()
    await second.release()
    assert closed == ["data", "keys"]
    assert len(shared) == 0


async def test_the_last_part_is_closed_first() -> None:
    """... closes what was built on another part before that part."""
    closed: list[str] = []
    lease = SharedParts().lease()
    for name in ("directory", "cache"):
        lease.take(name, lambda name=name: Part(name, closed), Part.close)  # type: ignore[misc]  # mypy sees no default
    lease.take("without an end", lambda: 1)
    assert lease.take("cache", lambda: Part("other", closed))[1] is False
    await lease.release()
    assert closed == ["cache", "directory"]


async def test_what_cannot_be_made_is_not_kept() -> None:
    """... forgets a part whose making failed."""
    shared = SharedParts()

    def fail() -> Part:
        raise ConfigError("$.x", "cannot be made")

    lease = shared.lease()
    with pytest.raises(ConfigError):
        lease.take("x", fail)
    await lease.release()
    assert len(shared) == 0
