from __future__ import annotations

import asyncio

import pytest

from gateway.adapters import revocation_cache
from gateway.adapters.revocation_cache import RevocationCache
from gateway.core.claims import Principal
from gateway.core.ports import AccountRecord, Standing
from gateway.errors import RevocationUnavailable
from tests.support.accounts import CountingDirectory, person
from tests.support.clock import NOW, FakeClock

STALENESS = revocation_cache.DEFAULT_MAX_STALENESS
WINDOW = revocation_cache.DEFAULT_OUTAGE_WINDOW

ADA, BOB, EVE = person("ada"), person("bob"), person("eve")
REVOKED = AccountRecord(disabled=False, valid_since=int(NOW))


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


async def test_answer_that_is_behind_does_not_undo_a_revocation(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """keeps its own revocation even when a later answer of the service does not know of it."""
    await cache.standing(ADA)
    await cache.revoke_now(ADA, clock.now())
    revoked_at = int(clock.now())
    directory.users["ada"] = AccountRecord(disabled=False, valid_since=7)
    clock.advance(STALENESS + 1)
    assert (await cache.standing(ADA)).valid_since == revoked_at
    directory.users["ada"] = AccountRecord(disabled=False, valid_since=revoked_at + 9)
    clock.advance(STALENESS + 1)
    assert (await cache.standing(ADA)).valid_since == revoked_at + 9


async def test_revocation_of_a_user_nobody_saw_asks_on_the_next_request(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """revokes users it never saw, and hears of it from the service when they come."""
    await cache.revoke_now(BOB)
    assert directory.revoked == [BOB]
    assert cache.peek(BOB) is None
    assert (await cache.standing(BOB)).valid_since == int(clock.now())
    assert directory.batches == [("bob",)]


async def test_revocation_of_a_user_nobody_saw_is_known_through_an_outage(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """remembers whom it revoked without ever having seen them, so that no route setting lets them in meanwhile."""
    await cache.start()
    await cache.revoke_now(BOB)
    revoked_at = int(clock.now())
    directory.down = True
    clock.advance(STALENESS)
    with pytest.raises(RevocationUnavailable):
        await cache.standing(BOB)
    known = cache.last_known(BOB)
    assert known is not None
    assert known.valid_since == revoked_at
    assert cache.staleness() == 0.0
    directory.down = False
    await clock.run_for(3)
    assert (await cache.standing(BOB)).valid_since == revoked_at


# ---- bad news --------------------------------------------------------------------------------------------------------


async def test_bad_news_is_kept_while_a_token_from_before_can_be_alive(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """remembers who was disabled, deleted or revoked for as long as their last token can live, and others shorter."""
    await cache.start()
    directory.users["ada"] = AccountRecord(disabled=True, valid_since=0)
    directory.users["eve"] = AccountRecord(disabled=False, valid_since=int(clock.now()))
    directory.users["old"] = AccountRecord(disabled=False, valid_since=int(clock.now() - revocation_cache.TOKEN_LIFE))
    gone, old = person("gone"), person("old")
    everybody = (ADA, BOB, EVE, gone, old)
    for one in everybody:
        await cache.standing(one)
    await clock.run_for(STALENESS + WINDOW + 2)
    assert [cache.last_known(one) is not None for one in everybody] == [True, False, True, True, False]
    assert [cache.peek(one) for one in everybody] == [None] * len(everybody)
    await clock.run_for(revocation_cache.TOKEN_LIFE - 4)
    assert cache.status().users == 3
    await clock.run_for(5)
    assert cache.status().users == 0
    assert len(directory.batches) == len(everybody)


async def test_condemned_user_who_comes_back_is_like_any_other(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """asks anew about somebody remembered for bad news, and keeps them fresh when the news is good again."""
    await cache.start()
    directory.users["ada"] = AccountRecord(disabled=True, valid_since=0)
    await cache.standing(ADA)
    await clock.run_for(STALENESS + WINDOW + 2)
    directory.users["ada"] = AccountRecord(disabled=False, valid_since=0)
    assert not (await cache.standing(ADA)).disabled
    for _ in range(int(revocation_cache.TOKEN_LIFE / 30) + 2):
        await clock.run_for(30)
        assert cache.peek(ADA)


async def test_bad_news_goes_last_from_a_full_table(directory: CountingDirectory, clock: FakeClock) -> None:
    """forgets good users before bad ones, and bad ones before it grows."""
    cache = RevocationCache(directory, clock, max_users=100, sleep=clock.sleep)
    for number in range(99):
        await cache.standing(person(f"user-{number}"))
    await cache.revoke_now(ADA)
    await cache.standing(person("one-more"))
    assert cache.last_known(ADA)
    for number in range(99):
        await cache.revoke_now(person(f"gone-{number}"))
    assert cache.status().users == 100
    assert cache.last_known(ADA)
    await cache.revoke_now(EVE)
    assert cache.status().users == 100
    assert cache.last_known(ADA) is None
    await cache.close()


async def test_status_and_counts_tell_how_much_is_asked_and_for_how_long_in_vain(
    cache: RevocationCache, directory: CountingDirectory, clock: FakeClock
) -> None:
    """counts look-ups, the users in them and failures, and says since when the service is down."""
    await asyncio.gather(cache.standing(ADA), cache.standing(BOB))
    assert (cache.look_ups, cache.asked, cache.failures) == (1, 2, 0)
    assert (cache.status().available, cache.status().down_for) == (True, 0.0)
    directory.down = True
    with pytest.raises(RevocationUnavailable):
        await cache.standing(EVE)
    clock.advance(7)
    assert (cache.look_ups, cache.asked, cache.failures) == (2, 3, 1)
    assert (cache.status().available, cache.status().down_for) == (False, 7.0)


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


async def test_revocations_are_passed_on(cache: RevocationCache, clock: FakeClock) -> None:
    """... tells of its own confirmed revocation, and heeds one that another process was told of."""
    told: list[tuple[Principal, int]] = []
    cache.on_revoked = lambda *news: told.append(news)
    await cache.revoke_now(person("ada"))
    assert told == [(person("ada"), int(clock.now()))]
    assert (await cache.standing(person("bob"))).valid_since == 0
    cache.revoked(person("bob"), int(clock.now()))
    standing = cache.peek(person("bob"))
    assert standing is not None
    assert standing.valid_since == int(clock.now())
    assert len(told) == 1


async def test_another_promise_takes_nothing_away(cache: RevocationCache, clock: FakeClock) -> None:
    """... goes by another promise at once, on what it knows already."""
    await cache.standing(person("ada"))
    clock.advance(20)
    assert cache.peek(person("ada")) is not None
    cache.retune(10.0, 5.0)
    assert cache.peek(person("ada")) is None
    cache.retune(30.0, 5.0)
    assert cache.peek(person("ada")) is not None
