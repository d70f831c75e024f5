"""The server half of the Firebase SDK's cookie persistence, through a running proxy and a service that records."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest

from gateway.core.claims import Claims
from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.errors import TokenExpired
from gateway.http.cookies_proxy import MAX_ANSWER, MAX_BODY, SdkServices, Service, resolve
from tests.support import forge
from tests.support.backends import Backend, Conversation, answers, backend
from tests.support.clock import NOW, FakeClock
from tests.support.wire import Gateway, body_of, claims_of, gateway, head_of, request, status_of

OWN = "Origin: https://app.example"
ID, REFRESH = "__HOST-FIREBASE_[DEFAULT]", "__HOST-FIREBASEID_[DEFAULT]"
ACCOUNTS, TOKENS = "https://identitytoolkit.googleapis.com", "https://securetoken.googleapis.com"
SIGN_IN = f"{ACCOUNTS}/v1/accounts:signInWithPassword?key=k"
RENEW = f"{TOKENS}/v1/token?key=k"
FRESH = forge.id_token(now=NOW)
EXPIRED = forge.id_token(now=NOW - 7_200)
STRANGER = forge.id_token(now=NOW, uid="somebody-else")


def services(base: str = "http://127.0.0.1:1") -> SdkServices:
    return SdkServices(Service(f"{base}/it", (ACCOUNTS,)), Service(f"{base}/st", (TOKENS, f"{base}/st")), "the-key")


# ---- no open proxy ----

GOOD_TARGETS = [
    (SIGN_IN, "http://127.0.0.1:1/it/v1/accounts:signInWithPassword?key=k", False),
    (f"{ACCOUNTS}/v2/accounts:signInWithIdp", "http://127.0.0.1:1/it/v2/accounts:signInWithIdp", False),
    (RENEW, "http://127.0.0.1:1/st/v1/token?key=k", True),
    ("http://127.0.0.1:1/st/v1/token?key=k", "http://127.0.0.1:1/st/v1/token?key=k", True),
]

BAD_TARGETS = [
    "",
    "/v1/accounts:signInWithPassword",
    "http://169.254.169.254/latest/meta-data/",
    "http://metadata.google.internal/v1/token",
    "http://identitytoolkit.googleapis.com/v1/accounts:signInWithPassword",
    "https://identitytoolkit.googleapis.com.evil.example/v1/accounts:signInWithPassword",
    "https://identitytoolkit.googleapis.com:8443/v1/accounts:signInWithPassword",
    "https://identitytoolkit.googleapis.com@evil.example/v1/accounts:signInWithPassword",
    "https://evil.example@identitytoolkit.googleapis.com/v1/accounts:signInWithPassword",
    "https://evil.example/https://identitytoolkit.googleapis.com/v1/accounts:signInWithPassword",
    "https://evil.example/v1/token",
    "//identitytoolkit.googleapis.com/v1/accounts:signInWithPassword",
    "https:identitytoolkit.googleapis.com/v1/accounts:signInWithPassword",
    "https://identitytoolkit.googleapis.com\\@evil.example/v1/accounts:signInWithPassword",
    "https://identitytoolkit.googleapis.com/v1/accounts:signInWithPassword#x",
    "https://identitytoolkit.googleapis.com/v1/accounts:signInWithPassword/../../v1/projects/p/accounts",
    "https://identitytoolkit.googleapis.com/v1/../v1/accounts:signInWithPassword",
    "https://identitytoolkit.googleapis.com/v1/%2e%2e/accounts:signInWithPassword",
    "https://identitytoolkit.googleapis.com/v1/accounts:sign%49nWithPassword",
    "https://identitytoolkit.googleapis.com/v1/accounts:",
    "https://identitytoolkit.googleapis.com/v1/accounts",
    "https://identitytoolkit.googleapis.com/v3/accounts:signInWithPassword",
    "https://identitytoolkit.googleapis.com/v1/projects/p/accounts:lookup",
    "https://identitytoolkit.googleapis.com/v1/projects/p:createSessionCookie",
    "https://identitytoolkit.googleapis.com/v1/token",
    "https://identitytoolkit.googleapis.com/v1/accounts:signInWithPassword\r\nX: y",
    "https://identitytoolkit.googleapis.com/v1/accounts:signInWithPassword?key=k\r\nX: y",
    "https://identitytoolkit.googleapis.com/v1/accounts:signInWithPassword?key=k#x",
    "https://identitytoolkit.googleapis.com/v1/accounts:signInWithPassword?key=k d",
    "https://identitytoolkit.googleapis.com/v1/accounts:signInWithPassword?" + "k" * 3_000,
    "https://securetoken.googleapis.com/v1/token/",
    "https://securetoken.googleapis.com/v1/tokens",
    "https://securetoken.googleapis.com/v2/token",
    "https://securetoken.googleapis.com/v1/accounts:signInWithPassword",
    "HTTPS://IDENTITYTOOLKIT.GOOGLEAPIS.COM/v1/accounts:signInWithPassword",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_v1/token",
]


@pytest.mark.parametrize(("target", "url", "renewal"), GOOD_TARGETS)
def test_what_the_sdk_calls_goes_to_the_configured_service(target: str, url: str, renewal: bool) -> None:
    """... sends a call of the SDK to the address in the configuration, whatever host the page named."""
    assert resolve(target, services()) == (url, renewal)


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_nothing_else_goes_anywhere(target: str) -> None:
    """... is no way to any other address, path or spelling."""
    assert resolve(target, services()) is None


# ---- the protocol ----


@dataclass
class Setting:
    """A gateway with the SDK's cookies switched on, its application, and the identity service that it calls."""

    front: Gateway
    application: Backend
    service: Backend

    async def call(
        self, target: str, *fields: str, body: bytes = b"{}", method: str = "POST", own: bool = True, **changed: Any
    ) -> bytes:
        line = f"{method} /__cookies__?finalTarget={quote(target, safe='')} HTTP/1.1"
        lines = [*([OWN] if own else []), *fields]
        return await self.front.speak(request(line, *lines, body=body, token=None, **changed))


@asynccontextmanager
async def setting(
    answer: object = None, *, status: bytes = b"200 OK", raw: bytes | None = None
) -> AsyncIterator[Setting]:
    said = raw if raw is not None else json.dumps(answer).encode()
    known = {FRESH: claims_of("uid-of-ada"), STRANGER: claims_of("somebody-else")}
    async with (
        backend(answers(said, status=status)) as service,
        backend(answers(b"page")) as application,
        gateway(application.url, sdk_services=services(service.url), clock=FakeClock(), tokens=known) as front,
    ):
        peek = front.verifier.peek

        def peek_or_expire(token: str) -> Claims | None:
            if token == EXPIRED:
                raise TokenExpired("too old")
            return peek(token)

        front.verifier.peek = peek_or_expire  # type: ignore[method-assign]
        yield Setting(front, application, service)


def cookies_of(answer: bytes) -> dict[str, str]:
    lines = head_of(answer).get("set-cookie", "").split(" | ")
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines if line}


async def test_a_sign_in_leaves_the_tokens_in_cookies() -> None:
    """passes a sign-in on with its body and known fields, keeps both tokens, and shows the page one of them."""
    async with setting({"idToken": FRESH, "refreshToken": "the-secret", "localId": "u"}) as world:
        answer = await world.call(
            SIGN_IN,
            "Content-Type: application/json",
            "X-Client-Version: v",
            "X-Evil: 1",
            "Cookie: a=b",
            body=b'{"a":1}',
        )
        told = dict(world.service.fields())
        assert bytes(world.service.conversations[0].received).startswith(
            b"POST /it/v1/accounts:signInWithPassword?key=k "
        )
        assert body_of(bytes(world.service.conversations[0].received)) == b'{"a":1}'
    assert status_of(answer) == 200
    assert json.loads(body_of(answer)) == {"idToken": FRESH, "refreshToken": "REDACTED", "localId": "u"}
    jar = cookies_of(answer)
    assert jar[ID].startswith(f"{FRESH}; ")
    assert "HttpOnly" not in jar[ID]
    assert jar[REFRESH].startswith("the-secret; ")
    assert "HttpOnly" in jar[REFRESH]
    assert b"the-secret" not in body_of(answer)
    assert (told["Content-Type"], told["X-Client-Version"]) == ("application/json", "v")
    assert not {"X-Evil", "Cookie", "Origin"} & told.keys()


async def test_a_renewal_uses_the_cookies_refresh_token() -> None:
    """puts the refresh token of the cookie in the place of the word that the page knows."""
    renewed = {"id_token": FRESH, "access_token": FRESH, "refresh_token": "next-secret", "expires_in": "3600"}
    async with setting(renewed) as world:
        form = b"grant_type=refresh_token&refresh_token=REDACTED"
        answer = await world.call(RENEW, f"Cookie: {ID}={EXPIRED}; {REFRESH}=the-secret", body=form)
        sent = parse_qsl(body_of(bytes(world.service.conversations[0].received)).decode())
        assert sent == [("grant_type", "refresh_token"), ("refresh_token", "the-secret")]
        untouched = await world.call(RENEW, body=form)
        assert status_of(untouched) == 200
        assert world.service.received.endswith(form)
    assert json.loads(body_of(answer))["refresh_token"] == "REDACTED"
    assert cookies_of(answer)[REFRESH].startswith("next-secret; ")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"error": {"code": 400, "message": "INVALID_PASSWORD"}}, b"400 Bad Request"),
        ({"mfaPendingCredential": "x"}, b"200 OK"),
    ],
)
async def test_what_is_no_session_sets_no_cookie(answer: dict[str, Any], status: bytes) -> None:
    """relays an error, and the first half of a sign-in with two factors, as they are."""
    async with setting(answer, status=status) as world:
        relayed = await world.call(SIGN_IN)
    assert (status_of(relayed), json.loads(body_of(relayed))) == (int(status[:3]), answer)
    assert cookies_of(relayed) == {}


@pytest.mark.parametrize(
    ("raw", "status"), [(b"<html>", b"200 OK"), (b"[" * 99_999, b"200 OK"), (b" " * (MAX_ANSWER + 1), b"200 OK")]
)
async def test_an_answer_beyond_bounds_is_none(raw: bytes, status: bytes) -> None:
    """answers 503 when the service says what nobody can read."""
    async with setting(raw=raw, status=status) as world:
        answer = await world.call(SIGN_IN)
    assert (status_of(answer), json.loads(body_of(answer))["code"]) == (503, "identity_service_unavailable")


async def test_a_token_that_is_no_cookie_value_sets_none() -> None:
    """writes nothing into a cookie that could be read as more than its value."""
    async with setting({"idToken": "a; Domain=evil.example", "refreshToken": "b"}) as world:
        assert cookies_of(await world.call(SIGN_IN)) == {}


@pytest.mark.parametrize("target", ["https://evil.example/v1/token", "", f"{ACCOUNTS}/v1/projects/p/accounts:lookup"])
async def test_other_targets_are_refused(target: str) -> None:
    """refuses any other target before anything is sent."""
    async with setting({}) as world:
        assert status_of(await world.call(target)) == 400
        assert not world.service.conversations


async def test_two_targets_are_refused() -> None:
    """does not choose between two targets."""
    async with setting({}) as world:
        line = f"POST /__cookies__?finalTarget={quote(SIGN_IN)}&finalTarget={quote(RENEW)} HTTP/1.1"
        assert status_of(await world.front.speak(request(line, OWN, body=b"{}"))) == 400


async def test_only_this_site_may_ask() -> None:
    """refuses calls that are not shown to come from a page of this site."""
    async with setting({}) as world:
        for fields in ((), ("Origin: https://evil.example",), ("Sec-Fetch-Site: same-site",)):
            for method in ("POST", "DELETE"):
                assert status_of(await world.call(SIGN_IN, *fields, own=False, method=method)) == 403
        assert not world.service.conversations


async def test_bounds_and_methods() -> None:
    """takes POST and DELETE, and no body of any size."""
    async with setting({}) as world:
        assert status_of(await world.call(SIGN_IN, body=b"x" * (MAX_BODY + 1))) == 413
        refused = await world.call(SIGN_IN, method="GET", body=b"")
        assert (status_of(refused), head_of(refused)["allow"]) == (405, "POST, DELETE")
        assert status_of(await world.call(RENEW, f"Cookie: {REFRESH}=s", body=b"\xff")) == 400


async def test_the_sdks_sign_out_removes_both_cookies() -> None:
    """removes both cookies when the SDK signs out."""
    async with setting({}) as world:
        answer = await world.call(SIGN_IN, method="DELETE")
    assert status_of(answer) == 200
    assert {name: "Max-Age=0" in rest for name, rest in cookies_of(answer).items()} == {ID: True, REFRESH: True}


async def test_it_is_off_unless_asked_for() -> None:
    """leaves the address and the cookies to the application where the option is off."""
    async with backend(answers()) as application, gateway(application.url) as front:
        await front.speak(request("POST /__cookies__ HTTP/1.1", OWN, f"Cookie: {ID}=mine"))
        assert ("Cookie", f"{ID}=mine") in application.fields()


# ---- the cookie as a carrier ----


async def test_the_cookie_is_a_session_and_no_backends_business() -> None:
    """takes the ID token in the SDK's cookie for a session and keeps both cookies from the backend."""
    async with setting({}) as world:
        answer = await world.front.speak(
            request("GET /x HTTP/1.1", f"Cookie: {ID}={FRESH}; {REFRESH}=s; a=b", token=None)
        )
        assert (status_of(answer), body_of(answer)) == (200, b"page")
        assert ("X-Forwarded-User", "uid-of-ada") in world.application.fields()
        assert ("Cookie", "a=b") in world.application.fields()
        assert not world.service.conversations


RENEWED = {"id_token": FRESH, "refresh_token": "next-secret"}
STALE = f"Cookie: a=b; {ID}={EXPIRED}; {REFRESH}=the-secret"


async def test_an_expired_cookie_is_renewed_on_the_way() -> None:
    """renews an expired ID token with the refresh cookie and serves the page in the same request."""
    async with setting(RENEWED) as world:
        answer = await world.front.speak(request("GET /x HTTP/1.1", STALE, token=None))
        assert (status_of(answer), body_of(answer)) == (200, b"page")
        assert ("X-Forwarded-User", "uid-of-ada") in world.application.fields()
        assert ("Cookie", "a=b") in world.application.fields()
        sent = bytes(world.service.conversations[0].received)
        assert sent.startswith(b"POST /st/v1/token?key=the-key ")
        assert parse_qsl(body_of(sent).decode())[1] == ("refresh_token", "the-secret")
    jar = cookies_of(answer)
    assert jar[ID].startswith(f"{FRESH}; ")
    assert jar[REFRESH].startswith("next-secret; ")


async def test_many_requests_share_one_renewal() -> None:
    """makes one call for any number of requests with the same expired cookie."""
    async with setting(RENEWED) as world:
        sent = request("GET /x HTTP/1.1", STALE, token=None)
        found = await asyncio.gather(*(world.front.speak(sent) for _ in range(20)))
        assert {status_of(answer) for answer in found} == {200}
        assert world.service.received.count(b"POST /st/v1/token") == 1


@pytest.mark.parametrize(
    ("answer", "status", "removed"),
    [
        ({"error": {"message": "TOKEN_EXPIRED"}}, b"400 Bad Request", True),
        ({"id_token": STRANGER, "refresh_token": "s"}, b"200 OK", True),
        ({"error": {}}, b"429 Too Many Requests", False),
        ({"error": {}}, b"503 Service Unavailable", False),
        ({"id_token": 7}, b"200 OK", False),
    ],
)
async def test_a_session_that_cannot_be_renewed(answer: dict[str, Any], status: bytes, removed: bool) -> None:
    """asks for a sign-in, and removes the cookies when the service says that the session is over or somebody else's."""
    async with setting(answer, status=status) as world:
        sent = request("GET /x HTTP/1.1", STALE, token=None)
        for _ in range(2):
            refused = await world.front.speak(sent)
            assert status_of(refused) == 401
            assert cookies_of(refused).keys() == ({ID, REFRESH} if removed else set())
        assert len(world.service.conversations) == 1
        assert not world.application.conversations


@pytest.mark.parametrize(
    "jar",
    [
        f"{ID}={EXPIRED}",
        f"{ID}={EXPIRED}; {REFRESH}=",
        f"{ID}={EXPIRED}; {ID}={EXPIRED}; {REFRESH}=s",
        f"{ID}={EXPIRED}; {REFRESH}=s; {REFRESH}=t",
        f"{ID}=no.token.this; {REFRESH}=s",
        f"{ID}=x; {REFRESH}=s",
        f"{REFRESH}=s",
        f"{ID}={FRESH}; {REFRESH}=s",
    ],
)
async def test_nothing_is_renewed_without_cause(jar: str) -> None:
    """calls nobody unless exactly one expired ID token and one refresh token are there."""
    async with setting(RENEWED) as world:
        await world.front.speak(request("GET /x HTTP/1.1", f"Cookie: {jar}", token=None))
        assert not world.service.conversations


async def test_an_empty_cookie_means_signed_out() -> None:
    """removes both cookies and renews nothing when the SDK has emptied its own."""
    async with setting(RENEWED) as world:
        answer = await world.front.speak(request("GET /public/x HTTP/1.1", f"Cookie: {ID}=; {REFRESH}=s", token=None))
        assert status_of(answer) == 200
        assert cookies_of(answer).keys() == {ID, REFRESH}
        assert not world.service.conversations


async def test_a_websocket_gets_its_renewed_cookies_too() -> None:
    """sends renewed cookies with the 101 of a handshake."""
    accept = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(accept + b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        await conversation.to_end()

    async with setting(RENEWED) as world:
        world.application.script = script
        fields = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        answer = await world.front.speak(request("GET /ws HTTP/1.1", *fields, OWN, STALE, token=None))
        assert status_of(answer) == 101
        assert cookies_of(answer).keys() == {ID, REFRESH}
        assert ("X-Forwarded-User", "uid-of-ada") in world.application.fields()


@pytest.mark.parametrize(
    ("cookie", "acts"),
    [
        (f"{ID}={EXPIRED}; {REFRESH}=s", True),
        (f"{ID}=", True),
        (f"{ID}={FRESH}; {REFRESH}=s", False),
        (f"{ID}={EXPIRED}", False),
        (f"{ID}={EXPIRED}; {ID}={EXPIRED}; {REFRESH}=s", False),
        ("a=b", False),
    ],
)
async def test_it_is_known_beforehand_whether_cookies_are_looked_after(cookie: str, acts: bool) -> None:
    """tells until when it leaves a request's cookies alone, and does leave them alone until then."""
    async with setting(RENEWED) as world:
        headers = Headers(((b"Cookie", cookie.encode()),))
        context = RequestContext("GET", "https", "app.example", parse_target("/x"), "192.0.2.1", headers)
        sdk = world.front.proxy._endpoints._sdk_cookies
        assert sdk is not None
        until = sdk.rests_until(context, "https")
        after, fields = await sdk.freshen(context, "https")
        assert (until == -math.inf, (after, fields) != (context, ())) == (acts, acts)
        if cookie.startswith(f"{ID}={FRESH}"):
            assert until < math.inf
