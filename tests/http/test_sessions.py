"""Signing out, asked through a running proxy."""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_network

import pytest

from gateway.core.claims import Principal
from gateway.errors import RequestError
from gateway.http.cookies import SessionCookieSettings
from gateway.http.sessions import MAX_BODY, scope_of
from tests.support.backends import answers, backend
from tests.support.wire import GOOD, Gateway, body_of, claims_of, eventually, gateway, head_of, request, status_of

POST = "POST /.gateway/logout HTTP/1.1"
FORM = "Content-Type: application/x-www-form-urlencoded"
JSON = "Content-Type: application/json"
OTHER = "other.token.two"


def code_of(answer: bytes) -> str:
    return str(json.loads(body_of(answer))["code"])


async def stands(front: Gateway, token: str = GOOD) -> bool:
    return status_of(await front.speak(request("GET /api/x HTTP/1.1", token=token))) == 200


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ((), b""),
        ((FORM,), b"scope=device"),
        ((FORM + "; charset=utf-8",), b"scope=device&other=1"),
        ((FORM,), b"other="),
        ((JSON,), b'{"scope": "device"}'),
        ((JSON,), b"{}"),
        (("Origin: https://app.example", "Sec-Fetch-Site: same-origin"), b""),
    ],
)
async def test_signing_out_ends_this_session_and_no_other(fields: tuple[str, ...], body: bytes) -> None:
    """ends the session of the token from the next request on, and leaves the user's other devices alone."""
    tokens = {GOOD: claims_of(), OTHER: claims_of(auth_time=2_000), "renewed": claims_of(issued_at=9_000)}
    async with backend(answers()) as server, gateway(server.url, tokens=tokens) as front:
        assert await stands(front)
        answer = await front.speak(request(POST, *fields, body=body))
        assert status_of(answer) == 204
        assert head_of(answer)["clear-site-data"] == '"cache"'
        assert head_of(answer)["cache-control"] == "private, no-store"
        refused = await front.speak(request("GET /api/x HTTP/1.1"))
        assert (status_of(refused), code_of(refused)) == (401, "session_signed_out")
        assert not await stands(front, "renewed"), "a renewed token of the same session"
        assert await stands(front, OTHER)
        assert front.revocation.told == []
        assert front.audit.events[1].decision.route == "gateway-logout"


@pytest.mark.parametrize(("fields", "body"), [((FORM,), b"scope=everywhere"), ((JSON,), b'{"scope":"everywhere"}')])
async def test_signing_out_everywhere_revokes(fields: tuple[str, ...], body: bytes) -> None:
    """has Firebase end every session of the user, and ends this one even if it began in the very same second."""
    tokens = {GOOD: claims_of(auth_time=2**40), OTHER: claims_of()}
    async with backend(answers()) as server, gateway(server.url, tokens=tokens) as front:
        assert await stands(front, OTHER)
        assert status_of(await front.speak(request(POST, *fields, body=body))) == 204
        assert front.revocation.told == [Principal("demo", None, "alice")]
        assert code_of(await front.speak(request("GET /api/x HTTP/1.1"))) == "session_signed_out"
        assert code_of(await front.speak(request("GET /api/x HTTP/1.1", token=OTHER))) == "session_revoked"


async def test_signing_out_removes_the_cookie() -> None:
    """takes the session's cookie off the browser with the session, so that nothing comes back that could be refused."""
    session = SessionCookieSettings(sdk=True)
    async with backend(answers()) as server, gateway(server.url, session=session) as front:
        fields = (f"Cookie: __Host-session={GOOD}", "Origin: https://app.example")
        answer = await front.speak(request(POST, *fields, token=None))
        assert status_of(answer) == 204
        removed = [line for line in answer.split(b"\r\n") if line.startswith(b"Set-Cookie: ")]
        assert all(b"Max-Age=0" in line for line in removed)
        names = [line.removeprefix(b"Set-Cookie: ").partition(b"=")[0] for line in removed]
        assert names == [b"__Host-session", b"__HOST-FIREBASE_[DEFAULT]", b"__HOST-FIREBASEID_[DEFAULT]"]
        refused = await front.speak(request(POST, "Origin: https://other.example", token=None))
        assert b"Set-Cookie" not in refused, "a foreign page signs nobody out, not even by removing a cookie"


async def test_a_revocation_that_was_not_confirmed_changes_nothing() -> None:
    """says 503 and when to try again, and keeps the session, so that the user can."""
    async with backend(answers()) as server, gateway(server.url) as front:
        front.revocation.down = True
        answer = await front.speak(request(POST, FORM, body=b"scope=everywhere"))
        assert (status_of(answer), code_of(answer)) == (503, "revocation_unavailable")
        assert head_of(answer)["retry-after"] == "7"
        assert front.audit.reasons == ["revocation_unavailable"]
        front.revocation.down = False
        assert await stands(front)
        assert status_of(await front.speak(request(POST, FORM, body=b"scope=everywhere"))) == 204


async def test_an_outage_keeps_nobody_from_signing_out_of_a_device() -> None:
    """ends a session that it cannot check: nobody needs to vouch for somebody who wants to go."""
    async with backend(answers()) as server, gateway(server.url) as front:
        front.revocation.down = True
        assert code_of(await front.speak(request("GET /api/x HTTP/1.1"))) == "revocation_unavailable"
        assert status_of(await front.speak(request(POST))) == 204
        front.revocation.down = False
        assert code_of(await front.speak(request("GET /api/x HTTP/1.1"))) == "session_signed_out"


async def test_everywhere_needs_an_account_service() -> None:
    """says that it cannot end other sessions where look-ups are switched off, and ends none by half."""
    async with backend(answers()) as server, gateway(server.url, revokes=False) as front:
        answer = await front.speak(request(POST, FORM, body=b"scope=everywhere"))
        assert (status_of(answer), code_of(answer)) == (501, "sign_out_everywhere_off")
        assert await stands(front)
        assert status_of(await front.speak(request(POST))) == 204


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        (None, 401, "sign_in_required"),
        ("expired", 401, "token_expired"),
        ("forged", 401, "token_signature"),
        ("down", 503, "keys_unavailable"),
    ],
)
async def test_only_a_good_token_ends_a_session(token: str | None, status: int, code: str) -> None:
    """refuses to end anything for whoever cannot show the session."""
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await front.speak(request(POST, token=token))
        assert (status_of(answer), code_of(answer)) == (status, code)
        assert head_of(answer)["content-type"] == "application/problem+json"
        assert await stands(front)


async def test_a_session_that_is_over_is_told_so() -> None:
    """answers 401 to a second sign-out: the session is over already."""
    async with backend(answers()) as server, gateway(server.url) as front:
        assert status_of(await front.speak(request(POST))) == 204
        answer = await front.speak(request(POST))
        assert (status_of(answer), code_of(answer)) == (401, "session_signed_out")


@pytest.mark.parametrize(
    "field", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]
)
async def test_a_foreign_page_signs_nobody_out(field: str) -> None:
    """refuses a sign-out that another site started, whatever token comes along."""
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await front.speak(request(POST, field))
        assert (status_of(answer), code_of(answer)) == (403, "cross_site")
        assert await stands(front)


async def test_whoever_moved_may_sign_out() -> None:
    """ends a session from another network than its own, because that can only do good."""
    tokens = {GOOD: claims_of(signInIpAddress="203.0.113.9"), OTHER: claims_of("bob")}
    async with (
        backend(answers()) as server,
        gateway(server.url, tokens=tokens, trusted=[ip_network("127.0.0.0/8")]) as front,
    ):
        elsewhere = "X-Forwarded-For: 198.51.100.7"
        assert code_of(await front.speak(request("GET /api/x HTTP/1.1", elsewhere))) == "network_changed"
        assert status_of(await front.speak(request(POST, elsewhere))) == 204
        home = "X-Forwarded-For: 203.0.113.9"
        assert code_of(await front.speak(request("GET /api/x HTTP/1.1", home))) == "session_signed_out"
        malformed = await front.speak(request(POST, "X-Forwarded-For: bogus", token=OTHER))
        assert (status_of(malformed), code_of(malformed)) == (400, "forwarded_invalid")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_not_taken(method: str) -> None:
    """names the methods that the address takes."""
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await front.speak(request(f"{method} /.gateway/logout HTTP/1.1"))
        assert (status_of(answer), head_of(answer)["allow"]) == (405, "GET, HEAD, POST")
        assert status_of(await front.speak(request("GET /.gateway/logout HTTP/1.1"))) == 200
        assert await stands(front)


async def test_without_a_deny_list_there_is_only_the_page() -> None:
    """takes no sign-out that it could not keep."""
    async with backend(answers()) as server, gateway(server.url, signs_out=False) as front:
        answer = await front.speak(request(POST))
        assert (status_of(answer), head_of(answer)["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("fields", "body", "status", "code"),
    [
        ((FORM,), b"scope=all", 400, "request_malformed"),
        ((FORM,), b"scope=", 400, "request_malformed"),
        ((FORM,), b"scope=device&scope=everywhere", 400, "request_malformed"),
        ((FORM,), b"scope", 400, "request_malformed"),
        ((FORM,), b"\xff", 400, "request_malformed"),
        ((JSON,), b'{"scope": ["device"]}', 400, "request_malformed"),
        ((JSON,), b'{"scope": null}', 400, "request_malformed"),
        ((JSON,), b'{"scope": "device", "scope": "everywhere"}', 400, "request_malformed"),
        ((JSON,), b'["scope"]', 400, "request_malformed"),
        ((JSON,), b"[[" * 400, 400, "request_malformed"),
        ((JSON,), b"device", 400, "request_malformed"),
        (("Content-Type: text/plain",), b"scope=device", 400, "request_malformed"),
        ((), b"scope=device", 400, "request_malformed"),
        ((FORM,), b"scope=device&x=" + b"y" * MAX_BODY, 413, "body_too_large"),
    ],
)
async def test_a_body_that_means_nothing_ends_nothing(
    fields: tuple[str, ...], body: bytes, status: int, code: str
) -> None:
    """refuses what it cannot read, instead of guessing whose sessions are meant."""
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await front.speak(request(POST, *fields, body=body))
        assert (status_of(answer), code_of(answer)) == (status, code)
        assert await stands(front)
        assert front.revocation.told == []


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """gives up on a body that never arrives."""
    monkeypatch.setattr("gateway.http.intake.BODY_DEADLINE", 0.05)
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await front.speak(request(POST, FORM, "Content-Length: 12"))
        assert (status_of(answer), code_of(answer)) == (400, "request_malformed")


async def test_a_crowd_of_sign_outs_is_one_revocation() -> None:
    """calls the account service once for each user, however often they press the button."""
    tokens = {GOOD: claims_of(), OTHER: claims_of("bob")}
    async with backend(answers()) as server, gateway(server.url, tokens=tokens) as front:
        front.revocation.open.clear()
        requests = [request(POST, FORM, body=b"scope=everywhere", token=token) for token in (GOOD, OTHER)]
        answered = [asyncio.create_task(front.speak(data)) for data in requests * 10]
        await eventually(lambda: front.verifier.asked == len(answered))
        answered.pop().cancel()
        await asyncio.sleep(0.01)
        front.revocation.open.set()
        assert [status_of(answer) for answer in await asyncio.gather(*answered)] == [204] * len(answered)
        assert sorted(who.uid for who in front.revocation.told) == ["alice", "bob"]


async def test_an_enforcement_point_without_bodies_means_this_device() -> None:
    """ends this session alone when no body can be read."""
    assert scope_of(None, b"") == "device"
    with pytest.raises(RequestError):
        scope_of(None, b"scope=everywhere")
