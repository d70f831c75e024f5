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

ADA, BOB = person("ada"), person("bob")
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
