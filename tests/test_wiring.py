"""The whole gateway in one process: real provider, real firebase-admin, real sockets."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.adapters.firebase_users import ApplicationDefault, BearerSecret, ServiceAccountFile
from gateway.blocking.builtin import record_sign_in_ip
from gateway.config.load import Loaded, load
from gateway.core.claims import Principal
from gateway.errors import ConfigError
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.wiring import Gateway, account_credentials, service_addresses
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


def test_the_emulator_form_of_every_address() -> None:
    """... finds every service below one emulator address."""
    services = service_addresses(loaded(**{"firebase.emulator": "127.0.0.1:9099"}).config)
    assert services.certificates.startswith("http://127.0.0.1:9099/www.googleapis.com/robot/")
    assert services.accounts == "http://127.0.0.1:9099/identitytoolkit.googleapis.com"
    assert services.token == "http://127.0.0.1:9099/securetoken.googleapis.com/v1/token"
    assert services.browser_emulator == "http://127.0.0.1:9099"


def test_googles_own_addresses() -> None:
    """... asks Google when nothing else is said, and lets pages talk to Google only."""
    services = service_addresses(loaded().config)
    assert services.certificates.startswith("https://www.googleapis.com/robot/")
    assert services.accounts is None
    assert services.token == "https://securetoken.googleapis.com/v1/token"
    assert services.connect == ("https://identitytoolkit.googleapis.com", "https://securetoken.googleapis.com")
    assert services.browser_emulator == ""


def test_single_addresses_can_be_replaced() -> None:
    """... takes each address from the configuration."""
    endpoints = {"identity_toolkit": "https://mirror.test/it", "secure_token": "https://mirror.test/st"}
    services = service_addresses(loaded(**{"firebase.endpoints": endpoints}).config)
    assert services.accounts == "https://mirror.test/it"
    assert services.token == "https://mirror.test/st/v1/token"
    assert services.connect == ("https://mirror.test", "https://mirror.test")


@pytest.mark.parametrize(
    ("firebase", "expected"),
    [
        ({"credentials": "none"}, type(None)),
        ({"credentials": "adc"}, ApplicationDefault),
        ({"credentials": "file:key.json"}, ServiceAccountFile),
        ({"emulator": "127.0.0.1:9099"}, BearerSecret),
    ],
)
def test_credentials(firebase: dict[str, str], expected: type[object]) -> None:
    """... authorises account look-ups as the configuration says."""
    settings = {f"firebase.{name}": value for name, value in firebase.items()}
    assert isinstance(account_credentials(loaded(**settings)), expected)


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
            await gateway.close()
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
    await gateway.close()


async def test_revoking_needs_credentials() -> None:
    """... says that nothing can be revoked when look-ups are switched off."""
    gateway = Gateway(loaded(**{"firebase.credentials": "none"}))
    try:
        await gateway.open()
        with pytest.raises(ConfigError, match="nothing can be revoked"):
            await gateway.revoke(Principal(PROJECT, None, "u"))
    finally:
        await gateway.close()


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
        await gateway.close()


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
        await gateway.close()
