"""Setting, renewing and removing the session cookie, through a running proxy."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from gateway.core.claims import Claims
from gateway.errors import RevocationUnavailable
from gateway.http.cookies import SessionCookieSettings
from gateway.http.reply import Replies
from gateway.http.session_cookie import MAX_BODY, SessionCookieEndpoint
from tests.support.backends import answers, backend
from tests.support.clock import NOW, FakeClock
from tests.support.wire import GOOD, FakeAssets, Gateway, body_of, claims_of, gateway, head_of, request, status_of

OWN = "Origin: https://app.example"
BOB = "good.token.two"
COOKIE_OF_ALICE = "good.cookie.one"


def claims(uid: str = "alice", *, signed_in: float = 60, left: int = 3_000) -> Claims:
    return dataclasses.replace(claims_of(uid), auth_time=int(NOW - signed_in), expires_at=int(NOW) + left)


TOKENS = {GOOD: claims(), BOB: claims("bob"), COOKIE_OF_ALICE: claims()}


class Source:
    """Makes session cookies out of nothing, and counts."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []
        self.down = False

    async def create_session_cookie(self, id_token: str, lifetime: int) -> str:
        if self.down:
            raise RevocationUnavailable("down", retry_after=9)
        self.made.append((id_token, lifetime))
        return COOKIE_OF_ALICE


async def ask(
    line: str = "POST /.gateway/session HTTP/1.1",
    *fields: str,
    mode: Any = "id_token",
    tokens: dict[str, Claims] | None = None,
    source: Source | None = None,
    **changed: Any,
) -> bytes:
    settings = SessionCookieSettings(mode)
    options: dict[str, Any] = {"session": settings, "clock": FakeClock(), "cookie_source": source or Source()}
    async with (
        backend(answers()) as server,
        gateway(server.url, tokens=tokens or TOKENS, **options) as front,
    ):
        answer = await front.speak(request(line, *fields, **changed))
        assert not server.conversations, "the request reached the backend"
        return answer


def code_of(answer: bytes) -> str:
    return str(json.loads(body_of(answer))["code"])


async def test_a_posted_token_becomes_the_cookie() -> None:
    """sets the ID token as a cookie that ends when the token does."""
    answer = await ask("POST /.gateway/session HTTP/1.1", OWN)
    assert (status_of(answer), body_of(answer)) == (204, b"")
    head = head_of(answer)
    assert head["set-cookie"] == f"__Host-session={GOOD}; Path=/; SameSite=Lax; Max-Age=3000; HttpOnly; Secure"
    assert head["cache-control"] == "no-store"


async def test_on_this_machine_the_cookie_has_the_other_name() -> None:
    """sets a cookie that browsers take over plain http on localhost."""
    answer = await ask("POST /.gateway/session HTTP/1.1", "Sec-Fetch-Site: same-origin", host="localhost:8080")
    assert head_of(answer)["set-cookie"].startswith(f"__session={GOOD}; ")
    assert "Secure" not in head_of(answer)["set-cookie"]


async def test_a_page_may_post_json() -> None:
    """takes the token from a JSON body, also when a worker has added the same user's older one."""
    body = json.dumps({"idToken": GOOD}).encode()
    for token in (None, COOKIE_OF_ALICE):
        answer = await ask(
            "POST /.gateway/session HTTP/1.1",
            OWN,
            "Content-Type: application/json; charset=utf-8",
            body=body,
            token=token,
        )
        assert status_of(answer) == 204
        assert f"={GOOD};" in head_of(answer)["set-cookie"]
        assert "connection" not in head_of(answer)


async def test_two_users_in_one_post_are_refused() -> None:
    """sets no cookie when body and header belong to different people."""
    body = json.dumps({"idToken": BOB}).encode()
    answer = await ask("POST /.gateway/session HTTP/1.1", OWN, "Content-Type: application/json", body=body)
    assert (status_of(answer), code_of(answer)) == (400, "credential_conflict")
    assert "set-cookie" not in head_of(answer)


async def test_another_users_cookie_is_replaced() -> None:
    """lets the next person on this browser sign in over the cookie that the last one left."""
    answer = await ask("POST /.gateway/session HTTP/1.1", OWN, f"Cookie: __Host-session={BOB}")
    assert status_of(answer) == 204
    assert f"={GOOD};" in head_of(answer)["set-cookie"]


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Origin: https://evil.example",),
        ("Origin: null",),
        ("Origin: http://app.example",),
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: same-site",),
        ("Origin: https://app.example", "Sec-Fetch-Site: cross-site"),
        ("Origin: https://app.example", "Origin: https://evil.example"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_only_this_site_sets_and_removes_the_cookie(method: str, fields: tuple[str, ...]) -> None:
    """signs nobody in or out for a page that is not shown to be its own (login CSRF)."""
    answer = await ask(f"{method} /.gateway/session HTTP/1.1", *fields)
    assert (status_of(answer), code_of(answer)) == (403, "cross_site")
    assert "set-cookie" not in head_of(answer)


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/x-www-form-urlencoded", b"idToken=" + GOOD.encode(), 400, "request_malformed"),
        ("text/plain", b'{"idToken": "good.token.one"}', 400, "request_malformed"),
        ("application/jsonp", b'{"idToken": "good.token.one"}', 400, "request_malformed"),
        ("application/json", b"[", 400, "request_malformed"),
        ("application/json", b"[" * 5_000, 400, "request_malformed"),
        ("application/json", b"[]", 400, "request_malformed"),
        ("application/json", b'{"idToken": 7}', 400, "request_malformed"),
        ("application/json", '{"idToken": "gööd"}'.encode(), 400, "request_malformed"),
        ("application/json", b'{"idToken": "a\\r\\nb"}', 400, "request_malformed"),
        ("application/json", b'{"idToken": ""}', 401, "credential_unsupported"),
        ("application/json", b'{"idToken": "forged.to.ken"}', 401, "token_signature"),
        ("application/json", b'{"idToken": "expired"}', 401, "token_expired"),
        ("application/json", b'{"idToken": "down"}', 503, "keys_unavailable"),
        ("application/json", b" " * (MAX_BODY + 1), 413, "body_too_large"),
    ],
)
async def test_what_is_no_good_token_sets_nothing(content_type: str, body: bytes, status: int, code: str) -> None:
    """refuses other bodies and bad tokens with their reason, and sets no cookie."""
    answer = await ask("POST /.gateway/session HTTP/1.1", OWN, f"Content-Type: {content_type}", body=body, token=None)
    assert (status_of(answer), code_of(answer)) == (status, code)
    assert "set-cookie" not in head_of(answer)


async def test_without_a_token_there_is_nothing_to_keep() -> None:
    """challenges an empty post: a cookie renews no cookie."""
    answer = await ask("POST /.gateway/session HTTP/1.1", OWN, f"Cookie: __Host-session={GOOD}", token=None)
    assert (status_of(answer), code_of(answer)) == (401, "sign_in_required")


async def test_a_token_that_fits_into_no_cookie_is_refused() -> None:
    """says so when browsers would drop the cookie in silence."""
    long = "x" * 4_090
    answer = await ask("POST /.gateway/session HTTP/1.1", OWN, tokens={long: claims()}, token=long)
    assert (status_of(answer), code_of(answer)) == (413, "token_too_large")


async def test_removing_the_cookie() -> None:
    """removes the cookie, whoever's it is and whether or not it is there."""
    answer = await ask("DELETE /.gateway/session HTTP/1.1", OWN, token=None)
    assert status_of(answer) == 204
    assert head_of(answer)["set-cookie"] == "__Host-session=; Path=/; SameSite=Lax; Max-Age=0; HttpOnly; Secure"


async def test_other_methods_and_no_cookie_at_all() -> None:
    """knows two methods here, and nothing where the cookie is switched off."""
    answer = await ask("GET /.gateway/session HTTP/1.1", OWN)
    assert (status_of(answer), head_of(answer)["allow"]) == (405, "POST, DELETE")
    for method in ("POST", "DELETE"):
        assert status_of(await ask(f"{method} /.gateway/session HTTP/1.1", OWN, mode="off")) == 404


# ---- Firebase session cookies ----


async def lasting(*fields: str, source: Source, **changed: Any) -> bytes:
    return await ask("POST /.gateway/session HTTP/1.1", OWN, *fields, mode="session_cookie", source=source, **changed)


async def test_a_fresh_sign_in_becomes_a_lasting_session() -> None:
    """has a Firebase session cookie made, of the configured life, soon after a sign-in."""
    source = Source()
    answer = await lasting(source=source)
    assert head_of(answer)["set-cookie"].startswith(f"__Host-session={COOKIE_OF_ALICE}; ")
    assert "Max-Age=432000;" in head_of(answer)["set-cookie"]
    assert source.made == [(GOOD, 432_000)]


@pytest.mark.parametrize(("signed_in", "status"), [(300, 204), (301, 401)])
async def test_an_old_sign_in_does_not(signed_in: int, status: int) -> None:
    """wants a sign-in of the last five minutes, or a stolen ID token would become a session of weeks."""
    source = Source()
    answer = await lasting(source=source, tokens={GOOD: claims(signed_in=signed_in)})
    assert status_of(answer) == status
    assert len(source.made) == (status == 204)
    if status == 401:
        assert code_of(answer) == "recent_sign_in_required"


async def test_the_workers_later_tokens_change_nothing() -> None:
    """leaves a good session cookie of the same user as it is, however often the worker posts."""
    source = Source()
    old = {GOOD: claims(signed_in=3_000), COOKIE_OF_ALICE: claims(signed_in=3_000)}
    for tokens in (TOKENS, old):
        answer = await lasting(f"Cookie: __Host-session={COOKIE_OF_ALICE}", source=source, tokens=tokens)
        assert status_of(answer) == 204
        assert "set-cookie" not in head_of(answer)
    assert source.made == []


async def test_a_new_sign_in_replaces_the_session_cookie() -> None:
    """has a new cookie made when the user signed in again, and when the cookie is somebody else's."""
    source = Source()
    again = {GOOD: claims(signed_in=10), COOKIE_OF_ALICE: claims(signed_in=3_000), BOB: claims("bob")}
    for cookie in (COOKIE_OF_ALICE, BOB):
        answer = await lasting(f"Cookie: __Host-session={cookie}", source=source, tokens=again)
        assert "set-cookie" in head_of(answer)
    assert len(source.made) == 2


async def test_no_session_cookie_without_the_account_service() -> None:
    """answers 503 when no session cookie can be had."""
    source = Source()
    source.down = True
    answer = await lasting(source=source)
    assert (status_of(answer), head_of(answer)["retry-after"]) == (503, "9")
    assert "set-cookie" not in head_of(answer)


def test_somebody_has_to_make_them() -> None:
    """does not start without somebody who makes the session cookies."""
    with pytest.raises(ValueError, match="somebody who makes them"):
        SessionCookieEndpoint(SessionCookieSettings("session_cookie"), Replies(FakeAssets()), FakeClock())


# ---- what the cookie is for ----


async def through(
    *fields: str, line: str = "GET /page HTTP/1.1", **changed: Any
) -> tuple[bytes, list[tuple[str, str]]]:
    async with backend(answers()) as server, gateway(server.url, session=SessionCookieSettings()) as front:
        answer = await front.speak(request(line, *fields, token=None, **changed))
        return answer, server.fields() if server.conversations else []


async def test_a_cookie_carries_what_no_worker_sees() -> None:
    """passes a hard reload and a download on with the user's identity and without the cookie."""
    navigation = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none", "Accept: text/html")
    for fields in (navigation, ()):
        answer, told = await through(f"Cookie: theme=dark; __Host-session={GOOD}", *fields)
        assert status_of(answer) == 200
        assert ("X-Forwarded-User", "alice") in told
        assert ("Cookie", "theme=dark") in told


async def test_a_spent_cookie_is_removed_with_the_challenge() -> None:
    """removes a cookie that can only be refused again, from a page's redirect and a script's 401 alike."""
    page = await through("Cookie: __Host-session=forged", "Accept: text/html")
    script = await through("Cookie: __Host-session=forged")
    assert (status_of(page[0]), status_of(script[0])) == (302, 401)
    for answer, _ in (page, script):
        assert head_of(answer)["set-cookie"].startswith("__Host-session=; ")


async def test_an_expired_cookie_is_as_good_as_none() -> None:
    """asks for a sign-in without a word about the old session, and removes what a browser of a slow clock still has."""
    answer, _ = await through("Cookie: __Host-session=expired", "Accept: text/html")
    assert head_of(answer)["location"] == "/.gateway/login?rd=/page&reason=sign_in_required"
    assert head_of(answer)["set-cookie"].startswith("__Host-session=; ")


async def test_a_form_of_a_foreign_page_gets_nowhere() -> None:
    """refuses a cross-site post that a cookie would authorise, and keeps the cookie."""
    answer, told = await through(
        f"Cookie: __Host-session={GOOD}", "Origin: https://evil.example", line="POST /page HTTP/1.1", body=b"a=1"
    )
    assert (status_of(answer), told) == (403, [])
    assert "set-cookie" not in head_of(answer)


async def test_userinfo_knows_the_cookies_user() -> None:
    """tells a page who its cookie belongs to."""
    answer, _ = await through(f"Cookie: __Host-session={GOOD}", line="GET /.gateway/userinfo HTTP/1.1")
    assert json.loads(body_of(answer))["uid"] == "alice"


async def test_pages_and_worker_are_told_where_the_cookie_is() -> None:
    """tells the login page and the worker that there is a cookie to keep in step, and only then."""

    async def worker(front: Gateway) -> dict[str, Any]:
        first, _, _ = body_of(await front.speak(request("GET /service-worker.js HTTP/1.1"))).partition(b"\n")
        settings: dict[str, Any] = json.loads(first.removeprefix(b"self.__GATEWAY__=").removesuffix(b";"))
        return settings

    async with gateway("http://127.0.0.1:1", session=SessionCookieSettings()) as front:
        assert (await worker(front))["cookie"] == "/.gateway/session"
    async with gateway("http://127.0.0.1:1") as front:
        assert "cookie" not in await worker(front)
