"""The network judge: what it learns, whom it trusts, when it has had enough."""

from __future__ import annotations

import ipaddress
import math
from typing import Any

import pytest

from gateway.adapters.network_memory import InProcessNetworks
from gateway.core.claims import Claims, Principal
from gateway.core.client_ip import parse_address
from gateway.core.network import Place, SessionKey
from gateway.core.session import NetworkAction as Action
from gateway.core.session import NetworkLevel as Level
from gateway.policy.baselines import network_claim, origin_of
from gateway.policy.ip_change import Preset
from gateway.policy.networks import (
    CONFIRM_WITHIN,
    OBSERVE_EVERY,
    REFUSAL_LIFE,
    Missing,
    NetworkJudge,
    NetworkSettings,
)
from tests.support.networks import (
    ABROAD,
    FLIGHT,
    HOME,
    HOME_6,
    KEY,
    LAN,
    MOBILE,
    MOBILE_6,
    MONITOR,
    NEAR,
    NEAR_MOBILE,
    OFF,
    PINNED,
    RELAXED,
    STRICT,
    UNLISTED,
    VPN,
    Locator,
    World,
)

# ---- without a database ----


def test_the_other_family_is_learned_once_and_then_held_to() -> None:
    """... ties a session to the first network of the other family that it is seen on."""
    world = World()
    assert world.outcome(HOME_6) == (Level.UNKNOWN, Action.LEARN)
    assert world.outcome(HOME_6) == (Level.UNKNOWN, Action.ALLOW)
    assert world.outcome(HOME) == (Level.SAME, Action.ALLOW)
    assert world.outcome(MOBILE_6) == (Level.MOVED, Action.REAUTHENTICATE)
    assert world.outcome(MOBILE) == (Level.MOVED, Action.REAUTHENTICATE)


def test_a_session_without_the_claim_is_tied_to_its_first_network() -> None:
    """... learns a network for each family where the claim is missing."""
    world = World(claim=None)
    assert world.outcome(HOME) == (Level.UNKNOWN, Action.LEARN)
    assert world.outcome(HOME_6) == (Level.UNKNOWN, Action.LEARN)
    assert world.outcome(HOME) == (Level.UNKNOWN, Action.ALLOW)
    assert world.outcome(MOBILE) == (Level.MOVED, Action.REAUTHENTICATE)


@pytest.mark.parametrize(
    ("missing", "relaxed", "strict"),
    [
        (Missing.ALLOW, [Action.ALLOW, Action.ALLOW], Action.REAUTHENTICATE),
        (Missing.LEARN, [Action.LEARN, Action.REAUTHENTICATE], Action.REAUTHENTICATE),
        (Missing.DENY, [Action.REAUTHENTICATE, Action.REAUTHENTICATE], Action.REAUTHENTICATE),
    ],
)
def test_what_a_missing_claim_means_is_the_operators(missing: Missing, relaxed: list[Action], strict: Action) -> None:
    """... allows, learns or refuses a session without the claim, and never loosens a stricter route."""
    world = World(claim=None, missing=missing)
    assert [world.see(address).action for address in (HOME, MOBILE)] == relaxed
    assert World(claim=None, missing=missing).see(HOME, STRICT).action is strict
    assert World(claim=None, missing=missing).see(HOME, MONITOR).action is Action.LOG
    assert World(claim=None, missing=missing).see(HOME, OFF).action is Action.ALLOW


def test_private_addresses_are_not_learned() -> None:
    """... never takes a private address for a network that somebody could come back to."""
    world = World()
    assert world.outcome(LAN) == (Level.UNKNOWN, Action.LEARN)
    assert world.outcome(LAN) == (Level.UNKNOWN, Action.LEARN)
    assert len(world.memory) == 0


def test_no_address_is_unknown() -> None:
    """... has nothing to compare on a unix socket."""
    assert World().outcome(None) == (Level.UNKNOWN, Action.LEARN)
    assert World().outcome(None, STRICT) == (Level.UNKNOWN, Action.REAUTHENTICATE)


def test_an_ordinary_session_leaves_no_trace() -> None:
    """... remembers nothing about a session that stays where it began."""
    world = World()
    world.see(HOME)
    world.see(HOME[:-1] + "77")
    assert len(world.memory) == 0
    assert world.see(HOME).valid_until == math.inf


def test_without_a_memory_nothing_is_learned() -> None:
    """... judges by the sign-in alone where there is no memory."""
    judge = NetworkJudge()
    for _ in range(2):
        finding = judge.weigh(SessionKey("ada", 0), origin_of(HOME, None), parse_address(HOME_6), RELAXED)
        assert (finding.level, finding.action) == (Level.UNKNOWN, Action.LEARN)


@pytest.mark.parametrize("part", [{"memory": InProcessNetworks()}, {"locator": Locator()}])
def test_time_is_handed_in(part: dict[str, Any]) -> None:
    """... cannot be built without the clock that it would need."""
    with pytest.raises(ValueError, match="clock"):
        NetworkJudge(**part)


# ---- a sign-in answers a refusal ----


@pytest.mark.parametrize(("claim", "network"), [(HOME, MOBILE_6), (None, MOBILE), (HOME, LAN), (LAN, MOBILE)])
def test_a_strict_route_accepts_the_network_of_the_sign_in_it_asked_for(claim: object, network: str) -> None:
    """... asks once, and not again and again, those whose sign-in's address cannot be compared."""
    world = World(claim=claim)
    assert world.outcome(network, STRICT) == (Level.UNKNOWN, Action.REAUTHENTICATE)
    assert world.outcome(network, STRICT) == (Level.UNKNOWN, Action.REAUTHENTICATE)
    world.sign_in(claim)
    assert world.outcome(network, STRICT) == (Level.SAME, Action.ALLOW)
    assert world.outcome(network, STRICT) == (Level.SAME, Action.ALLOW)


def test_the_old_session_is_not_admitted_by_the_new_sign_in() -> None:
    """... gives the network to the session that was signed in from it, and to no other."""
    world = World()
    old = world.auth_time
    world.see(MOBILE_6, STRICT)
    world.sign_in(HOME)
    new, world.auth_time = world.auth_time, old
    assert world.see(MOBILE_6, STRICT).refuses
    world.auth_time = new
    assert not world.see(MOBILE_6, STRICT).refuses


def test_only_the_first_request_of_the_new_session_counts() -> None:
    """... lets nobody come from a refused network once the person who signed in was seen elsewhere."""
    world = World()
    world.see(MOBILE_6, STRICT)
    world.sign_in(HOME)
    assert not world.see(HOME, STRICT).refuses
    assert world.see(MOBILE_6, STRICT).refuses


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [(60, 60, True), (REFUSAL_LIFE + 1, 1, False), (60, CONFIRM_WITHIN + 1, False)],
)
def test_a_sign_in_answers_for_a_while(before: float, after: float, allowed: bool) -> None:
    """... connects a sign-in with a refusal before it and a request after it only while they are close."""
    world = World()
    world.see(MOBILE_6, STRICT)
    world.clock.advance(before)
    world.sign_in(HOME)
    assert world.see(MOBILE_6, STRICT, after=after).refuses is not allowed


def test_whoever_must_have_the_claim_is_not_let_off() -> None:
    """... asks for the claim again where a missing one is refused."""
    world = World(claim=None, missing=Missing.DENY)
    world.see(HOME)
    world.sign_in(None)
    assert world.see(HOME).refuses


# ---- with a database ----


@pytest.mark.parametrize(
    ("address", "relaxed", "strict"),
    [
        (HOME, (Level.SAME, Action.ALLOW), (Level.SAME, Action.ALLOW)),
        (NEAR, (Level.NEAR, Action.LEARN), (Level.NEAR, Action.LEARN)),
        (HOME_6, (Level.NEAR, Action.LEARN), (Level.NEAR, Action.LEARN)),
        (MOBILE, (Level.ROAMED, Action.LEARN), (Level.ROAMED, Action.REAUTHENTICATE)),
        (MOBILE_6, (Level.ROAMED, Action.LEARN), (Level.ROAMED, Action.REAUTHENTICATE)),
        (ABROAD, (Level.SUSPICIOUS, Action.REAUTHENTICATE), (Level.SUSPICIOUS, Action.DENY_SESSION)),
        (VPN, (Level.SUSPICIOUS, Action.REAUTHENTICATE), (Level.SUSPICIOUS, Action.DENY_SESSION)),
        (UNLISTED, (Level.UNKNOWN, Action.LEARN), (Level.UNKNOWN, Action.REAUTHENTICATE)),
        (LAN, (Level.UNKNOWN, Action.LEARN), (Level.UNKNOWN, Action.REAUTHENTICATE)),
    ],
)
def test_the_ladder_through_two_presets(
    address: str, relaxed: tuple[Level, Action], strict: tuple[Level, Action]
) -> None:
    """... answers each kind of move as the preset's table says."""
    assert World(locator=True).outcome(address) == relaxed
    assert World(locator=True).outcome(address, STRICT) == strict


def test_a_network_keeps_the_level_at_which_it_was_learned() -> None:
    """... goes on telling how a learned network stands to the sign-in, and asks no database again."""
    world = World(locator=True)
    assert world.locator is not None
    assert world.outcome(MOBILE) == (Level.ROAMED, Action.LEARN)
    asked = len(world.locator.asked)
    assert world.outcome(MOBILE) == (Level.ROAMED, Action.ALLOW)
    assert len(world.locator.asked) == asked


def test_a_warm_request_asks_no_database() -> None:
    """... needs no look-up beyond its own memory for a network that it knows."""
    world = World(locator=True)
    assert world.locator is not None
    world.see(HOME)
    asked = len(world.locator.asked)
    for _ in range(3):
        world.see(HOME)
    assert len(world.locator.asked) == asked


def test_a_strict_route_does_not_trust_what_a_relaxed_one_learned() -> None:
    """... asks a session to sign in on a strict route from where a relaxed one let it in, and nothing changes there."""
    world = World(locator=True)
    assert world.outcome(MOBILE) == (Level.ROAMED, Action.LEARN)
    assert world.outcome(MOBILE, STRICT) == (Level.ROAMED, Action.REAUTHENTICATE)
    assert world.outcome(NEAR_MOBILE) == (Level.NEAR, Action.LEARN)
    assert world.outcome(NEAR_MOBILE, STRICT) == (Level.ROAMED, Action.REAUTHENTICATE)
    assert world.outcome(NEAR_MOBILE, PINNED)[1] is Action.REAUTHENTICATE


def test_a_strict_route_trusts_what_is_near() -> None:
    """... follows a session within its operator's networks on strict routes too."""
    world = World(locator=True)
    assert world.outcome(NEAR, STRICT) == (Level.NEAR, Action.LEARN)
    assert world.outcome(NEAR, STRICT) == (Level.NEAR, Action.ALLOW)


def test_monitoring_changes_nothing_and_sees_what_relaxed_would() -> None:
    """... lets everything pass under monitor, with the levels that relaxed would give."""
    world = World(locator=True)
    assert [world.outcome(address, MONITOR) for address in (HOME, MOBILE, MOBILE, ABROAD, ABROAD)] == [
        (Level.SAME, Action.ALLOW),
        (Level.ROAMED, Action.LOG),
        (Level.ROAMED, Action.LOG),
        (Level.SUSPICIOUS, Action.LOG),
        (Level.SUSPICIOUS, Action.LOG),
    ]


def test_time_since_the_last_request_is_evidence() -> None:
    """... believes in a journey after a night without a request, and not between two requests."""
    rested = World(locator=True)
    rested.see(HOME)
    assert rested.outcome(ABROAD, after=9 * 3600) == (Level.TRAVELLED, Action.REAUTHENTICATE)
    busy = World(locator=True)
    busy.see(HOME)
    busy.see(HOME, after=9 * 3600)
    assert busy.outcome(ABROAD) == (Level.SUSPICIOUS, Action.REAUTHENTICATE)


def test_the_age_of_the_sign_in_is_evidence() -> None:
    """... counts from the sign-in where the session was never seen before."""
    assert World(locator=True).see(ABROAD, after=9 * 3600).level is Level.TRAVELLED
    assert World(locator=True).see(ABROAD, after=60).level is Level.SUSPICIOUS


def test_a_refused_request_is_no_evidence() -> None:
    """... does not take a stranger's attempts for signs of life."""
    world = World(locator=True)
    world.see(HOME)
    world.see(ABROAD, after=5 * 3600)
    assert world.see(ABROAD, after=2 * 3600).level is Level.TRAVELLED


def test_a_decision_is_replayed_only_until_the_session_should_be_seen_again() -> None:
    """... bounds how long an answer stands where time is evidence."""
    world = World(locator=True)
    assert world.see(HOME).valid_until == world.clock.now() + OBSERVE_EVERY


def test_the_sign_ins_own_data_count_in_the_private_form() -> None:
    """... compares operator and country with those in the claim, whose address nobody knows."""
    world = World(locator=True, claim_key=KEY)
    claim = network_claim(ipaddress.ip_address(HOME), KEY, Place(64497, "DE"))
    session = SessionKey("ada", world.auth_time)
    answers = {
        address: world.judge.weigh(session, origin_of(None, claim), parse_address(address), STRICT).level
        for address in (HOME, MOBILE, ABROAD)
    }
    assert answers == {HOME: Level.SAME, MOBILE: Level.NEAR, ABROAD: Level.SUSPICIOUS}


def test_the_judge_reads_both_claims() -> None:
    """... finds the private form in the token's payload."""
    claim = network_claim(ipaddress.ip_address(HOME), KEY, None)
    claims = Claims(Principal("p", None, "u"), 0, 1, 0, None, False, None, None, None, None, {"signInNetwork": claim})
    judge = NetworkJudge(settings=NetworkSettings(claim_key=KEY))
    assert judge.judge(claims, parse_address(HOME), STRICT).level is Level.SAME
    assert judge.judge(claims, parse_address(MOBILE), STRICT).level is Level.MOVED


# ---- exemptions ----


@pytest.mark.parametrize("preset", list(Preset))
def test_exempt_networks_pass_everywhere(preset: Preset) -> None:
    """... lets every session in from a network that the operator exempts, and learns nothing from it."""
    world = World(locator=True, exempt=(ipaddress.ip_network("192.0.2.0/24"),))
    assert world.outcome(ABROAD, preset) == (Level.SAME, Action.ALLOW)
    assert len(world.memory) == 0


def test_exempt_operators_are_near_and_no_baseline() -> None:
    """... follows people onto an exempt operator, and takes nobody for near because of it."""
    world = World(locator=True, exempt_asns=frozenset({64520}))
    assert world.outcome(FLIGHT) == (Level.NEAR, Action.LEARN)
    assert world.outcome(FLIGHT, STRICT) == (Level.NEAR, Action.LEARN)
    assert world.see(FLIGHT, PINNED).refuses
    assert len(world.memory) == 0


# ---- revoking ----


@pytest.mark.parametrize(
    ("address", "preset", "revoke"),
    [
        (ABROAD, RELAXED, True),
        (ABROAD, STRICT, True),
        (ABROAD, MONITOR, False),
        (HOME, STRICT, False),
        (MOBILE, STRICT, False),
    ],
)
def test_revoking_is_only_for_levels_that_are_named_and_refused(address: str, preset: Preset, revoke: bool) -> None:
    """... ends all a user's sessions for the levels that the operator names, where the preset refuses them."""
    world = World(locator=True, revoke_on=frozenset({Level.SUSPICIOUS}))
    assert world.see(address, preset).revoke is revoke
    assert World(locator=True).see(address, preset).revoke is False
