"""The judge and its cookies: which credential counts, what two of them mean, what a foreign page can do with one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gateway import reasons
from gateway.core.claims import Claims, Principal
from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.credential import Carrier, CookieName
from gateway.core.decision import Allow, Challenge, Decision, Deny
from gateway.core.ports import Standing
from gateway.core.target import parse_target
from gateway.core.trail import Trail
from gateway.errors import BadSignature, KeysUnavailable, TokenExpired
from gateway.guard import SessionGuard
from gateway.policy.routes import Auth, Route, RouteTable
from tests.support.clock import FakeClock
from tests.support.wire import claims_of

ROUTES = RouteTable([Route("either", "/either/**", "app", Auth.OPTIONAL), Route("app", "/**", "app")])
COOKIE = CookieName(Carrier.COOKIE, "__Host-session", "__session")
SDK = CookieName(Carrier.SDK_COOKIE, "__HOST-FIREBASE_[DEFAULT]", "__dev_FIREBASE_[DEFAULT]")
OWN, FOREIGN = "https://app.test", "https://evil.test"


class World:
    """One verifier for everything: the token's first word says whose it is, or what is wrong with it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.disabled: set[str] = set()

    async def verify(self, token: str) -> Claims:
        self.asked.append(token)
        word = token.split(".", maxsplit=1)[0]
        if word == "expired":
            raise TokenExpired("exp has passed")
        if word == "forged":
            raise BadSignature("not this key's")
        if word == "unjudged":
            raise KeysUnavailable("down")
        return claims_of(word)

    def peek(self, principal: Principal) -> Standing:
        return Standing(exists=True, disabled=principal.uid in self.disabled, valid_since=0, epoch=7, checked_at=0.0)

    async def standing(self, principal: Principal) -> Standing:
        return self.peek(principal)

    def last_known(self, principal: Principal) -> Standing:
        return self.peek(principal)


def guard(world: World) -> SessionGuard:
    return SessionGuard(
        routes=ROUTES,
        verifier=world,
        revocation=world,
        addresses=AddressResolver(),
        clock=FakeClock(),
        cookies={COOKIE: world, SDK: world},
    )


def context(
    *,
    bearer: str | None = None,
    cookie: str | None = None,
    sdk: str | None = None,
    path: str = "/x",
    method: str = "GET",
    websocket: bool = False,
    **headers: str,
) -> RequestContext:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if bearer is not None:
        lines.append((b"Authorization", b"Bearer " + bearer.encode()))
    pairs = [("__Host-session", cookie), ("__HOST-FIREBASE_[DEFAULT]", sdk)]
    jar = "; ".join(f"{name}={value}" for name, value in pairs if value is not None)
    if jar:
        lines.append((b"Cookie", jar.encode()))
    return RequestContext(
        method, "https", "app.test", parse_target(path), "203.0.113.9", Headers(tuple(lines)), websocket
    )


async def judge(request: RequestContext, world: World | None = None) -> Decision:
    return await guard(world or World()).judge(request)


@pytest.mark.parametrize(
    ("credentials", "uid", "carrier"),
    [
        ({"bearer": "ada.1"}, "ada", Carrier.BEARER),
        ({"cookie": "ada.1"}, "ada", Carrier.COOKIE),
        ({"sdk": "ada.1"}, "ada", Carrier.SDK_COOKIE),
        ({"bearer": "ada.1", "cookie": "ada.2", "sdk": "ada.3"}, "ada", Carrier.BEARER),
        ({"cookie": "ada.2", "sdk": "ada.3"}, "ada", Carrier.COOKIE),
        ({"bearer": "ada.1", "cookie": "expired.2"}, "ada", Carrier.BEARER),
        ({"bearer": "ada.1", "cookie": "forged.2"}, "ada", Carrier.BEARER),
        ({"bearer": "ada.1", "cookie": "unjudged.2"}, "ada", Carrier.BEARER),
        ({"cookie": "expired.1", "sdk": "ada.2"}, "ada", Carrier.SDK_COOKIE),
        ({"cookie": "ada.1", "Authorization": "Basic eDp5"}, "ada", Carrier.COOKIE),
    ],
)
async def test_which_credential_counts(credentials: dict[str, Any], uid: str, carrier: Carrier) -> None:
    """... lets the bearer token count before the cookies, says so, and overlooks a bad cookie beside it."""
    decision = await judge(context(**credentials))
    assert isinstance(decision, Allow)
    assert decision.session is not None
    assert (decision.session.principal.uid, decision.session.carrier) == (uid, carrier)
    assert decision.conditions.carrier is carrier


@pytest.mark.parametrize(
    ("credentials", "reason", "cookie"),
    [
        ({"bearer": "ada.1", "cookie": "bob.1"}, reasons.CREDENTIAL_CONFLICT, "__Host-session"),
        ({"bearer": "ada.1", "sdk": "bob.1"}, reasons.CREDENTIAL_CONFLICT, "__HOST-FIREBASE_[DEFAULT]"),
        ({"cookie": "ada.1", "sdk": "bob.1"}, reasons.CREDENTIAL_CONFLICT, "__HOST-FIREBASE_[DEFAULT]"),
        ({"bearer": "expired.1", "cookie": "ada.1"}, reasons.TOKEN_EXPIRED, ""),
        ({"bearer": "forged.1", "cookie": "ada.1"}, reasons.TOKEN_SIGNATURE, ""),
        ({"cookie": "forged.1", "sdk": "ada.1"}, reasons.TOKEN_SIGNATURE, "__Host-session"),
        ({"cookie": "unjudged.1"}, reasons.KEYS_UNAVAILABLE, ""),
        ({"cookie": "expired.1"}, reasons.SIGN_IN_REQUIRED, "__Host-session"),
        ({"sdk": "expired.1"}, reasons.SIGN_IN_REQUIRED, ""),
        ({"cookie": "expired.1", "sdk": "expired.2"}, reasons.SIGN_IN_REQUIRED, "__Host-session"),
        ({"cookie": "expired.1", "X_Gateway_Fetch": "token=failed"}, reasons.TOKEN_REFRESH_FAILED, "__Host-session"),
        ({"cookie": ""}, reasons.SIGN_IN_REQUIRED, ""),
    ],
)
async def test_what_is_refused(credentials: dict[str, Any], reason: reasons.Reason, cookie: str) -> None:
    """... refuses two people in one request and a bad first credential, and names the cookie that is to blame."""
    decision = await judge(context(**credentials))
    assert decision.reason is reason
    assert isinstance(decision, Challenge | Deny)
    assert decision.cookie == cookie
    anonymous = await judge(context(path="/either/x", **credentials))
    assert isinstance(anonymous, Allow)
    assert anonymous.session is None
    assert anonymous.cookie == cookie


async def test_an_expired_cookie_is_named_beside_a_good_session() -> None:
    """... says which cookie has had its time when the SDK's carries the session, and does not replay that answer."""
    decision = await judge(context(cookie="expired.1", sdk="ada.2"))
    assert isinstance(decision, Allow)
    assert (decision.cookie, decision.conditions.replayable) == ("__Host-session", False)


async def test_a_disabled_users_cookie_is_named() -> None:
    """... says which cookie brought a session that is over."""
    world = World()
    world.disabled.add("ada")
    decision = await judge(context(cookie="ada.1"), world)
    assert decision == Challenge(reasons.USER_DISABLED, "app", decision.client, cookie="__Host-session")


async def test_the_same_token_twice_is_judged_once() -> None:
    """... does not verify the cookie when it holds the very token that the worker added."""
    world = World()
    assert isinstance(await judge(context(bearer="ada.1", cookie="ada.1"), world), Allow)
    assert world.asked == ["ada.1"]


async def test_two_cookies_of_one_name_are_ambiguous() -> None:
    """... refuses the choice between two session cookies, one of which somebody planted."""
    request = context(bearer="ada.1", Cookie="__Host-session=ada.1; __Host-session=bob.1")
    assert await judge(request) == Deny(reasons.CREDENTIAL_AMBIGUOUS, "app", client=(await judge(request)).client)


async def test_the_other_sites_name_is_no_credential() -> None:
    """... takes no cookie over https that a sibling host or plain http could have set."""
    assert (await judge(context(Cookie="__session=ada.1"))).reason is reasons.SIGN_IN_REQUIRED
    request = dataclasses.replace(context(Cookie="__session=ada.1"), scheme="http", host="localhost:8080")
    assert isinstance(await judge(request), Allow)


async def test_a_gateway_without_cookies_reads_none() -> None:
    """... looks at no cookie where none carries a session."""
    plain = SessionGuard(
        routes=ROUTES, verifier=World(), revocation=None, addresses=AddressResolver(), clock=FakeClock()
    )
    assert (await plain.judge(context(cookie="ada.1"))).reason is reasons.SIGN_IN_REQUIRED


async def test_the_trail_names_the_carrier() -> None:
    """... explains which credential counted, and shows none."""
    trail = Trail()
    await guard(World()).judge(context(cookie="expired.1", sdk="ada.secret"), trail)
    assert ("token", "token_expired: exp has passed") in [(s.name, s.answer) for s in trail.steps]
    assert ("credential", "one cookie of the Firebase SDK") in [(step.name, step.answer) for step in trail.steps]
    assert "secret" not in str(trail.steps)


# ---- cross-site rules ------------------------------------------------------------------------------------------------

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "websocket"]
SAFE = {"GET", "HEAD"}

STARTED_BY: list[tuple[str, dict[str, str], bool, bool]] = [
    # who started it, what the browser says, passes with a bearer token, passes with a cookie
    ("nobody says", {}, True, False),
    ("our page", {"Origin": OWN, "Sec_Fetch_Site": "same-origin"}, True, True),
    ("our page, older browser", {"Origin": OWN}, True, True),
    ("our page, no Origin", {"Sec_Fetch_Site": "same-origin"}, True, True),
    ("the user", {"Sec_Fetch_Site": "none"}, True, True),
    ("our page over plain http", {"Origin": "http://app.test"}, True, False),
    ("a sibling host", {"Origin": "https://other.app.test", "Sec_Fetch_Site": "same-site"}, False, False),
    ("a sibling host, no Origin", {"Sec_Fetch_Site": "same-site"}, False, False),
    ("a foreign page", {"Origin": FOREIGN, "Sec_Fetch_Site": "cross-site"}, False, False),
    ("a foreign page, older browser", {"Origin": FOREIGN}, False, False),
    ("a foreign page, no Origin", {"Sec_Fetch_Site": "cross-site"}, False, False),
    ("a sandboxed frame", {"Origin": "null", "Sec_Fetch_Site": "cross-site"}, False, False),
    ("a foreign page through a careless worker", {"Origin": FOREIGN, "Sec_Fetch_Site": "same-origin"}, False, False),
]


@pytest.mark.parametrize(("who", "says", "with_bearer", "with_cookie"), STARTED_BY, ids=[row[0] for row in STARTED_BY])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("carrier", ["bearer", "cookie"])
async def test_who_may_change_something(
    who: str, says: dict[str, Any], with_bearer: bool, with_cookie: bool, method: str, carrier: str
) -> None:
    """... lets an unsafe request or a handshake pass only when this site started it, which no cookie proves."""
    socket = method == "websocket"
    credential: dict[str, Any] = {carrier: "ada.1"}
    decision = await judge(context(method="GET" if socket else method, websocket=socket, **credential, **says))
    if method in SAFE or (with_bearer if carrier == "bearer" else with_cookie):
        assert isinstance(decision, Allow), who
        assert decision.session is not None
    else:
        assert isinstance(decision, Deny)
        assert decision.reason is reasons.CROSS_SITE


async def test_a_cross_site_post_to_an_optional_route_is_anonymous() -> None:
    """... gives a foreign form no session where visitors may pass without one."""
    decision = await judge(context(path="/either/x", method="POST", cookie="ada.1", Origin=FOREIGN))
    assert isinstance(decision, Allow)
    assert (decision.session, decision.ignored) == (None, reasons.CROSS_SITE)


def test_the_table_is_large_enough() -> None:
    """... is tried with at least sixty combinations of method, origin and credential."""
    assert len(METHODS) * len(STARTED_BY) * 2 >= 60
