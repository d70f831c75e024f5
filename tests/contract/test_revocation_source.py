"""What every revocation source must do, under the load and the outages it was promised for."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.revocation_cache import DEFAULT_MAX_STALENESS, DEFAULT_OUTAGE_WINDOW, RevocationCache
from gateway.core.claims import Principal
from gateway.core.ports import AccountRecord, Clock, RevocationSource, Standing
from gateway.errors import RevocationUnavailable
from tests.support.accounts import GOOD, CountingDirectory, person
from tests.support.clock import FakeClock

STALENESS = DEFAULT_MAX_STALENESS
WINDOW = DEFAULT_OUTAGE_WINDOW
USERS = [person(f"user-{number}") for number in range(500)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def directory(clock: FakeClock) -> CountingDirectory:
    return CountingDirectory(*(one.uid for one in USERS), now=clock.now)


@pytest.fixture
async def source(directory: CountingDirectory, clock: FakeClock) -> AsyncIterator[RevocationSource]:
    cache = RevocationCache(directory, clock, sleep=clock.sleep)
    await cache.start()
    yield cache
    await cache.close()


async def ask(source: RevocationSource, principal: Principal) -> Standing:
    """What the guard does for one request."""
    known = source.peek(principal)
    return known if known is not None else await source.standing(principal)


async def test_answer_is_the_services(source: RevocationSource, directory: CountingDirectory) -> None:
    """says of each user what the account service says."""
    directory.users = {
        "good": GOOD,
        "revoked": AccountRecord(disabled=False, valid_since=1_700_000_000),
        "disabled": AccountRecord(disabled=True, valid_since=0),
    }
    found = {uid: await ask(source, person(uid)) for uid in ("good", "revoked", "disabled", "gone")}
    assert {uid: (s.exists, s.disabled, s.valid_since) for uid, s in found.items()} == {
        "good": (True, False, 0),
        "revoked": (True, False, 1_700_000_000),
        "disabled": (True, True, 0),
        "gone": (False, False, 0),
    }


async def test_tenants_of_one_uid_are_different_users(source: RevocationSource, directory: CountingDirectory) -> None:
    """never answers for a user with what it knows of the same uid elsewhere."""
    await ask(source, person("user-0"))
    assert source.peek(person("user-0", "acme")) is None
    await ask(source, person("user-0", "acme"))
    assert directory.asked == [(None, ("user-0",)), ("acme", ("user-0",))]


async def test_peek_asks_nobody(source: RevocationSource, directory: CountingDirectory) -> None:
    """answers without I/O, and with nothing about users it has not heard of."""
    assert source.peek(USERS[0]) is None
    assert directory.batches == []


async def test_first_requests_of_one_user_share_a_look_up(
    source: RevocationSource, directory: CountingDirectory
) -> None:
    """looks a new user up once however many requests they begin with."""
    answers = await asyncio.gather(*(ask(source, USERS[0]) for _ in range(200)))
    assert len({answer.epoch for answer in answers}) == 1
    assert directory.batches == [(USERS[0].uid,)]


async def test_ten_thousand_requests_of_five_hundred_users_cost_five_look_ups_a_period(
    source: RevocationSource, directory: CountingDirectory, clock: FakeClock
) -> None:
    """asks the account service at most once a period for every hundred active users, from the first moment on."""
    asked_at: deque[float] = deque()
    dice = random.Random(500)  # noqa: S311 - a load, not a secret
    await asyncio.gather(*(ask(source, one) for one in USERS))
    for _period in range(5):
        for _tenth in range(int(STALENESS) * 10):
            before = len(directory.batches)
            for _ in range(10_000 // (int(STALENESS) * 10) + 1):
                await ask(source, dice.choice(USERS))
            await clock.run_for(0.1)
            asked_at.extend([clock.monotonic()] * (len(directory.batches) - before))
            while asked_at and asked_at[0] <= clock.monotonic() - STALENESS:
                asked_at.popleft()
            assert len(asked_at) <= 5
    assert len(directory.batches) <= 5 + 5 * 5


async def test_ten_minutes_of_outage(source: RevocationSource, directory: CountingDirectory, clock: FakeClock) -> None:
    """refuses no good user inside the stated window, readmits no revoked one at any time, and recovers by itself."""
    good, disabled, gone, revoked, unknown = (person(uid) for uid in ("good", "disabled", "gone", "revoked", "unknown"))
    since = int(clock.now())
    directory.users |= {
        "good": GOOD,
        "unknown": GOOD,
        "disabled": AccountRecord(disabled=True, valid_since=0),
        "revoked": AccountRecord(disabled=False, valid_since=since),
    }
    for principal in (good, disabled, gone, revoked):
        await ask(source, principal)
    directory.down = True
    began = clock.monotonic()
    directory.batches.clear()
    for second in range(600):
        await clock.run_for(1)
        age = clock.monotonic() - began
        if second % 7 == 0 or age > STALENESS + WINDOW - 5:
            outcome = await asyncio.gather(
                *(ask(source, one) for one in (good, disabled, gone, revoked, unknown)), return_exceptions=True
            )
            is_good, is_disabled, is_gone, is_revoked, is_unknown = outcome
            assert isinstance(is_disabled, Standing)
            assert is_disabled.disabled
            assert isinstance(is_gone, Standing)
            assert not is_gone.exists
            # Either known to be revoked or not known at all: a session from before is refused both ways.
            assert isinstance(is_revoked, RevocationUnavailable) or is_revoked.valid_since == since  # type: ignore[union-attr]
            assert isinstance(is_unknown, RevocationUnavailable)
            if age <= STALENESS + WINDOW:
                assert isinstance(is_good, Standing)
            else:
                assert isinstance(is_good, RevocationUnavailable)
    assert len(directory.batches) <= 601
    directory.down = False
    await clock.run_for(1.5)
    for principal in (good, revoked, unknown):
        assert (await ask(source, principal)).exists
    assert (await ask(source, revoked)).valid_since == since


async def test_nobody_rests_on_an_answer_older_than_promised(
    source: RevocationSource, directory: CountingDirectory, clock: Clock
) -> None:
    """never decides on what is older than its promise while the service works, in whatever rhythm users come."""
    assert isinstance(clock, FakeClock)
    dice = random.Random(7)  # noqa: S311 - a load, not a secret
    people = [(one, dice.choice([0.5, 3, 20, 55, 61, 130])) for one in USERS[:60]]
    due = {one: dice.random() * pause for one, pause in people}
    pauses = dict(people)
    for _ in range(2000):
        await clock.run_for(0.5)
        for one, pause in pauses.items():
            due[one] -= 0.5
            if due[one] <= 0:
                due[one] = pause * dice.uniform(0.5, 1.5)
                assert clock.monotonic() - (await ask(source, one)).checked_at <= STALENESS
