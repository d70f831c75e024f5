from __future__ import annotations

import asyncio

import pytest

from gateway.adapters import revocation_cache
from gateway.adapters.revocation_cache import RevocationCache
from gateway.core.ports import AccountRecord
from gateway.errors import ConfigError, RevocationUnavailable
from tests.support.accounts import CountingDirectory, person
from tests.support.clock import FakeClock, settle

STALENESS = revocation_cache.DEFAULT_MAX_STALENESS
WINDOW = revocation_cache.DEFAULT_OUTAGE_WINDOW

ADA, BOB, EVE = person("ada"), person("bob"), person("eve")
DISABLED = AccountRecord(disabled=True, valid_since=0)


# ---- freshness -------------------------------------------------------------------------------------------------------


async def test_nothing_older_than_promised_is_believed(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """answers from memory for as long as it promised and not a moment longer."""
    first = await cache.standing(ADA)
    clock.advance(STALENESS)
    assert cache.peek(ADA) is first
    clock.advance(0.001)
    assert cache.peek(ADA) is None
    directory.users["ada"] = DISABLED
    assert (await cache.standing(ADA)).disabled


async def test_age_counts_from_the_question(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """does not count the service's delay in its own favour."""
    directory.hold()
    asking = asyncio.create_task(cache.standing(ADA))
    await directory.arrived.wait()
    clock.advance(10)
    directory.release()
    assert (await asking).checked_at == clock.monotonic() - 10
    clock.advance(STALENESS - 10)
    assert cache.peek(ADA)
    clock.advance(0.001)
    assert cache.peek(ADA) is None


async def test_active_user_is_checked_in_the_background(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """has a fresh answer for every request of an active user, so that none of them waits."""
    await cache.start()
    await cache.standing(ADA)
    for _ in range(600):
        await clock.run_for(1)
        assert cache.peek(ADA)
    assert len(directory.batches) == 1 + 600 / STALENESS


async def test_revocation_shows_within_the_promise(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """sees a revocation made elsewhere within the staleness it promised, whenever it happens."""
    await cache.start()
    await cache.standing(ADA)
    for moment in range(0, 60, 7):
        await clock.run_for(moment)
        cache.peek(ADA)
        since = int(clock.now())
        directory.users["ada"] = AccountRecord(disabled=False, valid_since=since)
        waited = 0
        while (await cache.standing(ADA)).valid_since != since:
            await clock.run_for(1)
            waited += 1
        assert waited <= STALENESS + 1


async def test_idle_user_is_left_alone_and_forgotten(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """looks nobody up who does not come by, and forgets them when nothing it knows could count any more."""
    await cache.start()
    await cache.standing(ADA)
    await clock.run_for(STALENESS + WINDOW - 1)
    assert cache.last_known(ADA)
    await clock.run_for(2)
    assert cache.last_known(ADA) is None
    assert len(directory.batches) == 1


async def test_user_who_comes_back_is_looked_up_anew(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """takes a user up again after a pause, with the news of that time."""
    await cache.start()
    await cache.standing(ADA)
    await clock.run_for(STALENESS * 2)
    del directory.users["ada"]
    assert (await cache.standing(ADA)).exists is False
    cache.peek(ADA)
    await clock.run_for(STALENESS)
    assert len(directory.batches) == 2  # seen at the check, not since


async def test_lead_grows_with_the_round_trip(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """asks a slow service early enough that nobody waits, within a tenth of the promise."""
    service = cache._service(None)
    assert cache._period(service) == STALENESS
    service.round_trip = 0.5
    assert cache._period(service) == STALENESS - 1.5
    service.round_trip = 30
    assert cache._period(service) == pytest.approx(STALENESS * 0.9)


# ---- batches ---------------------------------------------------------------------------------------------------------


async def test_users_seen_apart_end_up_in_shared_batches(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """brings users who came one by one together, so that look-ups stay few from the next period on."""
    people = [person(f"user-{number}") for number in range(250)]
    directory.users |= dict.fromkeys((p.uid for p in people), AccountRecord(disabled=False, valid_since=0))
    await cache.start()
    for one in people:
        await cache.standing(one)
        await clock.run_for(0.1)
    directory.batches.clear()
    for _ in range(10 * 60):
        for one in people:
            cache.peek(one)
        await clock.run_for(1)
    assert len(directory.batches) <= 3 * 10


async def test_users_due_before_long_travel_along_with_a_new_one(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """uses the free places of a look-up for those whose answer is halfway to being too old."""
    await cache.standing(ADA)
    clock.advance(STALENESS / 2 - 1)
    await cache.standing(BOB)
    clock.advance(1)
    cache.peek(ADA)
    cache.peek(BOB)
    await cache.standing(EVE)
    assert directory.batches == [("ada",), ("bob",), ("eve", "ada")]


async def test_first_requests_gather_behind_the_one_under_way(
    cache: RevocationCache, directory: CountingDirectory
) -> None:
    """sends one look-up for first requests at a time, and the next with all who came meanwhile."""
    directory.hold()
    tasks = [asyncio.create_task(cache.standing(ADA))]
    await directory.arrived.wait()
    for number in range(50):
        tasks.append(asyncio.create_task(cache.standing(person(f"late-{number}"))))
        await settle(3)
    assert len(directory.batches) == 1
    directory.release()
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in directory.batches] == [1, 50]


async def test_full_batches_do_not_queue_behind_each_other(
    cache: RevocationCache, directory: CountingDirectory
) -> None:
    """looks up hundreds of first users side by side, four look-ups at a time."""
    directory.hold()
    tasks = [asyncio.create_task(cache.standing(person(f"user-{number}"))) for number in range(1000)]
    await settle()
    assert [len(batch) for batch in directory.batches] == [100] * revocation_cache.MAX_FLIGHTS
    directory.release()
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in directory.batches] == [100] * 10


async def test_request_that_goes_away_takes_nothing_along(cache: RevocationCache, directory: CountingDirectory) -> None:
    """finishes a look-up for those who still wait when another request of the user is gone."""
    directory.hold()
    first, second = (asyncio.create_task(cache.standing(ADA)) for _ in range(2))
    await directory.arrived.wait()
    first.cancel()
    await settle()
    directory.release()
    assert (await second).exists
    assert directory.batches == [("ada",)]


async def test_table_is_bounded(directory: CountingDirectory, clock: FakeClock) -> None:
    """remembers no more users than it may, and those who come by rather than others."""
    cache = RevocationCache(directory, clock, max_users=100)
    await cache.standing(ADA)
    for number in range(150):
        clock.advance(0.1)
        cache.peek(ADA)
        await cache.standing(person(f"user-{number}"))
    assert cache.status().users == 100
    assert cache.peek(ADA)
    assert cache.peek(person("user-149"))
    assert cache.peek(person("user-0")) is None
    await cache.close()


# ---- the rest --------------------------------------------------------------------------------------------------------


async def test_staleness_tells_the_oldest_answer_relied_on(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """exports how old the oldest answer is that it lets decide, within its promise while the service works."""
    assert cache.staleness() == 0.0
    await cache.start()
    await cache.standing(ADA)
    for _ in range(200):
        await clock.run_for(1)
        cache.peek(ADA)
        assert cache.staleness() <= STALENESS
    await clock.run_for(STALENESS / 2)
    cache.peek(ADA)
    assert cache.staleness() > 0
    directory.down = True
    await clock.run_for(STALENESS + 30)
    cache.peek(ADA)
    assert STALENESS < cache.staleness() <= STALENESS + WINDOW


async def test_step_of_the_wall_clock_ages_everything(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """checks every user again when the machine's clock was stepped, in either direction."""
    await cache.start()
    for step in (3600, -3600):
        await cache.standing(ADA)
        await clock.run_for(2)
        assert cache.peek(ADA)
        asked = len(directory.batches)
        clock.jump(step)
        await clock.run_for(2)
        await cache.standing(ADA)
        assert len(directory.batches) == asked + 1


async def test_background_work_survives_a_slow_table(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """keeps one place free for first requests while the background is busy."""
    people = [person(f"user-{number}") for number in range(600)]
    directory.users |= dict.fromkeys((p.uid for p in people), AccountRecord(disabled=False, valid_since=0))
    await cache.start()
    await asyncio.gather(*(cache.standing(one) for one in people))
    clock.advance(1)
    for one in people:
        cache.peek(one)
    directory.hold()
    directory.batches.clear()
    await clock.run_for(STALENESS - 0.5)
    assert [len(batch) for batch in directory.batches] == [100] * (revocation_cache.MAX_FLIGHTS - 1)
    new = asyncio.create_task(cache.standing(ADA))
    await settle()
    assert directory.batches[-1][0] == "ada"
    directory.release()
    assert (await new).exists


async def test_closing_releases_whoever_waits(cache: RevocationCache, directory: CountingDirectory) -> None:
    """tells requests that wait for a look-up that there will be none when it stops."""
    directory.hold()
    asked = asyncio.create_task(cache.standing(ADA))
    await directory.arrived.wait()
    queued = asyncio.create_task(cache.standing(BOB))
    await settle()
    await cache.close()
    for waiting in (asked, queued):
        with pytest.raises(RevocationUnavailable):
            await waiting
    with pytest.raises(RevocationUnavailable):
        await cache.standing(EVE)


@pytest.mark.parametrize(
    ("figures", "key"),
    [
        ({"max_staleness": 0}, "$.revocation.max_staleness"),
        ({"max_staleness": -1}, "$.revocation.max_staleness"),
        ({"max_staleness": 3601}, "$.revocation.max_staleness"),
        ({"max_staleness": float("nan")}, "$.revocation.max_staleness"),
        ({"outage_window": -1}, "$.revocation.outage_window"),
        ({"outage_window": float("inf")}, "$.revocation.outage_window"),
        ({"max_users": 99}, "$.revocation.max_users"),
    ],
)
def test_figures_out_of_bounds_are_refused(figures: dict[str, float], key: str) -> None:
    """does not start with a promise that means nothing."""
    with pytest.raises(ConfigError) as caught:
        RevocationCache(None, FakeClock(), **figures)  # type: ignore[arg-type]
    assert caught.value.where == key
