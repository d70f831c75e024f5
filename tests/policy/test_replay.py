"""What a preset would have done."""

from __future__ import annotations

from gateway.adapters.network_memory import InProcessNetworks
from gateway.core.client_ip import parse_address
from gateway.core.session import NetworkAction as Action
from gateway.core.session import NetworkLevel as Level
from gateway.policy.baselines import origin_of
from gateway.policy.ip_change import Preset
from gateway.policy.networks import NetworkJudge
from gateway.policy.replay import Recorded, Replay

HOME, CAFE = "203.0.113.9", "198.51.100.7"


def replay(preset: Preset, *visits: tuple[float, str, str]) -> Replay:
    found = Replay(lambda clock: NetworkJudge(memory=InProcessNetworks(), clock=clock), preset)
    for at, person, address in visits:
        found.feed(Recorded(at, person, 0, origin_of(HOME, None), parse_address(address)))
    return found


def test_a_journey_counts_once() -> None:
    """... lets the recorded person sign in from where they were refused, as they would have."""
    visits = [(float(at), "ada", HOME if at < 3 else CAFE) for at in range(1, 10)]
    tally = replay(Preset.RELAXED, *visits).tally
    assert [(refusal.at, refusal.finding.level) for refusal in tally.refused] == [(3.0, Level.MOVED)]
    assert tally.outcomes == {(Level.SAME, Action.ALLOW): 8, (Level.MOVED, Action.REAUTHENTICATE): 1}


def test_coming_home_is_another_journey() -> None:
    """... ties the session to the network of the last sign-in."""
    tally = replay(Preset.RELAXED, (1, "ada", HOME), (2, "ada", CAFE), (3, "ada", HOME)).tally
    assert len(tally.refused) == 2


def test_people_are_counted_by_how_often_they_would_have_been_asked() -> None:
    """... counts requests, sessions and people, and who would have been asked how often."""
    tally = replay(Preset.RELAXED, (1, "ada", HOME), (2, "ada", CAFE), (3, "ada", HOME), (4, "bob", HOME)).tally
    assert (tally.requests, len(tally.sessions), tally.people) == (4, 2, {"ada", "bob"})
    assert tally.affected == {"ada": 2}
    assert (tally.first, tally.last) == (1, 4)


def test_presets_that_refuse_nobody_ask_nobody() -> None:
    """... asks for no sign-in where the preset would not have."""
    for preset in (Preset.OFF, Preset.MONITOR):
        assert replay(preset, (1, "ada", HOME), (2, "ada", CAFE)).tally.refused == []


def test_requests_without_an_address_are_judged_too() -> None:
    """... replays a request whose address the log does not know."""
    found = replay(Preset.STRICT)
    for at in (1.0, 2.0):
        assert found.feed(Recorded(at, "ada", 0, origin_of(HOME, None), None)).refuses
    assert len(found.tally.refused) == 2
