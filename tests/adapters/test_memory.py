from __future__ import annotations

import logging

import pytest

from gateway.adapters import memory
from gateway.adapters.memory import MAX_DENIAL, MemoryDenyList
from gateway.core.claims import Principal
from gateway.errors import ConfigError
from tests.support.accounts import person
from tests.support.clock import FakeClock

ADA, BOB = person("uid-of-ada"), person("uid-of-bob")
SIGNED_IN = 1_799_999_000
DAY = 24 * 3600.0


def ended(*times: int, capacity: int = 100, clock: FakeClock | None = None) -> MemoryDenyList:
    made = MemoryDenyList(clock or FakeClock(), capacity=capacity)
    for auth_time in times:
        made.deny(ADA, auth_time)
    return made


def test_one_session_ends_and_no_other() -> None:
    """ends the session that was named, and neither the user's other ones nor anybody else's."""
    denials = ended(SIGNED_IN)
    assert denials.denied(ADA, SIGNED_IN)
    assert not denials.denied(ADA, SIGNED_IN + 1)
    assert not denials.denied(BOB, SIGNED_IN)
    assert not denials.denied(person("uid-of-ada", "tenant-a"), SIGNED_IN)
    assert not denials.denied(person("uid-of-ada", project="another"), SIGNED_IN)


def test_session_stays_ended_however_often_it_is_renewed() -> None:
    """refuses an ended session months later, because renewing its token keeps the moment of the sign-in."""
    clock = FakeClock()
    denials = ended(SIGNED_IN, capacity=2, clock=clock)
    clock.advance(MAX_DENIAL - 1)
    denials.deny(BOB, 1)
    denials.deny(BOB, 2)  # the list is full, and looked through for what is over
    assert (denials.denied(ADA, SIGNED_IN), denials.evicted) == (False, 1)
    denials = ended(SIGNED_IN, clock=clock)
    clock.advance(MAX_DENIAL - 1)
    denials.deny(BOB, 1)
    assert denials.denied(ADA, SIGNED_IN)


def test_generation_grows_with_each_session_ended() -> None:
    """tells whoever remembers an answer that there is news."""
    denials = ended()
    assert denials.generation == 0
    denials.deny(ADA, SIGNED_IN)
    denials.deny(BOB, SIGNED_IN)
    assert denials.generation == 2
    denials.denied(ADA, SIGNED_IN)
    assert denials.generation == 2


def test_entries_past_their_time_make_room_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """lets go first of what is over anyway."""
    clock = FakeClock()
    denials = ended(capacity=2, clock=clock)
    denials.deny(ADA, 2, clock.now() + DAY)
    denials.deny(ADA, 1, clock.now() + 60)
    clock.advance(61)
    denials.deny(ADA, 3)
    assert [denials.denied(ADA, auth_time) for auth_time in (1, 2, 3)] == [False, True, True]
    assert (len(denials), denials.evicted, caplog.text) == (2, 0, "")


def test_full_list_is_looked_through_at_most_once_a_minute() -> None:
    """does not search a list of a hundred thousand for each sign-out."""
    clock = FakeClock()
    denials = ended(1, 2, 3, capacity=2, clock=clock)  # searched now, for nothing
    denials.deny(BOB, 1, clock.now() + 5)
    clock.advance(memory.SWEEP_INTERVAL - 1)
    denials.deny(BOB, 2)
    assert denials.denied(BOB, 1)
    assert denials.evicted == 3
    clock.advance(1)
    denials.deny(BOB, 3)
    assert not denials.denied(BOB, 1)
    assert denials.evicted == 3


def test_too_small_a_list_says_so_loudly_and_keeps_who_comes_by(caplog: pytest.LogCaptureFixture) -> None:
    """forgets the session that nobody tried to use, and complains once a minute, naming nobody."""
    clock = FakeClock()
    denials = ended(1, 2, capacity=2, clock=clock)
    assert denials.denied(ADA, 1)
    denials.deny(ADA, 3)
    assert [denials.denied(ADA, auth_time) for auth_time in (1, 2, 3)] == [True, False, True]
    denials.deny(ADA, 4)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "uid" not in record.getMessage()
    clock.advance(memory.LOG_INTERVAL)
    denials.deny(ADA, 5)
    assert len(caplog.records) == 2
    assert denials.evicted == 3


def test_denying_twice_never_shortens() -> None:
    """keeps the later end when a session is ended twice."""
    clock = FakeClock()
    denials = ended(capacity=1, clock=clock)
    denials.deny(ADA, 1, clock.now() + DAY)
    denials.deny(ADA, 1, clock.now() + 1)
    assert len(denials) == 1
    clock.advance(2)
    denials.deny(BOB, 1)
    assert denials.evicted == 1  # it had not run out


def test_session_that_is_over_already_takes_no_place() -> None:
    """remembers nothing of what is refused anyway."""
    clock = FakeClock()
    denials = ended(clock=clock)
    denials.deny(ADA, 1, clock.now())
    assert (len(denials), denials.generation) == (0, 0)


def test_step_of_the_wall_clock_frees_nobody() -> None:
    """keeps ended sessions ended when the machine's clock is stepped (``threats.md`` row 45)."""
    clock = FakeClock()
    denials = ended(capacity=2, clock=clock)
    denials.deny(ADA, 1, clock.now() + DAY)
    denials.deny(ADA, 2)
    clock.jump(MAX_DENIAL * 2)
    denials.deny(BOB, 1)
    assert denials.evicted == 1
    assert denials.denied(ADA, 2)


@pytest.mark.parametrize(
    ("figures", "key"),
    [
        ({"lifetime": 0}, "$.session.max_age"),
        ({"lifetime": MAX_DENIAL + 1}, "$.session.max_age"),
        ({"lifetime": float("nan")}, "$.session.max_age"),
    ],
)
def test_figures_out_of_bounds_are_refused(figures: dict[str, float], key: str) -> None:
    """does not start with a list that forgets at once."""
    with pytest.raises(ConfigError) as caught:
        MemoryDenyList(FakeClock(), **figures)  # type: ignore[arg-type]
    assert caught.value.where == key


def test_others_are_told_of_what_ends_here() -> None:
    """... tells of a session that was ended here and until when, and not of one that was ended elsewhere."""
    clock = FakeClock()
    deny_list = MemoryDenyList(clock, lifetime=100)
    told: list[tuple[Principal, int, float]] = []
    deny_list.on_deny = lambda *news: told.append(news)
    one, two = Principal("demo", None, "one"), Principal("demo", None, "two")
    deny_list.deny(one, 1000)
    deny_list.deny(two, 1000, until=clock.now() - 1)
    assert told == [(one, 1000, clock.now() + 100)]
    generation = deny_list.generation
    deny_list.heard(two, 1000, clock.now() + 50)
    deny_list.heard(two, 2000, clock.now() - 50)
    assert deny_list.denied(two, 1000)
    assert not deny_list.denied(two, 2000)
    assert deny_list.generation == generation + 1
    assert len(told) == 1
