"""Scenario 4.7 of blocking-functions.md to its end: the address in the token meets the address of a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.blocking import BlockingFunctions
from gateway.config.load import load
from gateway.wiring import Gateway
from tests.scenarios.test_tokens import track_address
from tests.support.chain import Chain, chain
from tests.support.idp import PROJECT

AT_HOME, ELSEWHERE = "203.0.113.9", "198.51.100.7"


class Resource:
    """A gateway in front of an application, in front of the chain's provider."""

    def __init__(self, gateway: Gateway, session: aiohttp.ClientSession) -> None:
        self._gateway = gateway
        self._session = session

    async def get(self, token: str, address: str) -> tuple[int, str | None]:
        """Status and reason of a request from an address."""
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
        async with self._session.get(f"{self._gateway.url}/data", headers=headers) as answer:
            return answer.status, (await answer.json()).get("code")


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Chain]:
    """The chain with a function that puts the sign-in address into the session."""
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)

    def register(kit: BlockingFunctions) -> None:
        track_address(kit)

    async with chain(register, "beforeSignIn") as running:
        yield running


@pytest.fixture
async def resource(api: Chain) -> AsyncIterator[Resource]:
    """A gateway that lets sessions pass from the network that they were begun on only."""

    async def data(_request: web.Request) -> web.Response:
        return web.json_response({"data": 1})

    app = web.Application()
    app.router.add_get("/data", data)
    async with TestServer(app) as backend, aiohttp.ClientSession() as session:
        tree = {
            "firebase": {"project_id": PROJECT, "api_key": "k"},
            "firebase.emulator": f"127.0.0.1:{api.client.port}",
            "listen": {"public": "127.0.0.1:0", "admin": "off", "trusted_proxies": ["127.0.0.0/8"]},
            "network": {"preset": "pinned", "missing": "deny"},
            "revocation.max_staleness": "0.1s",
            "upstream": [{"name": "app", "urls": [str(backend.make_url("")).rstrip("/")]}],
            "route": [{"match": {"path": "/**"}, "unauthenticated": "401"}],
            "log.decisions": "off",
        }
        gateway = Gateway(load(None, environment={}, overrides=tree))
        await gateway.start()
        yield Resource(gateway, session)
        await gateway.close()


async def test_same_address_and_another(api: Chain, resource: Resource) -> None:
    """the gateway serves the session from where it was begun and asks it to sign in again from elsewhere."""
    user = await api.sign_up()
    assert await resource.get(user["idToken"], AT_HOME) == (200, None)
    status, reason = await resource.get(user["idToken"], ELSEWHERE)
    assert status == 401
    assert reason is not None
    refreshed = (await api.refresh(user["refreshToken"])).ok["id_token"]
    assert await resource.get(refreshed, AT_HOME) == (200, None)


async def test_session_older_than_the_feature(api: Chain, resource: Resource) -> None:
    """the gateway refuses a session without the claim where it is set to."""
    await api.configure({"blockingFunctions": {}})
    user = await api.sign_up()
    assert (await resource.get(user["idToken"], AT_HOME))[0] == 401


async def test_revoked_and_bad_tokens(api: Chain, resource: Resource) -> None:
    """the gateway refuses the old token once all sessions were revoked, and whatever is no token."""
    user = await api.sign_up()
    assert await resource.get(user["idToken"], AT_HOME) == (200, None)
    assert (await resource.get("nonsense", AT_HOME))[0] == 401
    await api.admin("/accounts:update", localId=user["localId"], disableUser=True)
    status = 200
    for _ in range(200):
        # The gateway looks the account up once its knowledge is a tenth of a second old.
        status, _ = await resource.get(user["idToken"], AT_HOME)
        if status != 200:
            break
        await asyncio.sleep(0.05)
    assert status == 401
