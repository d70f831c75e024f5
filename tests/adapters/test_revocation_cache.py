from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from gateway.adapters import revocation_cache
from gateway.adapters.revocation_cache import RevocationCache
from gateway.core.claims import Principal
from gateway.core.ports import AccountRecord, Standing
from gateway.errors import ConfigError, RevocationUnavailable
from tests.support.accounts import CountingDirectory, person
from tests.support.clock import NOW, FakeClock, settle

STALENESS = revocation_cache.DEFAULT_MAX_STALENESS
WINDOW = revocation_cache.DEFAULT_OUTAGE_WINDOW

ADA, BOB, EVE = person("ada"), person("bob"), person("eve")
DISABLED = AccountRecord(disabled=True, valid_since=0)
REVOKED = AccountRecord(disabled=False, valid_since=int(NOW))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def directory(clock: FakeClock) -> CountingDirectory:
    return CountingDirectory("ada", "bob", "eve", now=clock.now)


@pytest.fixture
async def cache(directory: CountingDirectory, clock: FakeClock) -> AsyncIterator[RevocationCache]:
    made = RevocationCache(directory, clock, sleep=clock.sleep)
    yield made
    await made.close()


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


# ---- changes ---------------------------------------------------------------------------------------------------------


async def test_epoch_grows_exactly_when_the_answer_changes(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """gives every change of a user's standing an epoch of its own, and none to a mere refresh."""
    heard: list[tuple[Principal, Standing]] = []
    cache.on_change(lambda principal, standing: heard.append((principal, standing)))
    epochs = []
    for record in (
        AccountRecord(disabled=False, valid_since=0),
        AccountRecord(disabled=False, valid_since=0),
        AccountRecord(disabled=False, valid_since=5),
        AccountRecord(disabled=True, valid_since=5),
        AccountRecord(disabled=False, valid_since=5),
        None,
        None,
        AccountRecord(disabled=False, valid_since=0),
    ):
        if record is None:
            directory.users.pop("ada", None)
        else:
            directory.users["ada"] = record
        epochs.append((await cache.standing(ADA)).epoch)
        clock.advance(STALENESS + 1)
    assert epochs[0] == epochs[1]
    assert epochs[5] == epochs[6]
    assert epochs == sorted(epochs)
    assert len(set(epochs)) == 6
    assert [standing.epoch for _, standing in heard] == sorted(set(epochs))
    assert {principal for principal, _ in heard} == {ADA}


async def test_epoch_is_never_used_again(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """cannot be taken for an earlier self after it forgot a user."""
    await cache.start()
    before = (await cache.standing(ADA)).epoch
    await clock.run_for(STALENESS + WINDOW + 1)
    directory.users["ada"] = REVOKED
    assert (await cache.standing(ADA)).epoch > before
    assert (await cache.standing(BOB)).epoch not in {before, (await cache.standing(ADA)).epoch}


async def test_failing_listener_keeps_nothing_from_the_others(
    cache: RevocationCache, caplog: pytest.LogCaptureFixture
) -> None:
    """goes on when one of those who want to know cannot take the news."""
    heard: list[Principal] = []

    def broken(principal: Principal, standing: Standing) -> None:
        raise RuntimeError("out of order")

    cache.on_change(broken)
    cache.on_change(lambda principal, _: heard.append(principal))
    assert (await cache.standing(ADA)).exists
    assert heard == [ADA]
    assert "listener" in caplog.text


# ---- revocations of our own ------------------------------------------------------------------------------------------


async def test_own_revocation_holds_from_the_next_request_on(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """ends a user's sessions at once, here and at the service, without asking anew."""
    before = await cache.standing(ADA)
    await cache.revoke_now(ADA)
    after = cache.peek(ADA)
    assert after is not None
    assert after.valid_since == int(clock.now())
    assert after.epoch > before.epoch
    assert after.checked_at == before.checked_at
    assert directory.revoked == [ADA]
    assert len(directory.batches) == 1


async def test_older_answer_does_not_undo_a_revocation(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """keeps its own revocation when the answer to an earlier question arrives after it."""
    await cache.standing(ADA)
    clock.advance(STALENESS + 1)
    directory.hold()
    asking = asyncio.create_task(cache.standing(ADA))
    await directory.arrived.wait()
    await cache.revoke_now(ADA, clock.now())
    directory.release()
    assert (await asking).valid_since == int(clock.now())
    standing = cache.peek(ADA)
    assert standing is not None
    assert standing.valid_since == int(clock.now())


async def test_older_answer_does_not_undo_a_revocation_of_a_new_user(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """keeps its own revocation of somebody whose very first look-up is still under way."""
    directory.hold()
    asking = asyncio.create_task(cache.standing(ADA))
    await directory.arrived.wait()
    await cache.revoke_now(ADA, clock.now())
    directory.release()
    assert (await asking).valid_since == int(clock.now())


async def test_service_has_the_last_word_when_asked_afterwards(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """believes what the service says to a question asked after the revocation."""
    await cache.standing(ADA)
    await cache.revoke_now(ADA, clock.now())
    directory.users["ada"] = AccountRecord(disabled=False, valid_since=7)
    clock.advance(STALENESS + 1)
    assert (await cache.standing(ADA)).valid_since == 7


async def test_revocation_of_a_user_nobody_saw_asks_on_the_next_request(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """revokes users it never saw, and hears of it from the service when they come."""
    await cache.revoke_now(BOB)
    assert directory.revoked == [BOB]
    assert cache.status().users == 0
    assert (await cache.standing(BOB)).valid_since == int(clock.now())


async def test_revocation_that_the_service_did_not_confirm_changes_nothing(
    cache: RevocationCache, directory: CountingDirectory
) -> None:
    """says so when a revocation failed, instead of pretending locally what would not last."""
    before = await cache.standing(ADA)
    directory.down = True
    with pytest.raises(RevocationUnavailable):
        await cache.revoke_now(ADA)
    assert cache.peek(ADA) is before


async def test_revocation_never_moves_valid_since_back(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """takes the later of two revocations, whichever arrives last."""
    directory.users["ada"] = AccountRecord(disabled=False, valid_since=int(clock.now()) + 5)
    before = await cache.standing(ADA)
    await cache.revoke_now(ADA, clock.now())
    assert cache.peek(ADA) is not None
    assert cache.peek(ADA) == before


# ---- outage ----------------------------------------------------------------------------------------------------------


async def test_good_users_live_on_for_the_window_and_no_longer(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """lets users known to be good pass for the stated time of an outage, then refuses them."""
    await cache.standing(ADA)
    directory.down = True
    clock.advance(STALENESS + 1)
    assert cache.peek(ADA) is None  # no outage that anybody knows of yet
    assert (await cache.standing(ADA)).exists
    assert cache.peek(ADA)
    clock.advance(WINDOW - 1)
    assert cache.peek(ADA)
    clock.advance(0.001)
    assert cache.peek(ADA) is None
    with pytest.raises(RevocationUnavailable) as caught:
        await cache.standing(ADA)
    assert caught.value.retry_after == 1


async def test_bad_accounts_stay_bad_until_the_service_says_otherwise(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """keeps refusing disabled and deleted accounts through an outage of any length, by name."""
    directory.users["ada"] = DISABLED
    del directory.users["bob"]
    await asyncio.gather(cache.standing(ADA), cache.standing(BOB))
    directory.down = True
    clock.advance(24 * 3600)
    assert (await cache.standing(ADA)).disabled
    assert not (await cache.standing(BOB)).exists
    directory.down = False
    directory.users["ada"] = directory.users["bob"] = AccountRecord(disabled=False, valid_since=0)
    clock.advance(1)
    await cache.standing(EVE)  # the service is heard of again
    assert not (await cache.standing(ADA)).disabled
    assert (await cache.standing(BOB)).exists


async def test_last_known_standing_survives_the_window(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """still knows since when a revoked user's sessions are void, so that no route setting can readmit them."""
    await cache.start()
    directory.users["ada"] = REVOKED
    await cache.standing(ADA)
    await clock.run_for(1)
    cache.peek(ADA)
    directory.down = True
    await clock.run_for(STALENESS + WINDOW + 600)
    with pytest.raises(RevocationUnavailable):
        await cache.standing(ADA)
    known = cache.last_known(ADA)
    assert known is not None
    assert known.valid_since == REVOKED.valid_since


async def test_service_is_asked_once_a_second_while_down(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """asks a service that is down once a second, however many users wait, and notices its return."""
    await cache.start()
    await cache.standing(ADA)
    directory.down = True
    await clock.run_for(STALENESS - 1)
    cache.peek(ADA)
    await clock.run_for(2)
    directory.batches.clear()
    caplog.clear()
    for _ in range(30):
        unknown = [cache.standing(person(f"user-{number}")) for number in range(300)]
        answers = await asyncio.gather(*unknown, return_exceptions=True)
        assert all(isinstance(answer, RevocationUnavailable) for answer in answers)
        assert cache.peek(ADA)
        await clock.run_for(1)
    assert 25 <= len(directory.batches) <= 31
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) <= 1
    directory.down = False
    await clock.run_for(1)
    assert cache.status().available
    assert (await cache.standing(ADA)).checked_at >= clock.monotonic() - 2
    assert "answers again" in caplog.text


async def test_crowd_of_unknown_users_is_one_attempt_while_down(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """tries a service that was down with one look-up, and remembers nobody of whom it heard nothing."""
    directory.down = True
    with pytest.raises(RevocationUnavailable):
        await cache.standing(ADA)
    clock.advance(1)
    crowd = [cache.standing(person(f"user-{number}")) for number in range(300)]
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    assert all(isinstance(answer, RevocationUnavailable) for answer in answers)
    assert len(directory.batches) == 2
    assert cache.status().users == 0


async def test_promise_holds_again_after_an_outage(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """stops being lenient the moment the service answers again."""
    await asyncio.gather(cache.standing(ADA), cache.standing(BOB))
    directory.down = True
    clock.advance(STALENESS + 1)
    await cache.standing(ADA)
    assert cache.peek(BOB)
    directory.down = False
    clock.advance(1)
    await cache.standing(EVE)
    directory.users["bob"] = DISABLED
    clock.advance(STALENESS + 1)
    assert cache.peek(BOB) is None
    assert (await cache.standing(BOB)).disabled


async def test_second_of_rest_begins_when_a_look_up_has_failed(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """leaves a service that fails slowly alone for a second, too."""
    directory.hold()
    asking = asyncio.create_task(cache.standing(ADA))
    await directory.arrived.wait()
    clock.advance(4)
    directory.down = True
    directory.release()
    for doomed in (asking, cache.standing(ADA), cache.standing(BOB)):
        with pytest.raises(RevocationUnavailable):
            await doomed
    assert len(directory.batches) == 1


async def test_silent_service_counts_as_down_for_good_users(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """makes good users wait a moment, not for as long as a hanging service hangs; unknown users wait."""
    monkeypatch.setattr(revocation_cache, "PATIENCE", 0.02)
    await cache.standing(ADA)
    directory.hold()
    clock.advance(STALENESS + 1)
    new = asyncio.create_task(cache.standing(BOB))
    assert (await cache.standing(ADA)).exists
    clock.advance(WINDOW)
    late = asyncio.create_task(cache.standing(ADA))
    await asyncio.sleep(0.05)
    assert not late.done()
    assert not new.done()
    directory.release()
    assert (await new).exists
    assert (await late).exists


async def test_silent_service_counts_as_down_for_bad_accounts(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """refuses a disabled account by name, however long ago it heard, when the service hangs."""
    monkeypatch.setattr(revocation_cache, "PATIENCE", 0.02)
    directory.users["ada"] = DISABLED
    await cache.standing(ADA)
    directory.hold()
    clock.advance(24 * 3600)
    asking = asyncio.create_task(cache.standing(ADA))
    await asyncio.wait({asking}, timeout=1)
    assert asking.done()
    assert (await asking).disabled


async def test_answer_slower_than_the_promise_still_counts_for_who_waited(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """does not ask for ever when the service takes longer to answer than an answer may be old."""
    directory.hold()
    asking = asyncio.create_task(cache.standing(ADA))
    await directory.arrived.wait()
    clock.advance(STALENESS + 1)
    directory.release()
    assert (await asking).exists
    assert len(directory.batches) == 1
    assert cache.peek(ADA) is None


async def test_tenants_fail_apart(cache: RevocationCache, directory: CountingDirectory, clock: FakeClock) -> None:
    """lets the users of one tenant not suffer from another's outage."""
    here, there = person("ada", "here"), person("bob", "there")
    await asyncio.gather(cache.standing(here), cache.standing(there))
    assert sorted(directory.asked) == [("here", ("ada",)), ("there", ("bob",))]
    directory.down_tenants = {"there"}
    clock.advance(STALENESS + WINDOW + 1)
    assert (await cache.standing(here)).exists
    with pytest.raises(RevocationUnavailable):
        await cache.standing(there)
    assert not cache.status().available
    clock.advance(2)
    assert cache.peek(here)


async def test_fault_in_the_directory_fails_closed(
    cache: RevocationCache, directory: CountingDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """refuses, and lives on, when a look-up breaks in a way nobody foresaw."""

    async def broken(tenant: str | None, uids: list[str]) -> dict[str, AccountRecord]:
        raise KeyError("unforeseen")

    with monkeypatch.context() as patch:
        patch.setattr(directory, "look_up", broken)
        with pytest.raises(RevocationUnavailable):
            await cache.standing(ADA)


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
