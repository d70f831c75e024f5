"""The judge, with fakes behind every port."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import pytest

from gateway import reasons
from gateway.core.claims import Claims, Principal
from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Challenge, Decision, Deny
from gateway.core.ports import Standing
from gateway.core.session import NetworkLevel
from gateway.core.target import parse_target
from gateway.core.trail import Trail
from gateway.errors import KeysUnavailable, RevocationUnavailable, TokenExpired
from gateway.guard import NO_EPOCH, SessionGuard
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth, Route, RouteTable
from tests.support import forge
from tests.support.clock import NOW, FakeClock

ROUTES = RouteTable(
    [
        Route("open", "/open/**", "app", Auth.PUBLIC),
        Route("either", "/either/**", "app", Auth.OPTIONAL),
        Route("strict", "/strict/**", "app", preset=Preset.STRICT),
        Route("unwatched", "/unwatched/**", "app", preset=Preset.OFF),
        Route("app", "/app/**", "app"),
    ]
)
CLIENT = "203.0.113.9"
PRINCIPAL = Principal(forge.PROJECT, None, forge.UID)
CLAIMS = Claims(
    PRINCIPAL,
    int(NOW) - 60,
    int(NOW) + 3540,
    int(NOW) - 600,
    "ada@example.com",
    True,
    None,
    "password",
    None,
    CLIENT,
    {},
)
GOOD = Standing(exists=True, disabled=False, valid_since=0, epoch=7, checked_at=0.0)


class World:
    """A verifier and a revocation source that answer what the test says."""

    def __init__(self) -> None:
        self.claims: Claims | Exception = CLAIMS
        self.standing_: Standing | Exception = GOOD
        self.warm = True
        self.verified: list[str] = []

    async def verify(self, token: str) -> Claims:
        self.verified.append(token)
        if isinstance(self.claims, Exception):
            raise self.claims
        return self.claims

    def peek(self, principal: Principal) -> Standing | None:
        assert principal == PRINCIPAL
        return self.standing_ if self.warm and isinstance(self.standing_, Standing) else None

    async def standing(self, principal: Principal) -> Standing:
        assert principal == PRINCIPAL
        if isinstance(self.standing_, Exception):
            raise self.standing_
        return self.standing_

    def last_known(self, principal: Principal) -> Standing | None:
        assert principal == PRINCIPAL
        return self.standing_ if isinstance(self.standing_, Standing) else None


def guard(world: World, **options: Any) -> SessionGuard:
    parts: dict[str, Any] = {
        "routes": ROUTES,
        "verifier": world,
        "revocation": world,
        "addresses": AddressResolver(),
        "clock": FakeClock(),
        "generation": 3,
    }
    return SessionGuard(**(parts | options))


def context(
    path: str, *, method: str = "GET", token: str | None = "a.b.c", peer: str = CLIENT, **headers: str
) -> RequestContext:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if token is not None:
        lines.append((b"Authorization", b"Bearer " + token.encode()))
    return RequestContext(method, "http", "app.test", parse_target(path), peer, Headers(tuple(lines)))


async def judge(world: World, request: RequestContext) -> Decision:
    return await guard(world).judge(request)


async def test_a_good_session_passes_with_its_conditions() -> None:
    """... allows a good session and says what the decision stands on."""
    decision = await judge(World(), context("/app/x"))
    assert isinstance(decision, Allow)
    assert decision.reason is reasons.SESSION_VALID
    assert decision.session is not None
    assert (decision.session.principal, decision.session.network) == (PRINCIPAL, NetworkLevel.SAME)
    conditions = decision.conditions
    assert (conditions.expires_at, conditions.epoch, conditions.route, conditions.generation) == (
        CLAIMS.expires_at,
        7,
        "app",
        3,
    )
    assert conditions.client == ipaddress.ip_address(CLIENT)


async def test_a_cold_revocation_source_is_awaited() -> None:
    """... waits for the account's standing when it is not at hand."""
    world = World()
    world.warm = False
    assert isinstance(await judge(world, context("/app/x")), Allow)


async def test_without_revocation_checks_no_epoch_is_promised() -> None:
    """... says in the conditions that nobody watches for revocation."""
    decision = await guard(World(), revocation=None).judge(context("/app/x"))
    assert isinstance(decision, Allow)
    assert decision.conditions.epoch == NO_EPOCH


async def test_public_routes_look_at_no_session() -> None:
    """... does not even verify a token on a public route."""
    world = World()
    world.claims = KeysUnavailable("down")
    decision = await judge(world, context("/open/x"))
    assert isinstance(decision, Allow)
    assert (decision.reason, decision.session, world.verified) == (reasons.PUBLIC_ROUTE, None, [])


async def test_what_matches_nothing_is_denied() -> None:
    """... denies by default, signed in or not."""
    decision = await judge(World(), context("/elsewhere"))
    assert decision == Deny(reasons.NO_ROUTE, client=ipaddress.ip_address(CLIENT))


def standing(**changes: Any) -> Standing:
    return dataclasses.replace(GOOD, **changes)


AUTH = CLAIMS.auth_time

REFUSALS: list[tuple[str, dict[str, Any], dict[str, Any], reasons.Reason]] = [
    ("no credential", {"token": None}, {}, reasons.SIGN_IN_REQUIRED),
    ("renewal failed", {"token": None, "X_Gateway_Fetch": "mode=cors, token=failed"}, {}, reasons.TOKEN_REFRESH_FAILED),
    ("other note", {"token": None, "X_Gateway_Fetch": "mode=navigate, nottoken=failed"}, {}, reasons.SIGN_IN_REQUIRED),
    ("not bearer", {"token": None, "Authorization": "Basic eDp5"}, {}, reasons.CREDENTIAL_UNSUPPORTED),
    ("two credentials", {"Authorization": "Bearer d.e.f"}, {}, reasons.CREDENTIAL_AMBIGUOUS),
    ("bad token", {}, {"claims": TokenExpired("exp has passed")}, reasons.TOKEN_EXPIRED),
    ("no keys", {}, {"claims": KeysUnavailable("down")}, reasons.KEYS_UNAVAILABLE),
    ("revocation down", {}, {"standing_": RevocationUnavailable("down")}, reasons.REVOCATION_UNAVAILABLE),
    ("gone", {}, {"standing_": standing(exists=False)}, reasons.USER_NOT_FOUND),
    ("disabled", {}, {"standing_": standing(disabled=True)}, reasons.USER_DISABLED),
    ("revoked", {}, {"standing_": standing(valid_since=AUTH + 1)}, reasons.SESSION_REVOKED),
    ("foreign page", {"method": "POST", "Origin": "https://evil.test"}, {}, reasons.CROSS_SITE),
    ("moved", {"peer": "198.51.100.7"}, {}, reasons.NETWORK_CHANGED),
]  # fmt: skip


@pytest.mark.parametrize(("name", "request_", "world_", "reason"), REFUSALS)
async def test_refusals_on_a_route_that_needs_a_session(
    name: str, request_: dict[str, Any], world_: dict[str, Any], reason: reasons.Reason
) -> None:
    """... refuses each case with its own reason, and challenges only where signing in helps."""
    world = World()
    for key, value in world_.items():
        setattr(world, key, value)
    decision = await judge(world, context("/app/x", **request_))
    assert decision.reason is reason
    expected = Challenge if reason.outcome is reasons.Outcome.CHALLENGE else Deny
    assert type(decision) is expected
    if isinstance(decision, Deny) and reason.status == 503:
        assert decision.retry_after == 5


@pytest.mark.parametrize(("name", "request_", "world_", "reason"), REFUSALS)
async def test_the_same_on_an_optional_route_is_anonymous(
    name: str, request_: dict[str, Any], world_: dict[str, Any], reason: reasons.Reason
) -> None:
    """... never half-trusts a bad credential: the visitor is anonymous, and the reason is kept for the log."""
    world = World()
    for key, value in world_.items():
        setattr(world, key, value)
    decision = await judge(world, context("/either/x", **request_))
    assert isinstance(decision, Allow)
    assert decision.session is None
    if reason is reasons.SIGN_IN_REQUIRED:
        assert (decision.reason, decision.ignored) == (reasons.ANONYMOUS, None)
    else:
        assert (decision.reason, decision.ignored) == (reasons.CREDENTIAL_IGNORED, reason)


async def test_a_session_of_the_same_second_as_valid_since_passes() -> None:
    """... counts equality as valid: Google's own rule compares whole seconds with less-than."""
    world = World()
    world.standing_ = standing(valid_since=AUTH)
    assert isinstance(await judge(world, context("/app/x")), Allow)


@pytest.mark.parametrize(
    ("path", "claim", "allowed"),
    [
        ("/app/x", None, True),
        ("/strict/x", None, False),
        ("/app/x", "198.51.100.7", False),
        ("/unwatched/x", "198.51.100.7", True),
        ("/strict/x", "203.0.113.77", True),
    ],
)
async def test_each_route_has_its_network_preset(path: str, claim: object, allowed: bool) -> None:
    """... judges a changed network by the preset of the route."""
    world = World()
    world.claims = dataclasses.replace(CLAIMS, sign_in_ip=claim)
    assert isinstance(await judge(world, context(path)), Allow) is allowed


async def test_a_malformed_chain_of_trusted_proxies_is_denied() -> None:
    """... refuses rather than guesses who is calling."""
    resolver = AddressResolver([ipaddress.ip_network("203.0.113.0/24")])
    decision = await guard(World(), addresses=resolver).judge(context("/open/x", X_Forwarded_For="bogus"))
    assert decision == Deny(reasons.FORWARDED_INVALID)


async def test_an_ambiguous_path_is_denied() -> None:
    """... refuses a public spelling of a guarded path before anything else is asked."""
    table = RouteTable([Route("app", "/app/**", "app"), Route("open", "/**", "app", Auth.PUBLIC)])
    decision = await guard(World(), routes=table).judge(context("/APP/x"))
    assert decision == Deny(reasons.TARGET_AMBIGUOUS)


async def test_the_trail_tells_each_step_and_no_secret() -> None:
    """... explains a decision step by step without showing the token."""
    trail = Trail()
    await guard(World()).judge(context("/app/x", token="header.secret.signature"), trail)
    assert [step.name for step in trail.steps] == [
        "client",
        "route",
        "credential",
        "token",
        "age",
        "revocation",
        "network",
    ]
    assert "secret" not in str(trail.steps)
    refused = Trail()
    world = World()
    world.standing_ = standing(valid_since=AUTH + 1)
    await guard(world).judge(context("/app/x"), refused)
    assert [step.ok for step in refused.steps] == [True, True, True, True, True, False]
