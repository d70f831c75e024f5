"""What every deny list promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.adapters.memory import MemoryDenyList
from gateway.core.ports import Clock, SessionDenyList
from tests.support.accounts import person
from tests.support.clock import FakeClock

ADA = person("ada")
PEOPLE = [person(uid, tenant) for uid in ("ada", "bob") for tenant in (None, "t")]
SESSIONS = [(one, auth_time) for one in PEOPLE for auth_time in (1, 2)]


@pytest.fixture(params=[MemoryDenyList])
def deny_list(request: pytest.FixtureRequest) -> SessionDenyList:
    make: Callable[[Clock], SessionDenyList] = request.param
    return make(FakeClock())


def test_nobody_is_denied_at_first(deny_list: SessionDenyList) -> None:
    """refuses nobody who was not signed out."""
    assert not any(deny_list.denied(*session) for session in SESSIONS)


@pytest.mark.parametrize("ended", SESSIONS)
def test_exactly_the_named_session_is_denied(deny_list: SessionDenyList, ended: tuple[object, int]) -> None:
    """tells sessions apart by tenant, user and sign-in, and by nothing else."""
    principal, auth_time = ended
    deny_list.deny(principal, auth_time)  # type: ignore[arg-type]
    assert [session for session in SESSIONS if deny_list.denied(*session)] == [ended]


def test_denied_means_from_now_on_and_however_often_asked(deny_list: SessionDenyList) -> None:
    """keeps refusing, and may be told twice."""
    before = deny_list.generation
    deny_list.deny(ADA, 1)
    deny_list.deny(ADA, 1, FakeClock().now() + 60)
    assert all(deny_list.denied(ADA, 1) for _ in range(3))
    assert deny_list.generation > before


def test_the_generation_stands_still_while_nobody_is_denied(deny_list: SessionDenyList) -> None:
    """lets whoever remembers an answer trust it while the generation is the same."""
    deny_list.deny(ADA, 1)
    before = deny_list.generation
    deny_list.denied(ADA, 1)
    deny_list.denied(ADA, 2)
    assert deny_list.generation == before
