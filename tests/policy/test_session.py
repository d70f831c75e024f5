"""What stands behind good claims, with the judge of sessions alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gateway import reasons
from gateway.adapters.memory import MemoryDenyList
from gateway.core.at_once import MustWait
from gateway.core.client_ip import parse_address
from gateway.core.context import Headers, RequestContext
from gateway.core.credential import Carrier
from gateway.core.decision import Allow, Challenge, Deny
from gateway.core.session import NetworkAction, NetworkLevel, Session
from gateway.core.target import parse_target
from gateway.core.trail import Trail
from gateway.errors import RevocationUnavailable
from gateway.policy.assurance import FOREVER, Requirements
from gateway.policy.ip_change import Preset
from gateway.policy.networks import NetworkJudge
from gateway.policy.routes import OnOutage, Route
from gateway.policy.session import NO_EPOCH, UNCHECKED_EPOCH, SessionJudge
from tests.support.clock import FakeClock
from tests.support.networks import HOME, MOBILE
from tests.support.wire import FakeRevocation, claims_of

CLOCK = FakeClock()
SIGNED_IN = int(CLOCK.now()) - 600
CLAIMS = claims_of(auth_time=SIGNED_IN, signInIpAddress=HOME)
ROUTE = Route("all", "/**", "app")
OLD = Requirements(max_auth_age=60)


def judge(**parts: Any) -> SessionJudge:
    usual: dict[str, Any] = {
        "revocation": FakeRevocation(),
        "clock": CLOCK,
        "networks": NetworkJudge(),
        "deny_list": MemoryDenyList(CLOCK),
        "revoker": None,
        "max_age": FOREVER,
        "generation": 5,
    }
    return SessionJudge(**(usual | parts))


def context(method: str = "GET", **fields: str) -> RequestContext:
    lines = tuple((name.encode(), value.encode()) for name, value in fields.items())
    return RequestContext(method, "https", "app.test", parse_target("/x"), HOME, Headers(lines))


async def asked(
    by: SessionJudge,
    request: RequestContext | None = None,
    *,
    route: Route = ROUTE,
    client: str = HOME,
    trail: Trail | None = None,
    known: Session | None = None,
) -> Any:
    return await by.judge(CLAIMS, Carrier.BEARER, route, parse_address(client), request or context(), trail, known)


async def test_a_session_that_stands() -> None:
    """allows it, under everything that the answer hangs on."""
    deny_list = MemoryDenyList(CLOCK)
    deny_list.deny(claims_of("bob").principal, 1)
    decision = await asked(judge(deny_list=deny_list, max_age=3600.0))
    assert isinstance(decision, Allow)
    assert (decision.reason, decision.route, decision.ignored, decision.cookie) == (
        reasons.SESSION_VALID,
        "all",
        None,
        "",
    )
    assert decision.session is not None
    assert decision.session.claims is CLAIMS
    assert (decision.session.network, decision.session.action) == (NetworkLevel.SAME, NetworkAction.ALLOW)
    conditions = decision.conditions
    standing = FakeRevocation().peek(CLAIMS.principal)
    assert standing is not None
    assert (conditions.expires_at, conditions.epoch, str(conditions.client)) == (SIGNED_IN + 3600, standing.epoch, HOME)
    assert (conditions.route, conditions.generation, conditions.carrier) == ("all", 5, Carrier.BEARER)
    assert (conditions.denials, conditions.replayable) == (deny_list.generation, True)


async def test_who_is_refused_first() -> None:
    """answers with the first reason in its order, and looks no further."""
    revocation, deny_list = FakeRevocation(), MemoryDenyList(CLOCK)
    deny_list.deny(CLAIMS.principal, CLAIMS.auth_time)
    route = dataclasses.replace(ROUTE, require=OLD)
    revocation.down = True
    parts: dict[str, Any] = {"revocation": revocation, "deny_list": deny_list, "max_age": 60.0}
    foreign = context("POST", Origin="https://evil.example")
    assert await asked(judge(**parts), foreign, route=route, client=MOBILE) is reasons.CROSS_SITE
    assert await asked(judge(**parts), route=route, client=MOBILE) is reasons.SESSION_TOO_OLD
    parts["max_age"] = FOREVER
    with pytest.raises(RevocationUnavailable):
        await asked(judge(**parts), route=route, client=MOBILE)
    parts["revocation"] = None
    assert await asked(judge(**parts), route=route, client=MOBILE) is reasons.SESSION_SIGNED_OUT
    parts["deny_list"] = None
    elsewhere = await asked(judge(**parts), route=route, client=MOBILE)
    assert isinstance(elsewhere, Challenge)
    assert elsewhere.reason is reasons.NETWORK_CHANGED
    stale = await asked(judge(**parts), route=route)
    assert isinstance(stale, Challenge)
    assert (stale.reason, stale.max_age) == (reasons.STEP_UP_AUTH_AGE, 60)
    allowed = await asked(judge(**parts))
    assert isinstance(allowed, Allow)
    assert (allowed.conditions.epoch, allowed.conditions.denials) == (NO_EPOCH, 0)


async def test_what_no_sign_in_mends() -> None:
    """denies a session that grants too little, and says whose it was."""
    denied = await asked(judge(), route=dataclasses.replace(ROUTE, require=Requirements(roles=frozenset({"boss"}))))
    assert isinstance(denied, Deny)
    assert denied.reason is reasons.ROLE_MISSING
    assert denied.session is not None
    assert (str(denied.client), denied.session.claims) == (HOME, CLAIMS)


async def test_an_unchecked_session() -> None:
    """allows it where the route says so, once, and under an epoch that nobody bears."""
    revocation = FakeRevocation()
    revocation.down = True
    lenient = dataclasses.replace(ROUTE, on_revocation_outage=OnOutage.ALLOW_UNTIL_EXP)
    decision = await asked(judge(revocation=revocation), route=lenient)
    assert isinstance(decision, Allow)
    assert decision.reason is reasons.SESSION_UNCHECKED
    assert (decision.conditions.epoch, decision.conditions.replayable) == (UNCHECKED_EPOCH, False)


async def test_a_network_that_was_weighed_before() -> None:
    """weighs no network twice: what was found then counts, wherever the request comes from now."""
    known = Session(CLAIMS, None, NetworkLevel.NEAR, NetworkAction.LEARN, "found before")
    decision = await asked(judge(), client=MOBILE, known=known)
    assert isinstance(decision, Allow)
    assert decision.session is not None
    assert (decision.session.network, decision.session.why) == (NetworkLevel.NEAR, "found before")


async def test_at_once_or_not_at_all() -> None:
    """gives the same answer at once where the account is known, and none where it has to be asked about."""
    revocation = FakeRevocation()
    by = judge(revocation=revocation)
    assert await asked(by.at_once()) == await asked(by)
    revocation.down = True
    with pytest.raises(MustWait):
        await asked(by.at_once())
    unasked = judge(revocation=None)
    assert unasked.at_once() is unasked


async def test_each_step_can_be_told() -> None:
    """puts each step into words where somebody reads them, the last one being the one that refuses."""
    trail = Trail()
    await asked(judge(), route=dataclasses.replace(ROUTE, require=OLD, preset=Preset.OFF), trail=trail)
    assert [(step.name, step.ok) for step in trail.steps] == [
        ("age", True),
        ("revocation", True),
        ("sign-out", True),
        ("network", True),
        ("require", False),
    ]
    assert trail.steps[0].answer == "signed in 600 s ago, however long that is"
    assert trail.steps[3].answer == "same: allow (off), the sign-in's network"
    foreign = Trail()
    await asked(judge(), context("POST", Origin="https://evil.example"), trail=foreign)
    assert [(step.name, step.answer) for step in foreign.steps] == [("origin", "a foreign page started this request")]
    old = Trail()
    await asked(judge(max_age=60.0), trail=old)
    assert [(step.answer, step.ok) for step in old.steps] == [("signed in 600 s ago, good for 60 s", False)]
