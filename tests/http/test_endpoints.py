"""The gateway's own addresses, asked through a running proxy."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from gateway.clock import SystemClock
from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.errors import ConfigError
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints, LoginSettings
from gateway.http.reply import Replies
from gateway.http.scripts import WorkerSettings, script_json
from gateway.policy.routes import RouteTable
from tests.support.backends import answers, backend
from tests.support.wire import FakeAssets, FakeVerifier, body_of, claims_of, gateway, head_of, request, status_of


def endpoints(prefix: str = "/.gateway/") -> Endpoints:
    assets = FakeAssets()
    return Endpoints(
        assets,
        Replies(assets),
        LoginSettings(api_key="key", project_id="demo", emulator_url="http://127.0.0.1:9099", demo={"email": "a@b.c"}),
        WorkerSettings(api_key="key", token_url="http://127.0.0.1:9099/securetoken.googleapis.com/v1/token"),
        prefix=prefix,
    )


async def ask(line: str, *fields: str, token: str | None = None, **changed: Any) -> bytes:
    async with backend(answers()) as server, gateway(server.url, **changed) as front:
        answer = await front.speak(request(line, *fields, token=token))
        assert not server.conversations, "the request reached the backend"
        return answer


def config_of(answer: bytes) -> dict[str, Any]:
    found = re.search(rb'name="gateway-config" content="([^"]*)"', answer)
    assert found is not None
    return json.loads(html.unescape(found.group(1).decode()))


async def test_the_login_page_is_told_what_it_needs() -> None:
    """fills the login page with its settings and the validated path and reason."""
    answer = await ask("GET /.gateway/login?rd=%2Fa%3Fb&reason=session_revoked HTTP/1.1")
    config = config_of(answer)
    assert (config["rd"], config["reason"], config["workerUrl"], config["prefix"]) == (
        "/a?b",
        "session_revoked",
        "/service-worker.js",
        "/.gateway/",
    )
    assert config["reasons"]["session_revoked"]["signOut"] is True
    assert config["providers"] == ["password"]
    assert head_of(answer)["cache-control"] == "no-store"
    assert head_of(answer)["cross-origin-opener-policy"] == "same-origin-allow-popups"


@pytest.mark.parametrize(
    "query",
    [
        "rd=//evil.example&reason=<script>",
        "rd=https://evil.example&reason=nonsense",
        "rd=/a&rd=/b",
        "rd=%2F%2Fevil.example",
        "rd=/.gateway/login",
        "",
    ],
)
async def test_a_bad_destination_is_dropped_silently(query: str) -> None:
    """leads to the front page and names no reason when the address was tampered with."""
    answer = await ask(f"GET /.gateway/login?{query} HTTP/1.1")
    assert (config_of(answer)["rd"], config_of(answer)["reason"]) == ("/", "")
    assert b"evil" not in answer
    assert b"<script>" not in answer


@pytest.mark.parametrize(
    ("rd", "leads_to"),
    [("/app/deep", "/app/deep"), ("/elsewhere", "/app/start"), ("//evil.example", "/app/start"), ("/", "/app/start")],
)
async def test_who_may_not_return_there_comes_home(rd: str, leads_to: str) -> None:
    """leads to the site's own front page where "/" is none of the places that the operator lets people return to."""
    assets = FakeAssets()
    login = LoginSettings(api_key="key", project_id="demo", home="/app/start", return_to=("/app",))
    own = Endpoints(assets, Replies(assets), login, WorkerSettings(api_key="key"))
    target = parse_target(f"/.gateway/login?rd={quote(rd, safe='')}")
    context = RequestContext("GET", "https", "app.example", target, "192.0.2.7", Headers(()))
    addresses = AddressResolver()
    guard = SessionGuard(
        routes=RouteTable(()), verifier=FakeVerifier(), revocation=None, addresses=addresses, clock=SystemClock()
    )

    async def no_body(_: int) -> bytes:
        return b""

    answer = await own.answer(context, guard, "request-1", no_body)
    assert config_of(answer.reply.body)["rd"] == leads_to


async def test_the_logout_page_knows_its_mode() -> None:
    """serves a page for signing out, with the place to go to afterwards if one was given."""
    assert (config_of(await ask("GET /.gateway/logout?rd=/bye HTTP/1.1"))["mode"], "") == ("logout", "")
    assert config_of(await ask("GET /.gateway/logout HTTP/1.1"))["rd"] == ""


async def test_signing_out_empties_the_caches() -> None:
    """has the browser drop the pages of whoever signs out, and nothing that belongs to the application."""
    assert head_of(await ask("GET /.gateway/logout HTTP/1.1"))["clear-site-data"] == '"cache"'
    assert "clear-site-data" not in head_of(await ask("GET /.gateway/login HTTP/1.1"))


async def test_assets_are_cached_by_version() -> None:
    """lets browsers keep a versioned asset for ever and makes them ask about any other."""
    current = await ask("GET /.gateway/assets/login.js?v=0123456789abcdef HTTP/1.1")
    stale = await ask("GET /.gateway/assets/login.js?v=other HTTP/1.1")
    assert "immutable" in head_of(current)["cache-control"]
    assert head_of(stale)["cache-control"] == "no-cache"
    assert body_of(current) == body_of(stale) == b"console.log('login')"


async def test_assets_come_compressed_to_who_takes_it() -> None:
    """sends the gzip coding only to a client that accepts it, and says that this varies."""
    zipped = await ask("GET /.gateway/assets/login.js HTTP/1.1", "Accept-Encoding: br, gzip;q=0.5")
    plain = await ask("GET /.gateway/assets/login.js HTTP/1.1", "Accept-Encoding: gzip;q=0")
    assert head_of(zipped)["content-encoding"] == "gzip"
    assert body_of(zipped) == b"\x1f\x8bzipped"
    assert "content-encoding" not in head_of(plain)
    assert head_of(plain)["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("known", ['W/"0123456789abcdef"', '"0123456789abcdef"', '"x", W/"0123456789abcdef"', "*"])
async def test_an_asset_that_is_known_is_not_sent_again(known: str) -> None:
    """answers 304 without a body when the client has the version already."""
    answer = await ask("GET /.gateway/assets/app.css HTTP/1.1", f"If-None-Match: {known}")
    assert status_of(answer) == 304
    assert body_of(answer) == b""


@pytest.mark.parametrize(
    "path",
    [
        "/.gateway",
        "/.gateway/",
        "/.gateway/nothing",
        "/.gateway/assets/",
        "/.gateway/assets/none.js",
        "/.gateway/assets/login.html",
        "/.gateway/login/",
        "/.gateway/loginx",
        "/.gateway;x/login",
        "/.Gateway/login",
        "/.GATEWAY/userinfo",
        "/.gateway./login",
        "/%2egateway/nothing",
        "/.gateway/sw.js",
    ],
)
async def test_nothing_below_the_prefix_is_forwarded(path: str) -> None:
    """answers 404 for unknown names below its prefix and for other spellings of it, session or not."""
    assert status_of(await ask(f"GET {path} HTTP/1.1")) == 404


@pytest.mark.parametrize(
    "path", ["/.gateway/login", "/.gateway/userinfo", "/service-worker.js", "/.gateway/assets/app.css"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused(path: str, method: str) -> None:
    """serves its own addresses to GET and HEAD and says so."""
    answer = await ask(f"{method} {path} HTTP/1.1")
    assert status_of(answer) == 405
    assert head_of(answer)["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/.gateway/login", "/service-worker.js", "/.gateway/assets/app.css"])
async def test_head_gets_the_head(path: str) -> None:
    """answers HEAD with the fields of GET and no body."""
    answer = await ask(f"HEAD {path} HTTP/1.1")
    assert status_of(answer) == 200
    assert int(head_of(answer)["content-length"]) > 0
    assert body_of(answer) == b""


async def test_userinfo_tells_claims_and_never_the_token() -> None:
    """tells a session who it is, without token, registered claims or sign-in address."""
    registered = {"aud": "demo", "iss": "x", "exp": 1, "provider_id": "anonymous"}
    who = claims_of("alice", role="admin", signInIpAddress="203.0.113.7", **registered)
    answer = await ask("GET /.gateway/userinfo HTTP/1.1", token="secret-token", tokens={"secret-token": who})
    info = json.loads(body_of(answer))
    assert info == {
        "uid": "alice",
        "tenant": None,
        "email": "alice@example.com",
        "email_verified": True,
        "name": "Alice",
        "sign_in_provider": "password",
        "auth_time": 1000,
        "expires_at": 4_000_000_000,
        "network": "unknown",
        "claims": {"role": "admin"},
    }
    assert b"secret-token" not in answer
    assert "no-store" in head_of(answer)["cache-control"]


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [(None, 401, "sign_in_required"), ("forged", 401, "token_signature"), ("down", 503, "keys_unavailable")],
)
async def test_userinfo_is_judged_like_any_request(token: str | None, status: int, code: str) -> None:
    """answers userinfo without a good session with a problem document, never with a redirect."""
    answer = await ask("GET /.gateway/userinfo HTTP/1.1", "Accept: text/html", token=token)
    assert status_of(answer) == status
    assert json.loads(body_of(answer))["code"] == code


async def test_the_well_known_directory_is_the_backends() -> None:
    """forwards /.well-known like any other path."""
    async with backend(answers(b"theirs")) as server, gateway(server.url) as front:
        assert body_of(await front.speak(request("GET /.well-known/assetlinks.json HTTP/1.1"))) == b"theirs"


def test_own_addresses_are_known_in_every_reading() -> None:
    """claims its prefix in every spelling that a lenient reader might take for it, and nothing else."""
    own = endpoints().own
    assert own(parse_target("/.gateway/x"))
    assert own(parse_target("/.GATEWAY;y/x"))
    assert not own(parse_target("/gateway/x"))
    assert not own(parse_target("/.gatewayx"))
    assert not own(parse_target("/a/.gateway/x"))


@pytest.mark.parametrize("prefix", ["", "/", "gateway/", "/gateway", "//", "/a//b/", "/a b/"])
def test_a_prefix_has_slashes_at_both_ends(prefix: str) -> None:
    """refuses a prefix that is none, at start."""
    with pytest.raises(ConfigError):
        endpoints(prefix)


def test_settings_cannot_break_out_of_the_script() -> None:
    """writes settings that hold markup or line separators harmlessly into the worker."""
    hostile = "</script><!--\u2028\u2029\n'\""
    text = script_json({"a": hostile})
    assert json.loads(text) == {"a": hostile}
    assert not re.search(r"[<\u2028\u2029\n]", text)
