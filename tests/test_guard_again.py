"""The judge, asked about a request that is still under way."""

from __future__ import annotations

import dataclasses

import pytest

from gateway import reasons
from gateway.adapters.memory import MemoryDenyList
from gateway.core.claims import Claims
from gateway.core.decision import Allow, Challenge, Deny
from gateway.core.session import NetworkLevel
from gateway.errors import BadSignature, RevocationUnavailable, TokenExpired
from gateway.guard import SessionGuard
from gateway.policy.assurance import Requirements
from gateway.policy.networks import NetworkJudge
from gateway.policy.routes import Auth, Route, RouteTable
from gateway.reasons import Reason
from tests.support.clock import FakeClock
from tests.test_guard import CLAIMS, World, context, guard

RENEWED = dataclasses.replace(CLAIMS, expires_at=CLAIMS.expires_at + 3600)
FRESH = Requirements(max_auth_age=int(FakeClock().now()) - CLAIMS.auth_time + 60)


async def _allowed(by: SessionGuard, path: str = "/app/x", token: str | None = "a.b.c") -> Allow:
    decision = await by.judge(context(path, token=token))
    assert isinstance(decision, Allow)
    return decision


async def test_a_session_that_stands_goes_on() -> None:
    """gives the same answer about the same session, with conditions of now."""
    world = World()
    by = guard(world)
    earlier = await _allowed(by)
    world.standing_ = dataclasses.replace(world.standing_, epoch=8)  # type: ignore[type-var]
    assert not by.holds(earlier, FakeClock().now(), under_way=True)
    again = await by.judge_again(context("/app/x"), earlier)
    assert isinstance(again, Allow)
    assert (again.session, again.conditions.epoch) == (earlier.session, 8)
    assert by.holds(again, FakeClock().now(), under_way=True)


async def test_a_renewed_session_has_its_new_time() -> None:
    """judges by the newer claims, however dead the token is that the request came with."""
    world = World()
    by = guard(world)
    earlier = await _allowed(by)
    world.claims = TokenExpired("over")
    again = await by.judge_again(context("/app/x"), earlier, RENEWED)
    assert isinstance(again, Allow)
    assert again.session is not None
    assert again.session.claims is RENEWED
    assert again.conditions.expires_at == RENEWED.expires_at


REFUSED: list[tuple[str, object, Reason]] = [
    ("claims", TokenExpired("over"), reasons.TOKEN_EXPIRED),
    ("claims", BadSignature("its key was withdrawn"), reasons.TOKEN_SIGNATURE),
    ("claims", dataclasses.replace(CLAIMS, expires_at=int(FakeClock().now())), reasons.TOKEN_EXPIRED),
]


@pytest.mark.parametrize(("attribute", "value", "reason"), REFUSED)
async def test_a_token_that_is_bad_by_now(attribute: str, value: object, reason: Reason) -> None:
    """refuses when the request's own token has expired or is no longer good, and says whose session it was."""
    world = World()
    by = guard(world)
    earlier = await _allowed(by)
    setattr(world, attribute, value)
    again = await by.judge_again(context("/app/x"), earlier)
    assert isinstance(again, Challenge)
    assert (again.reason, again.session) == (reason, earlier.session)


async def test_an_account_that_cannot_be_asked_about() -> None:
    """refuses with 503 when the account service does not answer, as a new request would be."""
    world = World()
    by = guard(world)
    earlier = await _allowed(by)
    world.standing_ = RevocationUnavailable("down", retry_after=9)
    again = await by.judge_again(context("/app/x"), earlier)
    assert isinstance(again, Deny)
    assert (again.reason, again.retry_after) == (reasons.REVOCATION_UNAVAILABLE, 9)


async def test_signing_out_is_noticed() -> None:
    """knows which sessions were signed out since, and refuses them."""
    ended = MemoryDenyList(FakeClock())
    by = guard(World(), deny_list=ended)
    earlier = await _allowed(by)
    assert earlier.session is not None
    before = by.denials
    assert not by.signed_out(earlier.session)
    ended.deny(CLAIMS.principal, CLAIMS.auth_time)
    assert by.denials != before
    assert by.signed_out(earlier.session)
    again = await by.judge_again(context("/app/x"), earlier)
    assert again.reason is reasons.SESSION_SIGNED_OUT


async def test_without_a_deny_list_nobody_signs_out() -> None:
    """has nobody signed out where there is no deny list."""
    by = guard(World())
    earlier = await _allowed(by)
    assert earlier.session is not None
    assert (by.denials, by.signed_out(earlier.session)) == (0, False)


async def test_somebody_never_becomes_nobody() -> None:
    """refuses on an optional route too when the session is over, instead of going on without one."""
    world = World()
    by = guard(world, routes=RouteTable([Route("either", "/**", "app", Auth.OPTIONAL)]))
    earlier = await _allowed(by)
    world.claims = TokenExpired("over")
    assert (await by.judge_again(context("/app/x"), earlier)).reason is reasons.TOKEN_EXPIRED


async def test_nobody_is_judged_like_a_new_request() -> None:
    """judges what nobody in particular began as if it came now."""
    open_to_all = guard(World(), routes=RouteTable([Route("open", "/**", "app", Auth.PUBLIC)]))
    earlier = await _allowed(open_to_all, token=None)
    closed = guard(World(), generation=4)
    assert (await closed.judge_again(context("/app/x", token=None), earlier)).reason is reasons.SIGN_IN_REQUIRED
    assert isinstance(await open_to_all.judge_again(context("/app/x", token=None), earlier), Allow)


@pytest.mark.parametrize(
    ("routes", "reason"),
    [
        ([Route("other", "/other", "app")], reasons.NO_ROUTE),
        ([Route("open", "/**", "app", Auth.PUBLIC)], reasons.PUBLIC_ROUTE),
        ([Route("app", "/**", "app", require=Requirements(roles=frozenset({"admin"})))], reasons.ROLE_MISSING),
        ([Route("app", "/**", "app")], reasons.SESSION_VALID),
    ],
)
async def test_other_rules_are_applied(routes: list[Route], reason: Reason) -> None:
    """looks for the route anew, and applies what it says now."""
    earlier = await _allowed(guard(World()))
    by = guard(World(), routes=RouteTable(routes), generation=4)
    again = await by.judge_again(context("/app/x"), earlier)
    assert again.reason is reason
    if isinstance(again, Allow):
        assert again.conditions.generation == 4


async def test_a_credential_that_no_longer_counts() -> None:
    """asks for a sign-in when what carried the session carries none any more."""
    earlier = await _allowed(guard(World()))
    again = await guard(World(), generation=4).judge_again(context("/app/x", token=None), earlier)
    assert again.reason is reasons.SIGN_IN_REQUIRED


class CountingNetworks(NetworkJudge):
    """Counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def judge(self, claims: Claims, *args: object) -> object:  # type: ignore[override]
        self.asked += 1
        return super().judge(claims, *args)  # type: ignore[arg-type]


async def test_a_lingering_connection_is_no_sign_of_life() -> None:
    """weighs the network again only after a change of configuration, so that old connections prove no presence."""
    networks = CountingNetworks()
    by = guard(World(), networks=networks)
    earlier = await _allowed(by)
    again = await by.judge_again(context("/app/x"), earlier, RENEWED)
    assert isinstance(again, Allow)
    assert again.session is not None
    assert (networks.asked, again.session.network) == (1, NetworkLevel.SAME)
    other = guard(World(), networks=networks, generation=4)
    await other.judge_again(context("/app/x"), earlier)
    assert networks.asked == 2


async def test_a_step_up_comes_due() -> None:
    """asks for a recent sign-in when the one that was recent enough is no longer."""
    clock = FakeClock()
    routes = RouteTable([Route("app", "/**", "app", require=FRESH)])
    by = guard(World(), routes=routes, clock=clock)
    earlier = await _allowed(by)
    assert earlier.conditions.expires_at < CLAIMS.expires_at
    clock.advance(61)
    assert not by.holds(earlier, clock.now(), under_way=True)
    assert (await by.judge_again(context("/app/x"), earlier)).reason is reasons.STEP_UP_AUTH_AGE


async def test_under_way_a_decision_need_not_be_replayable() -> None:
    """holds a decision about a request under way that could not be given to another request."""
    by = guard(World())
    earlier = await _allowed(by)
    once = dataclasses.replace(earlier, conditions=dataclasses.replace(earlier.conditions, replayable=False))
    now = FakeClock().now()
    assert (by.holds(once, now), by.holds(once, now, under_way=True)) == (False, True)
