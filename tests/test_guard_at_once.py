"""The judge that does not wait: the same answers, or none; and which answers may be given again."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import reasons
from gateway.core.claims import Claims
from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.credential import Carrier, CookieName
from gateway.core.decision import Allow
from gateway.core.target import parse_target
from gateway.guard import SessionGuard
from gateway.policy.routes import Auth, Route, RouteTable
from tests.support.clock import FakeClock
from tests.support.wire import GOOD, FakeRevocation, FakeVerifier, claims_of

COOKIE = CookieName(Carrier.COOKIE, "__Host-session", "__session")
ROUTES = RouteTable([Route("open", "/open", "app", Auth.PUBLIC), Route("app", "/**", "app")])


class Waits:
    """A verifier that cannot tell at once."""

    async def verify(self, token: str) -> Claims:
        return claims_of(token)


def guard(verifier: Any, revocation: Any = None, cookie: Any = None) -> SessionGuard:
    return SessionGuard(
        routes=ROUTES,
        verifier=verifier,
        revocation=revocation,
        addresses=AddressResolver(),
        clock=FakeClock(),
        cookies={COOKIE: cookie or verifier},
    )


def context(token: str | None = GOOD, *, path: str = "/x", cookie: str = "", method: str = "GET") -> RequestContext:
    lines = [(b"Authorization", f"Bearer {token}".encode())] if token is not None else []
    if cookie:
        lines.append((b"Cookie", f"__Host-session={cookie}".encode()))
    return RequestContext(method, "https", "app.test", parse_target(path), "192.0.2.1", Headers(tuple(lines)))


@pytest.mark.parametrize(
    "asked",
    [
        context(),
        context("forged"),
        context("expired"),
        context(None),
        context(None, path="/open"),
        context(None, cookie=GOOD),
        context(None, cookie=GOOD, method="POST"),
        context("expired", cookie=GOOD),
    ],
)
async def test_the_same_answer(asked: RequestContext) -> None:
    """answers at once what it answers otherwise."""
    judge = guard(FakeVerifier(), FakeRevocation())
    assert judge.judge_at_once(asked) == await judge.judge(asked)


async def test_no_answer_where_something_has_to_be_waited_for() -> None:
    """gives none where keys or standings have to be fetched, or a verifier cannot but wait; and refuses nobody."""
    revocation = FakeRevocation()
    judge = guard(FakeVerifier(), revocation)
    assert judge.judge_at_once(context("down")) is None
    revocation.down = True
    assert judge.judge_at_once(context()) is None
    assert judge.judge_at_once(context(None, path="/open")) is not None
    assert guard(Waits()).judge_at_once(context()) is None
    assert guard(FakeVerifier(), cookie=Waits()).judge_at_once(context()) is None
    assert (await guard(Waits()).judge(context("alice"))).reason is reasons.SESSION_VALID


@pytest.mark.parametrize(
    ("asked", "replayable"),
    [
        (context(), True),
        (context(None, cookie=GOOD), True),
        (context(cookie=GOOD), True),
        (context(cookie="second"), True),  # another token of the same user
        (context(cookie="expired"), True),  # which it will be for ever
        (context(cookie="forged"), False),  # whose key may be published yet
        (context(cookie="down"), False),
    ],
)
async def test_what_may_be_given_again(asked: RequestContext, replayable: bool) -> None:
    """lets a decision be given again only where no credential beside the one that counted may be judged otherwise."""
    decision = await guard(FakeVerifier({GOOD: claims_of(), "second": claims_of()})).judge(asked)
    assert isinstance(decision, Allow)
    assert decision.conditions.replayable is replayable
