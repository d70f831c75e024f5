"""Sessions in cookies through the whole gateway: real provider, real firebase-admin, real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.blocking.builtin import record_sign_in_ip
from gateway.config.load import load
from gateway.core.claims import Principal
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.wiring import Gateway

PROJECT = "demo-wiring"
ID, REFRESH = "__dev_FIREBASE_[DEFAULT]", "__dev_FIREBASEID_[DEFAULT]"


@dataclass
class World:
    """A provider, an application and a gateway between them, spoken to as a browser on this machine would."""

    provider: IdentityProvider
    gateway: Gateway
    session: aiohttp.ClientSession

    @property
    def own(self) -> dict[str, str]:
        return {"Origin": self.gateway.url}

    async def account(self, email: str) -> dict[str, str]:
        url = f"{self.provider.url}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=k"
        body = {"email": email, "password": "correct horse", "returnSecureToken": True}
        async with self.session.post(url, json=body) as response:
            assert response.status == 200
            answer: dict[str, str] = await response.json()
            return answer

    async def ask(self, method: str, path: str, headers: dict[str, str], **options: Any) -> tuple[int, Any, list[str]]:
        url = self.gateway.url + path
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **options) as response:
            text = await response.text()
            body = json.loads(text) if text.startswith("{") else text
            return response.status, body, response.headers.getall("Set-Cookie", [])

    async def post(self, token: str) -> tuple[int, Any, list[str]]:
        return await self.ask("POST", "/.gateway/session", {"Authorization": f"Bearer {token}"} | self.own)


async def echo(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade") == "websocket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(dict(request.headers))
        await socket.close()
        return socket
    return web.json_response(dict(request.headers))


@asynccontextmanager
async def running(**session: Any) -> AsyncIterator[World]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", echo)
    provider = IdentityProvider(
        ProviderSettings(project_id=PROJECT, database=None, port=0, password_profile="testing"),
        before_sign_in=record_sign_in_ip,
    )
    await provider.start()
    # Not aiohttp's own jar: what a browser would keep is written by hand here.
    jar = aiohttp.DummyCookieJar()
    async with TestServer(app) as backend, aiohttp.ClientSession(cookie_jar=jar) as client:
        settings = load(
            None,
            environment={},
            overrides={
                "firebase": {"project_id": PROJECT, "api_key": "k", "emulator": provider.url.removeprefix("http://")},
                "listen": {"public": "127.0.0.1:0", "admin": "off"},
                "session": session,
                "upstream": [{"name": "app", "urls": [str(backend.make_url("")).rstrip("/")]}],
                "route": [{"match": {"path": "/open/**"}, "auth": "optional"}, {"match": {"path": "/**"}}],
                "log.decisions": "off",
            },
        )
        gateway = Gateway(settings)
        await gateway.start()
        try:
            yield World(provider, gateway, client)
        finally:
            await gateway.close(0)
            await provider.close()


@pytest.fixture(autouse=True)
def no_emulator_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)


def cookie_of(fields: list[str]) -> dict[str, str]:
    morsel = SimpleCookie(fields[0])["__session"]
    assert (morsel["path"], morsel["httponly"], morsel["samesite"], morsel["secure"]) == ("/", True, "Lax", "")
    assert int(morsel["max-age"]) > 0
    return {"Cookie": f"theme=dark; __session={morsel.value}"}


NAVIGATION = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "none",
    "Accept": "text/html",
}


@pytest.mark.parametrize("mode", ["id_token", "session_cookie"])
async def test_a_cookie_carries_the_session_where_no_worker_can(mode: str) -> None:
    """... passes hard reloads, downloads and WebSockets on with the identity of the posted token's user."""
    async with running(cookie=mode) as world:
        account = await world.account("ada@example.com")
        status, _, fields = await world.post(account["idToken"])
        assert status == 204
        cookie = cookie_of(fields)
        for headers in (NAVIGATION, {}):
            status, told, _ = await world.ask("GET", "/file.bin", cookie | headers)
            assert (status, told["X-Forwarded-User"], told["Cookie"]) == (200, account["localId"], "theme=dark")
        address = world.gateway.url.replace("http:", "ws:") + "/ws"
        async with world.session.ws_connect(address, headers=cookie | world.own) as socket:
            assert (await socket.receive_json())["X-Forwarded-User"] == account["localId"]
        for foreign in ({}, {"Origin": "https://evil.example"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await world.session.ws_connect(address, headers=cookie | foreign)
            assert refused.value.status == 403


async def test_a_session_cookie_is_no_bearer_token_and_no_id_token_its_like() -> None:
    """... keeps the kinds apart: neither passes in the other's place."""
    async with running(cookie="session_cookie") as world:
        account = await world.account("bo@example.com")
        _, _, fields = await world.post(account["idToken"])
        cookie = SimpleCookie(fields[0])["__session"].value
        assert cookie != account["idToken"]
        assert (await world.gateway.diagnose())["session cookie certificates"] is None
        status, body, _ = await world.ask("GET", "/x", {"Authorization": f"Bearer {cookie}"})
        assert (status, body["code"]) == (401, "token_kind")
        status, body, _ = await world.ask("GET", "/x", {"Cookie": f"__session={account['idToken']}"})
        assert (status, body["code"]) == (401, "token_kind")


@pytest.mark.parametrize("mode", ["id_token", "session_cookie"])
async def test_a_revocation_ends_the_cookie_too(mode: str) -> None:
    """... refuses and removes the cookie of a revoked session from the next request on."""
    async with running(cookie=mode) as world:
        account = await world.account("cy@example.com")
        cookie = cookie_of((await world.post(account["idToken"]))[2])
        assert (await world.ask("GET", "/x", cookie))[0] == 200
        await asyncio.sleep(1.1)  # valid-since has whole seconds: the sign-in must lie in an earlier one
        await world.gateway.revoke(Principal(PROJECT, None, account["localId"]))
        status, body, fields = await world.ask("GET", "/x", cookie)
        assert (status, body["code"]) == (401, "session_revoked")
        assert fields[0].startswith("__session=; ")


ANYWHERE = [
    ("GET", "/x", 401),
    ("GET", "/open/x", 200),
    ("GET", "/.gateway/userinfo", 401),
    ("POST", "/.gateway/logout", 401),
]


@pytest.mark.parametrize(("method", "path", "status"), ANYWHERE)
async def test_a_dead_cookie_is_removed_wherever_it_is_brought(method: str, path: str, status: int) -> None:
    """... removes the cookie of a session that was signed out, on optional routes and at its own addresses too."""
    async with running() as world:
        account = await world.account("fay@example.com")
        cookie = cookie_of((await world.post(account["idToken"]))[2])
        assert (await world.ask("GET", "/open/x", cookie))[2] == []
        bearer = {"Authorization": f"Bearer {account['idToken']}"}
        assert (await world.ask("POST", "/.gateway/logout", bearer | world.own))[0] == 204
        answered, told, fields = await world.ask(method, path, cookie | world.own)
        assert (answered, [field.partition(";")[0] for field in fields]) == (status, ["__session="])
        if status == 200:
            assert "X-Forwarded-User" not in told
            url = world.gateway.url + path
            async with world.session.request(method, url, headers=cookie) as response:
                assert response.headers.getall("Cache-Control") == ["private"]


async def test_a_good_cookie_survives_what_a_foreign_page_does_with_it() -> None:
    """... ignores a cookie on another site's behalf without taking it away."""
    async with running() as world:
        account = await world.account("gil@example.com")
        cookie = cookie_of((await world.post(account["idToken"]))[2])
        status, told, fields = await world.ask("POST", "/open/x", cookie | {"Origin": "https://evil.example"})
        assert (status, fields) == (200, [])
        assert "X-Forwarded-User" not in told


async def test_two_people_in_one_request() -> None:
    """... refuses a bearer token and a cookie of different users, and removes the cookie."""
    async with running() as world:
        ada, bob = await world.account("ada@example.com"), await world.account("bob@example.com")
        cookie = cookie_of((await world.post(bob["idToken"]))[2])
        status, body, fields = await world.ask("GET", "/x", cookie | {"Authorization": f"Bearer {ada['idToken']}"})
        assert (status, body["code"]) == (400, "credential_conflict")
        assert fields[0].startswith("__session=; ")


async def test_without_a_cookie() -> None:
    """... reads and sets none where it is switched off."""
    async with running(cookie="off") as world:
        account = await world.account("dee@example.com")
        assert (await world.post(account["idToken"]))[0] == 404
        status, body, _ = await world.ask("GET", "/x", {"Cookie": f"__session={account['idToken']}"})
        assert (status, body["code"]) == (401, "sign_in_required")


async def test_the_sdks_cookies_from_sign_in_to_sign_out() -> None:
    """... serves the SDK's cookie persistence: sign-in, requests, a renewal, sign-out."""
    async with running(sdk_cookies=True) as world:
        account = await world.account("eve@example.com")
        # As the SDK builds it when a page is pointed at the emulator under another name.
        origin = world.provider.url.replace("127.0.0.1", "localhost")

        def through(path: str) -> str:
            return f"/__cookies__?finalTarget={quote(origin + path, safe='')}"

        sign_in = through("/identitytoolkit.googleapis.com/v1/accounts:signInWithPassword?key=k")
        credentials = {"email": "eve@example.com", "password": "correct horse", "returnSecureToken": True}
        status, body, fields = await world.ask("POST", sign_in, world.own, json=credentials)
        assert (status, body["refreshToken"]) == (200, "REDACTED")
        pairs = dict(field.partition(";")[0].split("=", 1) for field in fields)
        assert pairs.keys() == {ID, REFRESH}
        assert pairs[ID] == body["idToken"]
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in pairs.items())}
        status, told, _ = await world.ask("GET", "/page", cookie | NAVIGATION)
        assert (status, told["X-Forwarded-User"]) == (200, account["localId"])
        assert "Cookie" not in told
        renew = through("/securetoken.googleapis.com/v1/token?key=k")
        form = {"grant_type": "refresh_token", "refresh_token": "REDACTED"}
        status, body, fields = await world.ask("POST", renew, cookie | world.own, data=form)
        assert (status, body["refresh_token"], len(fields)) == (200, "REDACTED", 2)
        status, _, fields = await world.ask("DELETE", "/__cookies__", cookie | world.own)
        assert (status, ["Max-Age=0" in field for field in fields]) == (200, [True, True])
