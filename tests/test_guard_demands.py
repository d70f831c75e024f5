"""The judge on routes that ask for more: age, demands, foreign pages, preflights."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gateway import reasons
from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Challenge, Decision, Deny, Preflight
from gateway.core.target import parse_target
from gateway.core.trail import Trail
from gateway.guard import SessionGuard
from gateway.policy.assurance import MULTI_FACTOR, NEVER_AGAIN, Requirements
from gateway.policy.cross_site import Cors
from gateway.policy.expression import Expression
from gateway.policy.routes import Auth, Route, RouteTable
from tests.support.clock import NOW, FakeClock
from tests.support.wire import GOOD, FakeRevocation, FakeVerifier, claims_of

LISTED = "https://pages.test"
LISTS = Cors(frozenset({LISTED}), frozenset({"GET", "POST", "PUT"}))
ROUTES = RouteTable(
    [
        Route("recent", "/recent/**", "app", require=Requirements(max_auth_age=900)),
        Route("factor", "/factor/**", "app", require=Requirements(second_factor=True)),
        Route("admin", "/admin/**", "app", require=Requirements(claims=(("role", "admin"),))),
        Route("here", "/here/**", "app", require=Requirements(expression=Expression("request.path != ''", name="x"))),
        Route("lax", "/lax/**", "app", Auth.OPTIONAL, require=Requirements(max_auth_age=1)),
        Route("api", "/api/**", "app", methods=frozenset({"GET", "POST", "PUT"}), cors=LISTS),
        Route("open", "/open/**", "app", Auth.PUBLIC, cors=LISTS),
        Route("rest", "/**", "app"),
    ]
)
SIGNED_IN = int(NOW) - 600


async def judge(
    path: str, *lines: tuple[str, str], method: str = "GET", trail: Trail | None = None, **options: Any
) -> Decision:
    claims = dataclasses.replace(claims_of(), auth_time=SIGNED_IN, second_factor=None, expires_at=int(NOW) + 3000)
    guard = SessionGuard(
        routes=ROUTES,
        verifier=FakeVerifier({GOOD: claims}),
        revocation=FakeRevocation(),
        addresses=AddressResolver(),
        clock=FakeClock(NOW + options.pop("later", 0)),
        **options,
    )
    headers = [(name.encode(), value.encode()) for name, value in (("Authorization", f"Bearer {GOOD}"), *lines)]
    if ("Authorization", "") in lines:
        headers = [(name, value) for name, value in headers if name != b"Authorization"]
    return await guard.judge(
        RequestContext(method, "http", "app.test", parse_target(path), "203.0.113.9", Headers(tuple(headers))), trail
    )


ANONYMOUS = ("Authorization", "")


async def test_a_fresh_sign_in_passes_and_for_how_long_is_said() -> None:
    """... allows a recent sign-in, and bounds the decision by the moment at which it stops being one."""
    decision = await judge("/recent/x")
    assert isinstance(decision, Allow)
    assert decision.conditions.expires_at == SIGNED_IN + 900
    usual = await judge("/x")
    assert isinstance(usual, Allow)
    assert usual.conditions.expires_at == NOW + 3000


async def test_an_older_sign_in_is_asked_to_step_up() -> None:
    """... asks for a recent sign-in once the route's limit is reached, and says what it is."""
    decision = await judge("/recent/x", later=300)
    assert isinstance(decision, Challenge)
    assert (decision.reason, decision.max_age, decision.acr_values) == (reasons.STEP_UP_AUTH_AGE, 900, None)
    assert isinstance(await judge("/recent/x", later=299), Allow)


async def test_a_missing_second_factor_is_asked_for() -> None:
    """... names the authentication context that a second factor would give."""
    decision = await judge("/factor/x")
    assert isinstance(decision, Challenge)
    assert (decision.reason, decision.max_age, decision.acr_values) == (
        reasons.STEP_UP_SECOND_FACTOR,
        None,
        MULTI_FACTOR,
    )


async def test_what_signing_in_cannot_mend_is_denied() -> None:
    """... denies whoever lacks a claim, instead of asking for a password in vain."""
    decision = await judge("/admin/x")
    assert isinstance(decision, Deny)
    assert (decision.reason, decision.route) == (reasons.CLAIM_MISSING, "admin")
    assert decision.session is not None


async def test_an_answer_that_hangs_on_the_request_is_for_that_one_alone() -> None:
    """... does not let an expression about one request speak for the next."""
    decision = await judge("/here/x")
    assert isinstance(decision, Allow)
    assert decision.conditions.expires_at == NEVER_AGAIN


async def test_demands_never_make_an_optional_route_ask() -> None:
    """... takes a visitor whose session falls short on an optional route for nobody in particular."""
    decision = await judge("/lax/x")
    assert isinstance(decision, Allow)
    assert (decision.session, decision.ignored) == (None, reasons.STEP_UP_AUTH_AGE)


@pytest.mark.parametrize(("max_age", "reason"), [(600, reasons.SESSION_TOO_OLD), (601, reasons.SESSION_VALID)])
async def test_a_session_ends_with_its_age(max_age: int, reason: reasons.Reason) -> None:
    """... ends a session at its age limit, on every route and however fresh its token is."""
    decision = await judge("/x", max_age=max_age)
    assert decision.reason is reason
    if isinstance(decision, Allow):
        assert decision.conditions.expires_at == SIGNED_IN + max_age


def preflight(method: str = "PUT", origin: str = LISTED) -> tuple[tuple[str, str], ...]:
    return (ANONYMOUS, ("Origin", origin), ("Access-Control-Request-Method", method))


@pytest.mark.parametrize("path", ["/api/x", "/open/x"])
async def test_a_preflight_needs_no_session(path: str) -> None:
    """... answers a preflight of a listed origin by the route of the request that would follow."""
    decision = await judge(path, *preflight(), method="OPTIONS")
    assert isinstance(decision, Preflight)
    assert (decision.reason, decision.route) == (reasons.CORS_PREFLIGHT, path.split("/")[1])


@pytest.mark.parametrize("origin", ["https://evil.test", "null", LISTED.upper()])
async def test_a_preflight_of_anybody_else_is_denied(origin: str) -> None:
    """... denies the preflight of an origin that the route does not list."""
    assert (await judge("/api/x", *preflight(origin=origin), method="OPTIONS")).reason is reasons.CROSS_SITE


async def test_where_no_page_is_listed_a_preflight_is_a_request_like_any_other() -> None:
    """... judges OPTIONS by the usual rules on a route without lists, and where the method has another route."""
    assert (await judge("/x", *preflight(), method="OPTIONS")).reason is reasons.SIGN_IN_REQUIRED
    assert (await judge("/api/x", *preflight("DELETE"), method="OPTIONS")).reason is reasons.SIGN_IN_REQUIRED
    assert (await judge("/api/x", ANONYMOUS, method="OPTIONS")).reason is reasons.SIGN_IN_REQUIRED


@pytest.mark.parametrize(
    ("path", "origin", "reason"),
    [
        ("/api/x", LISTED, reasons.SESSION_VALID),
        ("/api/x", "https://evil.test", reasons.CROSS_SITE),
        ("/api/x", "null", reasons.CROSS_SITE),
        ("/x", LISTED, reasons.CROSS_SITE),
    ],
)
async def test_a_listed_page_may_change_things_on_its_route(path: str, origin: str, reason: reasons.Reason) -> None:
    """... lets a listed origin use unsafe methods on the route that lists it and on no other."""
    lines = (("Origin", origin), ("Sec-Fetch-Site", "cross-site"))
    assert (await judge(path, *lines, method="POST")).reason is reason


async def test_the_trail_tells_of_age_and_demands() -> None:
    """... explains the age of the sign-in, the demand that is not met and a preflight."""
    trail = Trail()
    await judge("/admin/x", trail=trail, max_age=3600)
    steps = {step.name: step for step in trail.steps}
    assert steps["age"].answer == "signed in 600 s ago, good for 3600 s"
    assert (steps["require"].ok, steps["require"].answer) == (False, "the claim role is missing or another")
    met = Trail()
    await judge("/recent/x", trail=met)
    assert met.steps[-1].answer == "met"
    asked = Trail()
    await judge("/api/x", *preflight(origin="https://evil.test"), method="OPTIONS", trail=asked)
    assert (asked.steps[-1].name, asked.steps[-1].ok) == ("preflight", False)
