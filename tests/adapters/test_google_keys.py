from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.adapters import google_keys
from gateway.adapters.google_keys import PublishedKeys, RemovedKeys, freshness
from gateway.errors import ConfigError, KeysUnavailable
from tests.support import forge
from tests.support.clock import FakeClock, eventually, settle
from tests.support.issuer import KeyServer

HOUR = 3600


@pytest.fixture
async def issuer() -> AsyncIterator[KeyServer]:
    async with KeyServer() as server:
        yield server


@pytest.fixture
async def keys(issuer: KeyServer, clock: FakeClock) -> AsyncIterator[PublishedKeys]:
    async with aiohttp.ClientSession() as session:
        source = PublishedKeys(issuer.url, session, clock, sleep=clock.sleep)
        yield source
        await source.close()


# ---- how long keys live ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([], google_keys.DEFAULT_LIFETIME),
        ([("Cache-Control", "public")], google_keys.DEFAULT_LIFETIME),
        ([("Cache-Control", "public, max-age=7200, must-revalidate")], 7200),
        ([("cache-control", 'MAX-AGE="7200"')], 7200),
        ([("Cache-Control", "public"), ("Cache-Control", "max-age=7200")], 7200),
        ([("Cache-Control", "max-age=7200, max-age=600")], 600),
        ([("Cache-Control", "max-age=7200"), ("Age", "1200")], 6000),
        ([("Cache-Control", "max-age=7200"), ("Age", "7200")], google_keys.MIN_LIFETIME),
        ([("Cache-Control", "max-age=7200"), ("Age", "soon")], 7200),
        ([("Cache-Control", "max-age=0")], google_keys.MIN_LIFETIME),
        ([("Cache-Control", "no-store, max-age=7200")], google_keys.MIN_LIFETIME),
        ([("Cache-Control", "no-cache")], google_keys.MIN_LIFETIME),
        ([("Cache-Control", "max-age=-1")], google_keys.MIN_LIFETIME),
        ([("Cache-Control", "max-age=")], google_keys.MIN_LIFETIME),
        ([("Cache-Control", "max-age=1e9")], google_keys.MIN_LIFETIME),
        ([("Cache-Control", "max-age=٣٦٠٠")], google_keys.MIN_LIFETIME),
        ([("Cache-Control", "max-age=999999999")], google_keys.MAX_LIFETIME),
        ([("Cache-Control", "max-age=" + "9" * 5000)], google_keys.MAX_LIFETIME),
        ([("Cache-Control", "s-maxage=1")], google_keys.DEFAULT_LIFETIME),
    ],
)
def test_lifetime_is_what_the_issuer_says_within_bounds(fields: list[tuple[str, str]], seconds: float) -> None:
    """keeps keys for max-age less Age, never shorter or longer than its own bounds."""
    assert freshness(CIMultiDictProxy(CIMultiDict(fields))) == seconds


async def test_keys_are_fetched_again_only_when_their_lifetime_is_over(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock
) -> None:
    """verifies for a whole lifetime on one fetch, and not a second longer."""
    assert await keys.key(forge.KID)
    clock.advance(HOUR)
    assert keys.peek(forge.KID)
    clock.advance(1)
    assert keys.peek(forge.KID) is None
    assert await keys.key(forge.KID)
    assert issuer.fetches == 2


async def test_background_fetches_ahead_so_that_no_request_waits(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock
) -> None:
    """has fresh keys before the old ones run out."""
    assert await keys.start() is True
    for fetches in (2, 3, 4):
        await clock.run_for(HOUR * 0.8)
        await eventually(lambda: keys.status().age == 0)
        assert issuer.fetches == fetches
        assert keys.peek(forge.KID)


async def test_keys_live_on_unchanged_as_objects(issuer: KeyServer, keys: PublishedKeys, clock: FakeClock) -> None:
    """keeps a key's prepared state over refreshes that do not change it."""
    before = await keys.key(forge.KID)
    clock.advance(HOUR + 1)
    assert await keys.key(forge.KID) is before
    assert issuer.fetches == 2


# ---- rotation ------------------------------------------------------------------------------------------------------


async def test_withdrawn_key_is_refused_from_the_next_refresh_on(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock
) -> None:
    """stops accepting a key that the issuer no longer publishes, and tells whoever still remembers its signatures."""
    heard: list[RemovedKeys] = []
    keys.on_change(heard.append)
    issuer.body = forge.certificates("old", "kept")
    assert await keys.key("old")
    generation = keys.generation
    issuer.body = forge.certificates("kept", "new")
    clock.advance(HOUR + 1)
    assert await keys.key("new")
    assert keys.peek("old") is None
    assert await keys.key("old") is None
    assert keys.peek("kept")
    assert heard == [frozenset(), {"old"}]
    assert keys.generation == generation + 1
    keys.leave(heard.append)
    issuer.body = forge.certificates("newer")
    clock.advance(HOUR + 1)
    assert await keys.key("newer")
    assert len(heard) == 2


async def test_key_replaced_under_its_name_counts_as_withdrawn(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock
) -> None:
    """never lets an old verdict stand on a name whose key has changed."""
    heard: list[RemovedKeys] = []
    keys.on_change(heard.append)
    issuer.body = forge.jwks("one")
    first = await keys.key("one")
    issuer.body = b'{"keys": [%s]}' % forge.jwks("two")[10:-2].replace(b'"kid": "two"', b'"kid": "one"')
    clock.advance(HOUR + 1)
    second = await keys.key("one")
    assert first is not None
    assert second is not None
    assert second != first
    assert heard[-1] == {"one"}


async def test_failing_listener_keeps_nothing_from_the_others(
    issuer: KeyServer, keys: PublishedKeys, caplog: pytest.LogCaptureFixture
) -> None:
    """goes on when one of its caches cannot take the news."""
    heard: list[RemovedKeys] = []

    def broken(removed: RemovedKeys) -> None:
        raise RuntimeError("out of order")

    keys.on_change(broken)
    keys.on_change(heard.append)
    assert await keys.key(forge.KID)
    assert heard == [frozenset()]
    assert "listener" in caplog.text


# ---- unknown names -------------------------------------------------------------------------------------------------


async def test_new_key_is_found_by_one_forced_refresh(issuer: KeyServer, keys: PublishedKeys, clock: FakeClock) -> None:
    """accepts a key published since its last fetch without waiting for max-age."""
    assert await keys.key(forge.KID)
    issuer.body = forge.certificates(forge.KID, "new")
    assert await keys.key("new") is None  # too soon after the last fetch
    clock.advance(google_keys.FORCED_INTERVAL)
    assert await keys.key("new")
    assert issuer.fetches == 2


async def test_three_hundred_unknown_names_bring_one_refresh_in_five_seconds(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock
) -> None:
    """cannot be made to fetch by a flood of invented key names."""
    assert await keys.key(forge.KID)
    for second in range(10):
        clock.advance(1)
        answers = await asyncio.gather(*(keys.key(f"invented-{second}-{number}") for number in range(300)))
        assert answers == [None] * 300
    assert issuer.fetches == 1 + 2
    assert len(keys._absent) <= google_keys.MAX_ABSENT


async def test_name_found_absent_is_not_asked_for_again_for_a_minute(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock
) -> None:
    """remembers that a key does not exist, and for a minute only, because issuers sit behind caches of their own."""
    assert await keys.key(forge.KID)
    clock.advance(google_keys.FORCED_INTERVAL)
    assert await keys.key("absent") is None
    assert issuer.fetches == 2
    clock.advance(google_keys.ABSENT_LIFETIME - 1)
    assert await keys.key("absent") is None
    assert issuer.fetches == 2
    issuer.body = forge.certificates(forge.KID, "absent")
    clock.advance(1)
    assert await keys.key("absent")


async def test_absent_names_are_bounded(
    issuer: KeyServer, keys: PublishedKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """forgets the oldest unknown name rather than grow."""
    monkeypatch.setattr(google_keys, "MAX_ABSENT", 8)
    issuer.hold()
    flood = asyncio.gather(*(keys.key(f"invented-{number}") for number in range(100)))
    await issuer.arrived.wait()
    assert issuer.fetches == 1
    issuer.release()
    await flood
    assert await keys.key(forge.KID)
    for number in range(100):
        keys._remember_absent(f"invented-{number}")
    assert list(keys._absent) == [f"invented-{number}" for number in range(92, 100)]


async def test_forced_refresh_that_fails_refuses_the_token_and_keeps_the_keys(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock
) -> None:
    """treats an unknown key as unknown while the issuer is silent; known ones go on verifying."""
    assert await keys.key(forge.KID)
    issuer.status = 503
    clock.advance(google_keys.FORCED_INTERVAL)
    assert await keys.key("new") is None
    assert await keys.key("newer") is None
    assert issuer.fetches == 2
    assert keys.peek(forge.KID)


async def test_unknown_names_do_not_wake_a_failing_issuer(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock
) -> None:
    """keeps to its rests between attempts although tokens with unknown keys keep coming."""
    assert await keys.key(forge.KID)
    issuer.status = 503
    for second in range(60):
        clock.advance(1)
        assert await keys.key(f"invented-{second}") is None
    assert issuer.fetches == 1 + 7  # after 5, 10, 15, 20, 28, 44 and 60 seconds


# ---- failure -------------------------------------------------------------------------------------------------------


async def _broken(issuer: KeyServer, kind: str) -> None:
    match kind:
        case "status":
            issuer.status, issuer.body = 500, b"eyJ-secret"
        case "not json":
            issuer.body = b"<html>eyJ-secret</html>"
        case "no keys":
            issuer.body = b"{}"
        case "no usable key":
            issuer.body = b'{"kid": "-----BEGIN CERTIFICATE-----\\neyJ-secret"}'
        case "redirect":
            issuer.status, issuer.headers = 302, {"Location": "/elsewhere"}
        case "too long":
            issuer.body = forge.certificates() + b" " * google_keys.MAX_BODY
        case "local keys":
            issuer.body = forge.certificates("local-1", "local-2")


FAULTS = ["status", "not json", "no keys", "no usable key", "redirect", "too long", "local keys"]


@pytest.mark.parametrize("kind", FAULTS)
async def test_broken_answer_never_replaces_good_keys(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock, kind: str
) -> None:
    """keeps verifying with the last good keys for a day past their lifetime, whatever the issuer sends meanwhile."""
    assert await keys.key(forge.KID)
    await _broken(issuer, kind)
    clock.advance(HOUR + 1)
    assert await keys.key(forge.KID)
    status = keys.status()
    assert (status.usable, status.fresh, status.keys) == (True, False, 1)
    assert status.error is not None
    clock.advance(google_keys.GRACE - 1)
    assert keys.peek(forge.KID)
    assert keys.fault() is None
    clock.advance(1)
    assert keys.peek(forge.KID) is None
    with pytest.raises(KeysUnavailable):
        await keys.key(forge.KID)
    assert keys.fault() is not None


@pytest.mark.parametrize("kind", FAULTS)
async def test_cold_start_against_a_broken_issuer_is_a_503_that_says_when_to_retry(
    issuer: KeyServer, keys: PublishedKeys, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """starts without keys, says in its log what and where, repeats no body, and answers 503 with Retry-After."""
    await _broken(issuer, kind)
    assert await keys.start() is False
    with pytest.raises(KeysUnavailable) as caught:
        await keys.key(forge.KID)
    assert caught.value.retry_after >= 1
    assert issuer.url in caplog.text
    assert "eyJ" not in caplog.text + str(caught.value) + str(keys.status())
    assert issuer.fetches == 1


async def test_nobody_there_is_said_in_words(unused_tcp_port: int, clock: FakeClock) -> None:
    """reports an issuer that does not exist, and begins working when it appears."""
    async with aiohttp.ClientSession() as session:
        keys = PublishedKeys(f"http://127.0.0.1:{unused_tcp_port}/keys", session, clock)
        assert keys.fault() is not None
        with pytest.raises(KeysUnavailable, match=str(unused_tcp_port)):
            await keys.key(forge.KID)
        app = web.Application()
        app.router.add_get("/keys", _certificates)
        server = TestServer(app, port=unused_tcp_port)
        await server.start_server()
        clock.advance(google_keys.FIRST_RETRY)
        assert await keys.key(forge.KID)
        assert keys.fault() is None
        await server.close()


async def _certificates(request: web.Request) -> web.Response:
    return web.Response(body=forge.certificates())


async def test_silent_issuer_is_given_up_on(
    issuer: KeyServer, keys: PublishedKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """waits a few seconds for an issuer that accepts and never answers, not for ever."""
    monkeypatch.setattr(google_keys, "FETCH_TIMEOUT", 0.05)
    issuer.hold()
    with pytest.raises(KeysUnavailable, match="no answer within"):
        await keys.key(forge.KID)


async def test_attempts_back_off_while_the_issuer_is_down(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """asks a silent issuer ever more rarely, answers requests at once meanwhile, and logs once a minute."""
    issuer.status = 500
    asked_at: list[int] = []
    for second in range(60):
        before = issuer.fetches
        for _ in range(5):
            with pytest.raises(KeysUnavailable):
                await keys.key(forge.KID)
        if issuer.fetches > before:
            assert issuer.fetches == before + 1
            asked_at.append(second)
        clock.advance(1)
    assert asked_at == [0, 1, 3, 7, 15, 31, 47]
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
    issuer.status = 200
    clock.advance(google_keys.MAX_RETRY)
    assert await keys.key(forge.KID)
    assert "back" in caplog.text


async def test_background_retries_until_the_issuer_is_back(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock
) -> None:
    """recovers by itself, without a request to prod it."""
    issuer.status = 500
    assert await keys.start() is False
    issuer.status = 200
    await clock.run_for(google_keys.FIRST_RETRY)
    await eventually(lambda: keys.peek(forge.KID))


async def test_no_redirect_is_followed(issuer: KeyServer, keys: PublishedKeys) -> None:
    """fetches keys from the configured address and nowhere else."""
    issuer.status, issuer.headers = 307, {"Location": issuer.url}
    with pytest.raises(KeysUnavailable, match="status 307"):
        await keys.key(forge.KID)
    assert issuer.fetches == 1


# ---- who waits -----------------------------------------------------------------------------------------------------


async def test_request_that_goes_away_does_not_take_the_fetch_along(issuer: KeyServer, keys: PublishedKeys) -> None:
    """finishes a fetch for those who still wait when the one who began it is gone."""
    issuer.hold()
    first = asyncio.create_task(keys.key(forge.KID))
    second = asyncio.create_task(keys.key(forge.KID))
    await issuer.arrived.wait()
    first.cancel()
    await settle()
    issuer.release()
    assert await second
    assert issuer.fetches == 1


async def test_closing_ends_a_fetch_and_whoever_waits_is_told(issuer: KeyServer, keys: PublishedKeys) -> None:
    """stops at once although the issuer hangs."""
    issuer.hold()
    waiting = asyncio.create_task(keys.key(forge.KID))
    await issuer.arrived.wait()
    await keys.close()
    with pytest.raises(KeysUnavailable):
        await waiting


async def test_step_of_the_wall_clock_brings_a_fresh_look(
    issuer: KeyServer, keys: PublishedKeys, clock: FakeClock
) -> None:
    """checks its keys again when the machine's clock was stepped, since it may have slept."""
    await keys.start()
    await clock.run_for(google_keys.CLOCK_CHECK_INTERVAL)
    assert issuer.fetches == 1
    clock.jump(HOUR)
    await clock.run_for(google_keys.CLOCK_CHECK_INTERVAL)
    await eventually(lambda: issuer.fetches == 2)
    assert keys.peek(forge.KID)


# ---- what is taken -------------------------------------------------------------------------------------------------


async def test_local_keys_are_taken_by_development_configurations_only(issuer: KeyServer, clock: FakeClock) -> None:
    """drops the embedded provider's keys from a document unless it was told to take them."""
    issuer.body = forge.certificates("local-1", "real")
    async with aiohttp.ClientSession() as session:
        strict = PublishedKeys(issuer.url, session, clock)
        assert await strict.key("real")
        assert strict.peek("local-1") is None
        lenient = PublishedKeys(issuer.url, session, clock, accept_local=True)
        assert await lenient.key("local-1")


@pytest.mark.parametrize("make", [lambda url: url.replace("127.0.0.1", "keys.example"), lambda _: "not a url"])
async def test_unusable_address_is_refused_at_start(issuer: KeyServer, make: Callable[[str], str]) -> None:
    """does not start with a key address that others could answer for."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigError):
            PublishedKeys(make(issuer.url), session, FakeClock())


async def test_status_tells_how_old_the_keys_are(issuer: KeyServer, keys: PublishedKeys, clock: FakeClock) -> None:
    """tells readiness whether keys are there, how many and how old."""
    cold = keys.status()
    assert (cold.usable, cold.fresh, cold.keys, cold.age, cold.error) == (False, False, 0, None, None)
    await keys.key(forge.KID)
    clock.advance(120)
    warm = keys.status()
    assert (warm.usable, warm.fresh, warm.keys, warm.age, warm.error) == (True, True, 1, 120, None)
