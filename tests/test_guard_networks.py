"""The judge and networks: what follows when a session turns up elsewhere."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import pytest

from gateway import reasons
from gateway.adapters.network_memory import InProcessNetworks
from gateway.core.claims import Principal
from gateway.core.client_ip import IPAddress
from gateway.core.decision import Allow, Challenge
from gateway.core.network import Place
from gateway.core.session import NetworkAction, NetworkLevel
from gateway.core.trail import Trail
from gateway.policy.networks import OBSERVE_EVERY, NetworkJudge, NetworkSettings
from tests.support.clock import NOW, FakeClock
from tests.test_guard import CLAIMS, CLIENT, PRINCIPAL, World, context, guard

PLACES = {"203.0.113.9": Place(64496, "DE"), "198.51.100.7": Place(64497, "DE"), "192.0.2.1": Place(64498, "FR")}


class Locator:
    def locate(self, address: IPAddress) -> Place:
        return PLACES.get(str(address), Place())


class Ends:
    """A deny list and a revoker that remember what they were told."""

    generation = 0

    def __init__(self) -> None:
        self.denied_: list[tuple[Principal, int]] = []
        self.revoked: list[Principal] = []

    def denied(self, principal: Principal, auth_time: int) -> bool:
        return False

    def deny(self, principal: Principal, auth_time: int, until: float | None = None) -> None:
        self.denied_.append((principal, auth_time))

    def revoke_soon(self, principal: Principal) -> None:
        self.revoked.append(principal)


def judge_of(clock: FakeClock, **settings: Any) -> NetworkJudge:
    return NetworkJudge(
        memory=InProcessNetworks(), locator=Locator(), clock=clock, settings=NetworkSettings(**settings)
    )


@pytest.mark.parametrize(
    ("path", "peer", "reason", "level", "denied"),
    [
        ("/app/x", "192.0.2.1", reasons.NETWORK_SUSPICIOUS, NetworkLevel.SUSPICIOUS, False),
        ("/strict/x", "192.0.2.1", reasons.NETWORK_SUSPICIOUS, NetworkLevel.SUSPICIOUS, True),
        ("/strict/x", "198.51.100.7", reasons.NETWORK_CHANGED, NetworkLevel.ROAMED, False),
        ("/either/x", "192.0.2.1", None, None, False),
    ],
)
async def test_what_follows_from_another_network(
    path: str, peer: str, reason: reasons.Reason | None, level: NetworkLevel | None, denied: bool
) -> None:
    """... asks for a sign-in with the fitting reason, keeps whose session it was for the log, ends it if strict."""
    ends, clock = Ends(), FakeClock()
    judge = guard(World(), networks=judge_of(clock), deny_list=ends, revoker=ends)
    decision = await judge.judge(context(path, peer=peer))
    if reason is None:
        assert isinstance(decision, Allow)
        assert (decision.session, decision.ignored) == (None, reasons.NETWORK_SUSPICIOUS)
    else:
        assert isinstance(decision, Challenge)
        assert decision.session is not None
        assert (decision.reason, decision.session.network, decision.session.claims) == (reason, level, CLAIMS)
    assert ends.denied_ == ([(PRINCIPAL, CLAIMS.auth_time)] if denied else [])
    assert ends.revoked == []


async def test_revoking_follows_only_where_it_is_switched_on() -> None:
    """... has all of a user's sessions ended when the operator named the level."""
    ends, clock = Ends(), FakeClock()
    networks = judge_of(clock, revoke_on=frozenset({NetworkLevel.SUSPICIOUS}))
    judge = guard(World(), networks=networks, deny_list=ends, revoker=ends)
    await judge.judge(context("/app/x", peer="198.51.100.7"))
    assert ends.revoked == []
    await judge.judge(context("/app/x", peer="192.0.2.1"))
    assert (ends.revoked, ends.denied_) == ([PRINCIPAL], [])


async def test_without_a_deny_list_the_refusal_stands() -> None:
    """... refuses a suspicious session even where there is nothing to note it in."""
    judge = guard(World(), networks=judge_of(FakeClock(), revoke_on=frozenset({NetworkLevel.SUSPICIOUS})))
    decision = await judge.judge(context("/strict/x", peer="192.0.2.1"))
    assert decision.reason is reasons.NETWORK_SUSPICIOUS


async def test_a_decision_holds_for_its_own_address_and_not_for_long() -> None:
    """... ties each decision to the client's very address, and bounds it in time where time is evidence."""
    clock = FakeClock()
    judge = guard(World(), networks=judge_of(clock))
    for peer, action in (("203.0.113.9", NetworkAction.ALLOW), ("198.51.100.7", NetworkAction.LEARN)):
        decision = await judge.judge(context("/app/x", peer=peer))
        assert isinstance(decision, Allow)
        assert decision.session is not None
        assert decision.session.action is action
        assert decision.conditions.client == ipaddress.ip_address(peer)
        assert decision.conditions.expires_at == NOW + OBSERVE_EVERY


async def test_a_token_that_ends_sooner_ends_its_decisions() -> None:
    """... never lets a decision outlive the token."""
    world = World()
    world.claims = dataclasses.replace(CLAIMS, expires_at=int(NOW) + 5)
    decision = await guard(world, networks=judge_of(FakeClock())).judge(context("/app/x"))
    assert isinstance(decision, Allow)
    assert decision.conditions.expires_at == int(NOW) + 5


async def test_the_trail_names_the_evidence() -> None:
    """... explains a network judgement with its evidence."""
    trail = Trail()
    judge = guard(World(), networks=judge_of(FakeClock()))
    await judge.judge(context("/app/x", peer="198.51.100.7"), trail)
    (step,) = [step for step in trail.steps if step.name == "network"]
    assert step.ok
    assert step.answer == "roamed: learn (relaxed), from AS64496 to AS64497 in DE"
    assert CLIENT not in step.answer
