from __future__ import annotations

import ipaddress

import pytest

from gateway.idp.errors import WireError
from gateway.idp.throttle import MAX_FAILURES, WINDOW, GuessThrottle
from tests.support.clock import FakeClock

HOME, AWAY = ipaddress.ip_address("203.0.113.9"), ipaddress.ip_address("198.51.100.1")


def exhaust(throttle: GuessThrottle, email: str) -> None:
    for _ in range(MAX_FAILURES):
        throttle.attempt(email, HOME)


def test_pairs_are_counted_apart() -> None:
    """the provider locks out neither the same person elsewhere nor somebody else at the same address."""
    throttle = GuessThrottle(FakeClock())
    exhaust(throttle, "a@b")
    with pytest.raises(WireError):
        throttle.attempt("a@b", HOME)
    throttle.attempt("a@b", AWAY)
    throttle.attempt("c@d", HOME)
    throttle.attempt("a@b", None)


def test_window_runs_from_the_first_failure() -> None:
    """the provider starts counting afresh a window after the first failure, however late the last one was."""
    clock = FakeClock()
    throttle = GuessThrottle(clock)
    throttle.attempt("a@b", HOME)
    clock.advance(WINDOW - 1)
    for _ in range(MAX_FAILURES - 1):
        throttle.attempt("a@b", HOME)
    with pytest.raises(WireError):
        throttle.attempt("a@b", HOME)
    clock.advance(2)
    throttle.attempt("a@b", HOME)


def test_forgetting() -> None:
    """the provider forgets failures of one pair after a success, of the whole account after a reset."""
    throttle = GuessThrottle(FakeClock())
    exhaust(throttle, "a@b")
    throttle.success("a@b", AWAY)
    with pytest.raises(WireError):
        throttle.attempt("a@b", HOME)
    throttle.success("a@b", HOME)
    exhaust(throttle, "a@b")
    throttle.forget("a@b")
    throttle.attempt("a@b", HOME)
    throttle.success("unknown@b", HOME)
