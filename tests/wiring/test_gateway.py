"""The whole gateway in one process: real provider, real firebase-admin, real sockets."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.blocking.builtin import record_sign_in_ip
from gateway.config.load import Loaded, load
from gateway.core.claims import Principal
from gateway.errors import ConfigError
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.services import service_addresses
from gateway.wiring import Gateway
from tests.support import forge

PROJECT = "demo-wiring"
STALENESS = 0.4


def loaded(**overrides: Any) -> Loaded:
    tree: dict[str, Any] = {
        "firebase": {"project_id": PROJECT, "api_key": "k"},
        "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
        "route": [{"match": {"path": "/**"}}],
    }
    return load(None, environment={}, overrides=tree | overrides)


@dataclass
class World:
    """A provider, a backend and a gateway between them."""

    provider: IdentityProvider
    gateway: Gateway
    session: aiohttp.ClientSession
    settings: Loaded

    async def account(self, email: str) -> dict[str, str]:
        url = f"{self.provider.url}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=k"
        body = {"email": email, "password": "correct horse", "returnSecureToken": True}
        async with self.session.post(url, json=body) as response:
            assert response.status == 200
            answer: dict[str, str] = await response.json()
            return answer

    async def get(self, token: str, path: str = "/x", **headers: str) -> tuple[int, Any]:
        fields = {"Authorization": f"Bearer {token}"} | headers
        async with self.session.get(self.gateway.url + path, headers=fields) as response:
            return response.status, await response.json(content_type=None)

    async def refused(self, token: str, within: float) -> tuple[str, float]:
        """The reason of the first refusal and how long it took to come."""
        started = time.monotonic()
        while time.monotonic() - started < within:
            status, body = await self.get(token)
            if status != 200:
                return body["code"], time.monotonic() - started
            await asyncio.sleep(0.02)
        pytest.fail(f"not refused within {within} s")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)

    async def echo(request: web.Request) -> web.Response:
        return web.json_response(dict(request.headers))

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", echo)
    provider = IdentityProvider(
        ProviderSettings(project_id=PROJECT, database=None, port=0, password_profile="testing"),
        before_sign_in=record_sign_in_ip,
    )
    await provider.start()
    async with TestServer(app) as backend, aiohttp.ClientSession() as session:
        settings = loaded(
            **{
                "firebase.emulator": provider.url.removeprefix("http://"),
                "listen": {"public": "127.0.0.1:0", "admin": "127.0.0.1:0", "trusted_proxies": ["127.0.0.0/8"]},
                "revocation.max_staleness": f"{STALENESS}s",
                "upstream": [{"name": "app", "urls": [str(backend.make_url("")).rstrip("/")]}],
                "log.decisions": "off",
            }
        )
        gateway = Gateway(settings)
        await gateway.start()
        try:
            yield World(provider, gateway, session, settings)
        finally:
            await gateway.close(0)
            await provider.close()


async def test_a_session_reaches_the_backend_with_its_identity(world: World) -> None:
    """... verifies a real token with certificates fetched over HTTP and tells the backend who is calling."""
    account = await world.account("ada@example.com")
    status, headers = await world.get(
        account["idToken"], **{"X-Forwarded-User": "forged", "X_Forwarded_User": "forged"}
    )
    assert status == 200
    assert headers["X-Forwarded-User"] == account["localId"]
    assert headers["X-Forwarded-Email"] == "ada@example.com"
    assert not {name for name in headers if name.lower() in {"authorization", "x_forwarded_user"}}


async def test_firebase_admin_revokes_and_the_gateway_refuses(world: World) -> None:
    """... refuses the old session within the promised staleness after firebase-admin revoked it elsewhere."""
    account = await world.account("bo@example.com")
    assert (await world.get(account["idToken"]))[0] == 200
    await asyncio.sleep(1.1)  # valid-since has whole seconds: the sign-in must lie in an earlier one
    program = (
        "import sys, firebase_admin; from firebase_admin import auth;"
        f"firebase_admin.initialize_app(options={{'projectId': '{PROJECT}'}}); auth.revoke_refresh_tokens(sys.argv[1])"
    )
    environment = os.environ | {"FIREBASE_AUTH_EMULATOR_HOST": world.provider.url.removeprefix("http://")}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, account["localId"], env=environment)
    assert await process.wait() == 0
    reason, took = await world.refused(account["idToken"], 5 * STALENESS)
    assert reason == "session_revoked"
    assert took <= STALENESS + 0.3


async def test_a_revocation_of_the_gateways_own_holds_from_the_next_request_on(world: World) -> None:
    """... needs no staleness period to heed its own revocation."""
    account = await world.account("cy@example.com")
    assert (await world.get(account["idToken"]))[0] == 200
    await asyncio.sleep(1.1)
    await world.gateway.revoke(Principal(PROJECT, None, account["localId"]))
    status, body = await world.get(account["idToken"])
    assert (status, body["code"]) == (401, "session_revoked")


async def test_a_disabled_and_a_deleted_user_are_refused(world: World) -> None:
    """... notices a disabled and a deleted account within the promised staleness."""
    base = f"{world.provider.url}/identitytoolkit.googleapis.com/v1/projects/{PROJECT}/accounts"
    for number, (action, body, reason) in enumerate(
        [(":update", {"disableUser": True}, "user_disabled"), (":delete", {}, "user_not_found")]
    ):
        account = await world.account(f"person-{number}@example.com")
        assert (await world.get(account["idToken"]))[0] == 200
        request = {"localId": account["localId"], **body}
        async with world.session.post(
            base + action, json=request, headers={"Authorization": "Bearer owner"}
        ) as response:
            assert response.status == 200
        assert (await world.refused(account["idToken"], 5 * STALENESS))[0] == reason


async def test_another_network_is_asked_to_sign_in_again(world: World) -> None:
    """... compares the sign-in's address with the request's, as its trusted proxy reports them."""
    url = f"{world.provider.url}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=k"
    body = {"email": "dee@example.com", "password": "correct horse", "returnSecureToken": True}
    async with world.session.post(url, json=body) as response:
        token = (await response.json())["idToken"]
    # The provider saw loopback, which says nothing about any other address.
    assert (await world.get(token, **{"X-Forwarded-For": "203.0.113.9"}))[0] == 200
    assert (await world.get(token, "/.gateway/userinfo"))[1]["network"] == "same"
    assert (await world.get(token, "/.gateway/userinfo", **{"X-Forwarded-For": "203.0.113.9"}))[1][
        "network"
    ] == "unknown"


async def test_readiness_follows_the_certificates(world: World) -> None:
    """... is ready once it holds certificates."""
    assert (await world.gateway.diagnose()) == {"certificates": None, "account service": None}


async def test_what_was_never_opened_closes() -> None:
    """... can be closed at any point of its life."""
    gateway = Gateway(loaded())
    with pytest.raises(RuntimeError):
        _ = gateway.guard
    await gateway.close(0)


async def test_revoking_needs_credentials() -> None:
    """... says that nothing can be revoked when look-ups are switched off."""
    gateway = Gateway(loaded(**{"firebase.credentials": "none"}))
    try:
        await gateway.open()
        with pytest.raises(ConfigError, match="nothing can be revoked"):
            await gateway.revoke(Principal(PROJECT, None, "u"))
    finally:
        await gateway.close(0)


async def test_an_unreachable_certificate_endpoint_is_a_503_with_a_reason(world: World) -> None:
    """... starts without certificates, answers 503 with a reason and goes on trying."""
    settings = loaded(
        **{
            "firebase.credentials": "none",
            "firebase.endpoints": {"id_token_certificates": "http://127.0.0.1:1/certs"},
            "listen": {"public": "127.0.0.1:0", "admin": "127.0.0.1:0"},
            "log.decisions": "off",
        }
    )
    gateway = Gateway(settings)
    await gateway.start()
    try:
        token = forge.id_token(now=time.time(), project=PROJECT)
        async with world.session.get(f"{gateway.url}/x", headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert (await response.json())["code"] == "keys_unavailable"
        fault = (await gateway.diagnose())["certificates"]
        assert fault is not None
        assert "http://127.0.0.1:1/certs" in fault
    finally:
        await gateway.close(0)


async def test_production_never_takes_the_local_provider_for_google(world: World) -> None:
    """... refuses tokens of the embedded provider unless told that it develops, even with its certificates at hand."""
    account = await world.account("eve@example.com")
    settings = loaded(
        **{
            "firebase.credentials": "none",
            "firebase.endpoints": {"id_token_certificates": service_addresses(world.settings.config).certificates},
            "listen": {"public": "127.0.0.1:0", "admin": "127.0.0.1:0"},
            "log.decisions": "off",
        }
    )
    gateway = Gateway(settings)
    await gateway.start()
    try:
        fields = {"Authorization": f"Bearer {account['idToken']}"}
        async with world.session.get(f"{gateway.url}/x", headers=fields) as response:
            assert (response.status, (await response.json())["code"]) == (401, "token_key_unknown")
        assert (await gateway.diagnose())["certificates"] is not None
    finally:
        await gateway.close(0)


async def test_signing_out_of_a_device_leaves_the_others(world: World) -> None:
    """... ends one session of a user at once when they sign out, and the others when they ask for that."""
    account = await world.account("fay@example.com")
    url = f"{world.provider.url}/identitytoolkit.googleapis.com/v1/accounts:signInWithPassword?key=k"
    credentials = {"email": "fay@example.com", "password": "correct horse", "returnSecureToken": True}
    await asyncio.sleep(1.1)  # sessions are told apart by the second of their sign-in
    async with world.session.post(url, json=credentials) as response:
        phone = (await response.json())["idToken"]

    async def sign_out(token: str, scope: str) -> int:
        fields = {"Authorization": f"Bearer {token}"}
        address = f"{world.gateway.url}/.gateway/logout"
        async with world.session.post(address, data={"scope": scope}, headers=fields) as response:
            return response.status

    assert await sign_out(account["idToken"], "device") == 204
    status, body = await world.get(account["idToken"])
    assert (status, body["code"]) == (401, "session_signed_out")
    assert (await world.get(phone))[0] == 200
    async with world.session.post(url, json=credentials) as response:
        tablet = (await response.json())["idToken"]
    await asyncio.sleep(1.1)
    assert await sign_out(phone, "everywhere") == 204
    for token in (phone, tablet):
        assert (await world.get(token))[1]["code"] == "session_revoked"


async def test_the_admin_listener_tells_how_it_is_doing(world: World) -> None:
    """... serves readiness and metrics of the running gateway, with nothing in them that a client chose."""
    account = await world.account("gus@example.com")
    assert (await world.get(account["idToken"], "/secret-path"))[0] == 200
    assert world.gateway._admin is not None
    admin = f"http://127.0.0.1:{world.gateway._admin.addresses[0][1]}"
    async with world.session.get(f"{admin}/readyz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok", "failing": {}})
    async with world.session.get(f"{admin}/metrics") as response:
        assert response.status == 200
        text = await response.text()
    assert 'gateway_http_requests_total{code="2xx",route="route-1"} 1.0' in text
    assert 'gateway_auth_decisions_total{decision="allow",reason="session_valid"} 1.0' in text
    assert 'gateway_keys_usable{kind="id_token"} 1.0' in text
    assert re.search(r'gateway_upstream_healthy\{address="127\.0\.0\.1:\d+",upstream="app"\} 1\.0', text)
    assert "gateway_upstream_idle_connections{" in text
    assert 'gateway_revocation_lookups_total{result="answered"} 1.0' in text
    assert f"gateway_revocation_max_staleness_seconds {STALENESS}" in text
    assert "gateway_token_verify_seconds_count 1.0" in text
    assert not [word for word in ("secret-path", account["localId"], "gus") if word in text]
