"""What checking sessions costs the services behind it, and what their failures cost sessions.

Everything but time is real here: the judge, the verifier, both caches, firebase-admin and aiohttp as clients, and
sockets to servers that count. Time passes only when a test says so.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway import reasons
from gateway.adapters import google_keys, revocation_cache
from gateway.adapters.firebase_users import BearerSecret, FirebaseDirectory
from gateway.adapters.google_keys import PublishedKeys
from gateway.adapters.memory import MemoryDenyList
from gateway.adapters.revocation_cache import RevocationCache
from gateway.core.claims import Principal
from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Decision, Deny
from gateway.core.target import parse_target
from gateway.guard import SessionGuard
from gateway.policy.routes import Auth, OnOutage, Route, RouteTable
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.verifier import IdTokenVerifier
from tests.support import forge
from tests.support.accounts import AccountServer
from tests.support.clock import FakeClock, eventually, settle
from tests.support.issuer import KeyServer

STALENESS = revocation_cache.DEFAULT_MAX_STALENESS
WINDOW = revocation_cache.DEFAULT_OUTAGE_WINDOW
OUTAGE = 600
"""Seconds."""

ROUTES = RouteTable(
    [
        Route("open", "/open/**", "app", Auth.PUBLIC),
        Route("lenient", "/lenient/**", "app", on_revocation_outage=OnOutage.ALLOW_UNTIL_EXP),
        Route("app", "/**", "app"),
    ]
)


def user(uid: str, *, disabled: bool = False, valid_since: int = 0) -> dict[str, Any]:
    """A record as the account service sends it (identity-toolkit.md section 10.1)."""
    return {"localId": uid, "disabled": disabled, "validSince": str(valid_since)}


def principal(uid: str) -> Principal:
    return Principal(forge.PROJECT, None, uid)


@dataclass
class World:
    """A judge and the services behind it."""

    clock: FakeClock
    accounts: AccountServer
    issuer: KeyServer
    cache: RevocationCache
    keys: PublishedKeys
    deny_list: MemoryDenyList
    guard: SessionGuard

    def token(self, uid: str, **claims: Any) -> str:
        return forge.id_token(now=self.clock.now(), uid=uid, **claims)

    async def ask(self, token: str, path: str = "/x") -> Decision:
        headers = Headers(((b"Authorization", b"Bearer " + token.encode()),))
        return await self.guard.judge(RequestContext("GET", "http", "a.test", parse_target(path), "192.0.2.1", headers))

    async def quiet(self) -> None:
        """Wait until every look-up that was sent has been answered, and none follows from the answers."""
        while True:
            await eventually(lambda: not self.cache._tasks and self.keys._flight is None)
            await settle()
            if not self.cache._tasks and self.keys._flight is None:
                return

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, a second at a time; answers come within the same second."""
        for _ in range(int(seconds)):
            await self.clock.run_for(1)
            await self.quiet()
        await self.clock.run_for(seconds % 1)
        await self.quiet()

    def fail(self) -> None:
        async def unavailable(_: web.Request) -> web.StreamResponse:
            return web.json_response({"error": {"code": 503, "message": "UNAVAILABLE"}}, status=503)

        self.accounts.answer = unavailable


@asynccontextmanager
async def world(uids: Sequence[str] = (), **figures: float) -> AsyncIterator[World]:
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        accounts = await stack.enter_async_context(AccountServer(project=forge.PROJECT))
        accounts.users |= {uid: user(uid) for uid in uids}
        issuer = await stack.enter_async_context(KeyServer())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        directory = FirebaseDirectory(forge.PROJECT, BearerSecret("owner"), endpoint=accounts.url)
        stack.push_async_callback(directory.close)
        cache = RevocationCache(directory, clock, sleep=clock.sleep, **figures)  # type: ignore[arg-type]
        stack.push_async_callback(cache.close)
        keys = PublishedKeys(issuer.url, session, clock, sleep=clock.sleep)
        stack.push_async_callback(keys.close)
        verifier = IdTokenVerifier(IdTokenRules(forge.PROJECT), keys, clock)
        keys.on_change(verifier.keys_changed)
        deny_list = MemoryDenyList(clock)
        guard = SessionGuard(
            routes=ROUTES,
            verifier=verifier,
            revocation=cache,
            addresses=AddressResolver(),
            clock=clock,
            deny_list=deny_list,
        )
        await cache.start()
        yield World(clock, accounts, issuer, cache, keys, deny_list, guard)


# ---- look-ups --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_period", [2_000, 10_000])
async def test_look_ups_hang_on_users_and_not_on_requests(per_period: int) -> None:
    """looks 500 active users up with five calls a staleness period, at two thousand requests a minute as at ten."""
    uids = [f"user-{number}" for number in range(500)]
    async with world(uids) as it:
        tokens = [it.token(uid) for uid in uids]
        # All at once, as after a restart under load.
        assert {type(found) for found in await asyncio.gather(*map(it.ask, tokens))} == {Allow}
        await it.quiet()
        assert len(it.accounts.requests) == 5
        turn = itertools.cycle(zip(uids, tokens, strict=True))
        # Steps that binary fractions hold: with others, rounding makes a second look old a hair before it is.
        steps = 80
        for period in range(3):
            before = len(it.accounts.requests)
            for _ in range(steps):
                await it.clock.run_for(STALENESS / steps)
                await it.quiet()
                for uid, token in itertools.islice(turn, per_period // steps):
                    assert it.cache.peek(principal(uid)), "a request would have had to wait"
                    assert isinstance(await it.ask(token), Allow)
                assert it.cache.staleness() <= STALENESS
            assert len(it.accounts.requests) - before <= 5, f"period {period + 1}"
        sizes = [len(seen.body["localId"]) for seen in it.accounts.requests]
        assert max(sizes) == 100
        assert it.cache.look_ups == len(sizes) <= 5 * (1 + 3)


async def test_a_crowd_of_first_requests_is_one_fetch_and_one_look_up_a_user() -> None:
    """fetches certificates once for 200 cold requests, and looks each of their users up once."""
    uids = [f"user-{number}" for number in range(100)]
    async with world(uids) as it:
        it.issuer.hold()
        asked = [asyncio.create_task(it.ask(it.token(uid))) for uid in uids * 2]
        await it.issuer.arrived.wait()
        await asyncio.sleep(0)
        it.issuer.release()
        assert {type(found) for found in await asyncio.gather(*asked)} == {Allow}
        assert it.issuer.fetches == 1
        looked_up = [uid for seen in it.accounts.requests for uid in seen.body["localId"]]
        assert sorted(looked_up) == sorted(uids)


async def test_unknown_key_names_do_not_make_it_fetch() -> None:
    """lets 300 tokens with made-up key names cause one refresh in five seconds at most, and refuses them all."""
    async with world(["ada"]) as it:
        assert isinstance(await it.ask(it.token("ada")), Allow)
        assert it.issuer.fetches == 1
        await it.pass_time(google_keys.FORCED_INTERVAL + 1)
        for round_ in range(2):
            strange = [it.token("ada", kid=f"made-up-{round_}-{n}", signed_with=forge.KID) for n in range(300)]
            for crowd in (strange[:150], strange[150:]):
                found = await asyncio.gather(*map(it.ask, crowd))
                assert {decision.reason for decision in found} == {reasons.TOKEN_KEY_UNKNOWN}
                await it.pass_time(google_keys.FORCED_INTERVAL / 2 - 0.1)
            assert it.issuer.fetches == 2 + round_
            await it.pass_time(google_keys.FORCED_INTERVAL)
        assert len(it.accounts.requests) == 1


# ---- outages ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("window", [WINDOW, OUTAGE])
async def test_an_outage_refuses_nobody_known_to_be_good_and_readmits_nobody(window: float) -> None:
    """lets good users pass for the stated time of an outage of ten minutes, and revoked ones never, on any route."""
    async with world(
        ["good", "idle", "revoked", "disabled", "ended", "everywhere", "late"], outage_window=window
    ) as it:
        it.accounts.users["revoked"] = user("revoked", valid_since=int(it.clock.now()) - 1)
        it.accounts.users["disabled"] = user("disabled", disabled=True)
        everybody = (*it.accounts.users, "gone", "unknown")
        tokens = {uid: it.token(uid) for uid in everybody}
        for uid in everybody:
            if uid not in {"unknown", "everywhere"}:
                await it.ask(tokens[uid])
        it.deny_list.deny(principal("ended"), int(it.clock.now()) - 600)
        await it.cache.revoke_now(principal("everywhere"))
        checked_at = it.clock.monotonic()
        it.fail()
        asked = len(it.accounts.requests)
        refused_at: float | None = None
        there = True
        while (age := it.clock.monotonic() - checked_at) < OUTAGE:
            await it.pass_time(5)
            if there and age >= OUTAGE / 2:
                there = False
                await it.accounts.close()  # from a 503 to nobody there at all
            good = await it.ask(tokens["good"])
            if isinstance(good, Deny):
                assert good.reason is reasons.REVOCATION_UNAVAILABLE
                refused_at = refused_at or it.clock.monotonic() - checked_at
            for uid in ("revoked", "disabled", "ended", "everywhere", "gone"):
                for path in ("/x", "/lenient/x"):
                    assert not isinstance(await it.ask(tokens[uid], path), Allow), (uid, path, age)
            unknown = await it.ask(tokens["unknown"])
            assert unknown.reason is reasons.REVOCATION_UNAVAILABLE
            assert (await it.ask(tokens["unknown"], "/lenient/x")).reason is reasons.SESSION_UNCHECKED
            assert isinstance(await it.ask(tokens["unknown"], "/open/x"), Allow)
        if window == OUTAGE:
            assert refused_at is None
            assert isinstance(await it.ask(tokens["idle"]), Allow)
        else:
            assert refused_at is not None
            assert STALENESS + window < refused_at <= STALENESS + window + 5
        assert len(it.accounts.requests) - asked <= OUTAGE, "more than one attempt a second"


async def test_a_revocation_elsewhere_shows_within_the_promise() -> None:
    """refuses a session within the promised staleness after somebody else revoked it, over real sockets."""
    async with world(["ada"]) as it:
        token = it.token("ada")
        assert isinstance(await it.ask(token), Allow)
        await it.pass_time(17)
        it.accounts.users["ada"] = user("ada", valid_since=int(it.clock.now()))
        waited = 0
        while isinstance(await it.ask(token), Allow):
            await it.pass_time(1)
            waited += 1
        assert waited <= STALENESS
        assert (await it.ask(token)).reason is reasons.SESSION_REVOKED
        assert isinstance(await it.ask(it.token("ada", auth_time=int(it.clock.now()))), Allow)


async def test_a_revocation_of_its_own_holds_from_the_next_request_on() -> None:
    """refuses every older session of a user whom it revoked, at once, even where the service's answers lag behind."""
    async with world(["ada"]) as it:
        token = it.token("ada")
        assert isinstance(await it.ask(token), Allow)
        await it.cache.revoke_now(principal("ada"), it.clock.now())
        assert (await it.ask(token)).reason is reasons.SESSION_REVOKED
        it.accounts.users["ada"] = user("ada")
        await it.pass_time(STALENESS + 1)
        assert (await it.ask(token)).reason is reasons.SESSION_REVOKED


async def test_without_certificates_only_sessions_wait() -> None:
    """answers 503 with a time while certificates are out of reach, spares public routes and recovers by itself."""
    async with world(["ada"]) as it:
        it.issuer.status = 500
        token = it.token("ada")
        decision = await it.ask(token)
        assert isinstance(decision, Deny)
        assert decision.reason is reasons.KEYS_UNAVAILABLE
        assert decision.retry_after
        assert isinstance(await it.ask(token, "/open/x"), Allow)
        it.issuer.status = 200
        await it.pass_time(decision.retry_after)
        assert isinstance(await it.ask(token), Allow)
        # From here on the last good keys stand, whatever the issuer says.
        it.issuer.status, it.issuer.body = 200, b"<html>"
        await it.keys.start()
        await it.pass_time(5)
        assert isinstance(await it.ask(token), Allow)


# ---- the clock (threats.md row 45) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [3600, -3600])
async def test_a_step_of_the_clock_has_everything_checked_again(step: int) -> None:
    """asks for keys and standings again when the wall clock is stepped, and counts nothing known as fresh."""
    async with world(["ada"]) as it:
        await it.keys.start()
        token = it.token("ada")
        assert isinstance(await it.ask(token), Allow)
        await it.pass_time(1)
        assert it.cache.peek(principal("ada"))
        it.accounts.users["ada"] = user("ada", disabled=True)
        fetches = it.issuer.fetches
        it.clock.jump(step)
        await it.pass_time(2)
        again = it.token("ada", auth_time=int(it.clock.now()) - 5)
        assert (await it.ask(again)).reason is reasons.USER_DISABLED
        await it.pass_time(google_keys.CLOCK_CHECK_INTERVAL)
        assert it.issuer.fetches == fetches + 1


async def test_an_expired_token_is_refused_at_the_very_step() -> None:
    """compares expiry with the wall clock on each request, so a step forward outlives no token."""
    async with world(["ada"]) as it:
        token = it.token("ada")
        assert isinstance(await it.ask(token), Allow)
        it.clock.jump(3600)
        assert (await it.ask(token)).reason is reasons.TOKEN_EXPIRED
