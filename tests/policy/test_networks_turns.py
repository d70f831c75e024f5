"""Two devices on one session, and the bounds of what is remembered."""

from __future__ import annotations

import pytest

from gateway.core.network import SessionKey
from gateway.core.session import NetworkAction as Action
from gateway.core.session import NetworkLevel as Level
from gateway.policy.networks import MAX_LEARNED, WINDOW
from tests.support.networks import (
    ABROAD,
    FAR,
    HOME,
    HOME_6,
    LAN,
    MOBILE,
    MOBILE_6,
    MONITOR,
    NEAR,
    NEAR_MOBILE,
    RELAY,
    STRICT,
    World,
)

HOUR = 3600.0


# ---- two devices on one session ----


def test_two_networks_in_turns_are_noticed() -> None:
    """... notices that a session is used from two operators in turns, and bars the one that is not the sign-in's."""
    world = World(locator=True)
    levels = [world.see(address, after=60).level for address in (HOME, MOBILE, HOME, MOBILE)]
    assert levels == [Level.SAME, Level.ROAMED, Level.SAME, Level.SUSPICIOUS]
    assert world.outcome(MOBILE, after=3600) == (Level.SUSPICIOUS, Action.REAUTHENTICATE)
    assert world.outcome(MOBILE, STRICT) == (Level.SUSPICIOUS, Action.DENY_SESSION)
    assert world.outcome(HOME) == (Level.SAME, Action.ALLOW)


def test_a_new_sign_in_lifts_the_bar() -> None:
    """... bars a network for one session only."""
    world = World(locator=True)
    for address in (HOME, MOBILE, HOME, MOBILE):
        world.see(address)
    world.sign_in(HOME)
    assert world.outcome(HOME) == (Level.SAME, Action.ALLOW)
    assert world.outcome(MOBILE) == (Level.ROAMED, Action.LEARN)


def test_leaving_the_house_and_coming_back_is_no_interleaving() -> None:
    """... has nothing against a phone that changes between Wi-Fi and mobile at a person's pace."""
    world = World(locator=True)
    for _ in range(10):
        for address in (HOME, MOBILE):
            assert not world.see(address, after=WINDOW / 2 + 1).refuses


@pytest.mark.parametrize("pair", [(HOME, NEAR), (HOME, HOME_6), (HOME, MOBILE_6), (HOME, LAN), (HOME, RELAY)])
def test_honest_alternation(pair: tuple[str, str]) -> None:
    """... has nothing against one operator's addresses, the two families, a NAT or a relay in turns."""
    world = World(locator=True)
    for _ in range(6):
        for address in pair:
            assert not world.see(address).refuses


def test_monitoring_tells_of_networks_in_turns() -> None:
    """... tells under monitor what it would have refused, and lets it pass."""
    world = World(locator=True)
    findings = [world.see(address, MONITOR) for address in (HOME, MOBILE, HOME, MOBILE, MOBILE)]
    assert [finding.level for finding in findings[3:]] == [Level.SUSPICIOUS, Level.SUSPICIOUS]
    assert not any(finding.refuses for finding in findings)


def test_a_barred_network_is_no_baseline() -> None:
    """... takes nobody for near because of a network that it barred."""
    world = World(locator=True)
    assert [world.see(address).level for address in (HOME, MOBILE, HOME)][1] is Level.ROAMED
    finding = world.see(MOBILE)
    assert (finding.level, finding.why) == (Level.SUSPICIOUS, "two networks in turns")
    assert world.see(MOBILE).why == "in turns with another network before"
    assert world.see(NEAR_MOBILE, after=WINDOW + 1).level is Level.ROAMED


def test_the_place_of_the_last_request_is_where_a_journey_begins() -> None:
    """... measures a journey from where the session was last, not from its sign-in."""
    world = World(locator=True)
    world.see(HOME)
    assert world.see(ABROAD, after=HOUR).level is Level.TRAVELLED
    world.see(FAR)
    assert world.see(ABROAD, after=HOUR).level is Level.SUSPICIOUS
    world.see(FAR)
    assert world.see(ABROAD, after=HOUR).level is Level.SUSPICIOUS


# ---- bounds ----


def test_learned_networks_are_bounded() -> None:
    """... remembers a handful of networks of a session, the sign-in's own longest."""
    world = World(locator=True)
    world.see(HOME)
    for number in range(3 * MAX_LEARNED):
        world.see(f"100.0.{number}.1", after=WINDOW)
    trace = world.memory.recall(SessionKey("ada", world.auth_time))
    assert trace is not None
    assert len(trace.seen) == MAX_LEARNED
    assert Level.SAME in [seen.tier for seen in trace.seen.values()]
    assert all(len(times) <= 4 for times in trace.switches.values())


def test_barred_networks_are_bounded() -> None:
    """... remembers a handful of barred networks of a session."""
    world = World(locator=True)
    world.see(HOME)
    for number in range(3 * MAX_LEARNED):
        world.see(f"100.0.{number}.1")
        world.see(HOME)
    trace = world.memory.recall(SessionKey("ada", world.auth_time))
    assert trace is not None
    assert len(trace.barred) <= MAX_LEARNED


def test_the_network_that_was_used_least_lately_is_forgotten_first() -> None:
    """... keeps the networks that are in use."""
    world = World(locator=True)
    world.see(HOME)
    for number in range(MAX_LEARNED - 1):
        world.see(f"100.0.{number}.1", after=WINDOW)
    world.see("100.0.0.1", after=WINDOW)
    world.see("100.1.0.1", after=WINDOW)
    trace = world.memory.recall(SessionKey("ada", world.auth_time))
    assert trace is not None
    kept = [key[1] & 0xFF for key in trace.seen if key[1] >> 8 == 100 << 8]
    assert kept == [0, *range(2, MAX_LEARNED - 1)]
