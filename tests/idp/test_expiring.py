"""Things that wait for the person's next step."""

from __future__ import annotations

import pytest

from gateway.idp import expiring
from gateway.idp.expiring import Expiring
from tests.support.clock import FakeClock


def test_a_value_is_found_by_its_name_for_a_while() -> None:
    """the provider finds what waits by its name until its time is over."""
    clock = FakeClock()
    waiting: Expiring[str] = Expiring(clock, 60.0)
    name = waiting.put("x")
    assert waiting.get(name) == "x"
    assert waiting.get("other") is None
    assert list(waiting) == [(name, "x")]
    clock.advance(59)
    assert waiting.get(name) == "x"
    clock.advance(1)
    assert waiting.get(name) is None
    assert list(waiting) == []


def test_a_value_is_used_up_once() -> None:
    """the provider hands out what waits once when it is taken."""
    waiting: Expiring[str] = Expiring(FakeClock(), 60.0)
    name = waiting.put("x")
    assert waiting.pop(name) == "x"
    assert waiting.pop(name) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """the provider drops the oldest when too much waits."""
    monkeypatch.setattr(expiring, "MOST", 2)
    waiting: Expiring[int] = Expiring(FakeClock(), 60.0)
    names = [waiting.put(number) for number in range(3)]
    assert [waiting.get(name) for name in names] == [None, 1, 2]
