from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.adapters import revocation_cache
from gateway.adapters.revocation_cache import RevocationCache
from gateway.core.ports import AccountRecord
from gateway.errors import RevocationUnavailable
from tests.support.accounts import CountingDirectory, person
from tests.support.clock import NOW, FakeClock

STALENESS = revocation_cache.DEFAULT_MAX_STALENESS
WINDOW = revocation_cache.DEFAULT_OUTAGE_WINDOW

ADA, BOB, EVE = person("ada"), person("bob"), person("eve")
DISABLED = AccountRecord(disabled=True, valid_since=0)
REVOKED = AccountRecord(disabled=False, valid_since=int(NOW))


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
