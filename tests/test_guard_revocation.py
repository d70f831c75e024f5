"""The judge, when revocation cannot be asked and when sessions were ended here."""

from __future__ import annotations

import dataclasses

import pytest

from gateway import reasons
from gateway.adapters.memory import MemoryDenyList
from gateway.core.claims import Claims, Principal
from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Challenge, Decision, Deny
from gateway.core.ports import Standing
from gateway.core.target import parse_target
from gateway.core.trail import Trail
from gateway.errors import RevocationUnavailable
from gateway.guard import UNCHECKED_EPOCH, SessionGuard
from gateway.policy.routes import Auth, OnOutage, Route, RouteTable
from tests.support.clock import FakeClock
from tests.support.wire import claims_of

ALLOW = OnOutage.ALLOW_UNTIL_EXP
ROUTES = RouteTable(
    [
        Route("lenient", "/lenient/**", "app", on_revocation_outage=ALLOW),
        Route("either", "/either/**", "app", Auth.OPTIONAL),
        Route("lenient-either", "/lenient-either/**", "app", Auth.OPTIONAL, on_revocation_outage=ALLOW),
        Route("app", "/app/**", "app"),
    ]
)
CLAIMS = dataclasses.replace(claims_of(), auth_time=int(FakeClock().now()) - 600)
GOOD = Standing(exists=True, disabled=False, valid_since=CLAIMS.auth_time, epoch=7, checked_at=0.0)
REVOKED = dataclasses.replace(GOOD, valid_since=CLAIMS.auth_time + 1)


class World:
    """A verifier that believes everything, and a revocation source that is down."""

    def __init__(self, known: Standing | None = None) -> None:
        self.known = known
        self.fresh: Standing | None = None
        self.asked = 0

    async def verify(self, token: str) -> Claims:
        return CLAIMS

    def peek(self, principal: Principal) -> Standing | None:
        return self.fresh

    async def standing(self, principal: Principal) -> Standing:
        self.asked += 1
        raise RevocationUnavailable("down", retry_after=3)

    def last_known(self, principal: Principal) -> Standing | None:
        assert principal == CLAIMS.principal
        return self.known


def guard(world: World, deny_list: MemoryDenyList | None = None) -> SessionGuard:
    return SessionGuard(
        routes=ROUTES,
        verifier=world,
        revocation=world,
        addresses=AddressResolver(),
        clock=FakeClock(),
        deny_list=deny_list,
    )


async def judge(guard: SessionGuard, path: str, trail: Trail | None = None) -> Decision:
    headers = Headers(((b"Authorization", b"Bearer a.b.c"),))
    return await guard.judge(RequestContext("GET", "http", "app.test", parse_target(path), "192.0.2.1", headers), trail)


# ---- an account service that does not answer (threats.md row 40) -----------------------------------------------------


async def test_unknown_users_are_refused_by_default() -> None:
    """answers 503 about somebody of whom nothing is known, and says when to try again."""
    decision = await judge(guard(World()), "/app/x")
    assert isinstance(decision, Deny)
    assert (decision.reason, decision.retry_after) == (reasons.REVOCATION_UNAVAILABLE, 3)


@pytest.mark.parametrize("known", [None, GOOD])
async def test_a_route_may_let_good_tokens_pass(known: Standing | None) -> None:
    """lets a session pass unchecked where the route says so, under a reason of its own, and never from memory."""
    trail = Trail()
    decision = await judge(guard(World(known)), "/lenient/x", trail)
    assert isinstance(decision, Allow)
    assert decision.reason is reasons.SESSION_UNCHECKED
    assert decision.session is not None
    assert decision.conditions.epoch == UNCHECKED_EPOCH
    (step,) = [step for step in trail.steps if step.name == "revocation"]
    assert step.ok
    assert "the route lets that pass" in step.answer


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (REVOKED, reasons.SESSION_REVOKED),
        (dataclasses.replace(GOOD, disabled=True), reasons.USER_DISABLED),
        (dataclasses.replace(GOOD, exists=False), reasons.USER_NOT_FOUND),
    ],
)
async def test_known_bad_stays_bad_on_every_route(known: Standing, reason: reasons.Reason) -> None:
    """readmits nobody during an outage who was known to be revoked, disabled or gone, whatever the route says."""
    decision = await judge(guard(World(known)), "/lenient/x")
    assert isinstance(decision, Challenge)
    assert decision.reason is reason
    assert not isinstance(await judge(guard(World(known)), "/app/x"), Allow)


async def test_optional_routes_are_anonymous_unless_they_say_otherwise() -> None:
    """serves somebody it cannot check as a visitor, or as themselves where the route says so."""
    decision = await judge(guard(World()), "/either/x")
    assert isinstance(decision, Allow)
    assert (decision.session, decision.ignored) == (None, reasons.REVOCATION_UNAVAILABLE)
    decision = await judge(guard(World()), "/lenient-either/x")
    assert isinstance(decision, Allow)
    assert decision.session is not None


async def test_what_is_known_and_fresh_is_not_asked_again() -> None:
    """decides on a fresh standing without waiting for anybody."""
    world = World()
    world.fresh = GOOD
    decision = await judge(guard(world), "/app/x")
    assert isinstance(decision, Allow)
    assert (decision.reason, decision.conditions.epoch, world.asked) == (reasons.SESSION_VALID, GOOD.epoch, 0)


def test_a_lenient_reading_does_not_stand_in_for_a_strict_route() -> None:
    """counts a route that lets unchecked sessions pass as the weaker one of two readings."""
    lenient, strict = (Route("r", "/**", "app", on_revocation_outage=what) for what in (ALLOW, OnOutage.DENY))
    assert strict.guards_as_well_as(lenient)
    assert strict.guards_as_well_as(strict)
    assert lenient.guards_as_well_as(lenient)
    assert not lenient.guards_as_well_as(strict)


# ---- sessions that were ended here -----------------------------------------------------------------------------------


async def test_an_ended_session_is_refused_from_the_next_request_on() -> None:
    """asks whoever signed out of a session to sign in again, and has the browser forget it first."""
    world = World()
    world.fresh = GOOD
    deny_list = MemoryDenyList(FakeClock())
    judging = guard(world, deny_list)
    decision = await judge(judging, "/app/x")
    assert isinstance(decision, Allow)
    assert decision.conditions.denials == deny_list.generation
    deny_list.deny(CLAIMS.principal, CLAIMS.auth_time)
    assert decision.conditions.denials != deny_list.generation
    trail = Trail()
    refused = await judge(judging, "/app/x", trail)
    assert isinstance(refused, Challenge)
    assert refused.reason is reasons.SESSION_SIGNED_OUT
    assert refused.reason.sign_out
    assert (trail.steps[-1].name, trail.steps[-1].ok) == ("sign-out", False)


async def test_other_sessions_go_on_and_remember_that_there_was_news() -> None:
    """leaves other sessions of the user alone; their decisions stand on the list as it is now."""
    world = World()
    world.fresh = GOOD
    deny_list = MemoryDenyList(FakeClock())
    deny_list.deny(CLAIMS.principal, CLAIMS.auth_time - 1)
    decision = await judge(guard(world, deny_list), "/app/x")
    assert isinstance(decision, Allow)
    assert decision.conditions.denials == 1


async def test_a_session_that_ends_while_its_standing_is_awaited_is_refused() -> None:
    """looks at the list after all waiting is done, so that no answer overtakes a sign-out."""
    deny_list = MemoryDenyList(FakeClock())

    class Slow(World):
        async def standing(self, principal: Principal) -> Standing:
            deny_list.deny(CLAIMS.principal, CLAIMS.auth_time)
            return GOOD

    decision = await judge(guard(Slow(), deny_list), "/app/x")
    assert decision.reason is reasons.SESSION_SIGNED_OUT


async def test_an_ended_session_stays_ended_through_an_outage() -> None:
    """refuses an ended session also where unchecked ones pass."""
    deny_list = MemoryDenyList(FakeClock())
    deny_list.deny(CLAIMS.principal, CLAIMS.auth_time)
    assert (await judge(guard(World(), deny_list), "/lenient/x")).reason is reasons.SESSION_SIGNED_OUT
