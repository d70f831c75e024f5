"""What one process remembers of networks."""

from __future__ import annotations

import pytest

from gateway.adapters.network_memory import InProcessNetworks
from gateway.core.claims import Principal
from gateway.core.network import Refusal, SessionKey

ADA, BOB = Principal("p", None, "ada"), Principal("p", None, "bob")


def test_a_trace_belongs_to_one_session() -> None:
    """... keeps sessions of one person apart, and people of different tenants."""
    memory = InProcessNetworks()
    trace = memory.begin(SessionKey(ADA, 100))
    assert memory.recall(SessionKey(ADA, 100)) is trace
    assert memory.recall(SessionKey(ADA, 101)) is None
    assert memory.recall(SessionKey(Principal("p", "t", "ada"), 100)) is None


def test_traces_are_bounded_and_those_in_use_survive() -> None:
    """... forgets sessions that are not seen any more, and no other."""
    memory = InProcessNetworks(max_sessions=10)
    used = memory.begin(SessionKey(ADA, 0))
    for number in range(1, 100):
        memory.begin(SessionKey(BOB, number))
        assert memory.recall(SessionKey(ADA, 0)) is used
        assert len(memory) <= 20
    assert memory.recall(SessionKey(BOB, 1)) is None
    assert memory.recall(SessionKey(BOB, 99)) is not None


def test_a_refusal_is_answered_once() -> None:
    """... gives a refusal to the first session that was begun after it, and then forgets it."""
    memory = InProcessNetworks()
    memory.refuse(ADA, Refusal((4, 1), 100, 200.0, 200.0))
    assert memory.answered(SessionKey(BOB, 300)) is None
    assert memory.answered(SessionKey(ADA, 100)) is None
    assert memory.answered(SessionKey(ADA, 201)) == Refusal((4, 1), 100, 200.0, 200.0)
    assert memory.answered(SessionKey(ADA, 202)) is None


def test_repeated_refusals_count_from_the_first() -> None:
    """... keeps the time of the first refusal of one session from one network."""
    memory = InProcessNetworks()
    memory.refuse(ADA, Refusal((4, 1), 100, 200.0, 200.0))
    memory.refuse(ADA, Refusal((4, 1), 100, 300.0, 300.0))
    assert memory.answered(SessionKey(ADA, 250)) == Refusal((4, 1), 100, 200.0, 300.0)


@pytest.mark.parametrize("people", [3, 50])
def test_refusals_are_bounded(people: int) -> None:
    """... remembers the latest refusals only."""
    memory = InProcessNetworks(max_refusals=2)
    for number in range(people):
        memory.refuse(Principal("p", None, str(number)), Refusal((4, 1), 0, 1.0, 1.0))
    answered = [memory.answered(SessionKey(Principal("p", None, str(number)), 5)) for number in range(people)]
    assert [answer is not None for answer in answered] == [False] * (people - 2) + [True] * 2


def test_there_is_nothing_to_share() -> None:
    """... takes note of what was learned by keeping the trace, and needs no more."""
    memory = InProcessNetworks()
    session = SessionKey(ADA, 0)
    trace = memory.begin(session)
    memory.learned(session, trace)
    assert memory.recall(session) is trace
