"""A running gateway goes over to another configuration, and back to the one before when that is wrong."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from gateway.config.load import Loaded, load
from gateway.core.claims import Principal
from gateway.errors import ConfigError
from gateway.wiring import Gateway
from tests.support import forge
from tests.support.authority import Authority
from tests.support.issuer import KeyServer

ROUTE = {"name": "all", "match": {"path": "/**"}}


class World:
    """A gateway, its issuer, two backends and a client."""

    def __init__(self, keys: KeyServer, backends: Sequence[BaseTestServer], client: aiohttp.ClientSession) -> None:
        self.keys = keys
        self.backends = backends
        self.client = client
        self.token = forge.id_token(now=time.time())
        self.go_on = asyncio.Event()
        self.arrived = asyncio.Event()
        self.gateway = Gateway(self.settings())

    def settings(self, backend: int = 0, /, **overrides: Any) -> Loaded:
        tree: dict[str, Any] = {
            "firebase.project_id": forge.PROJECT,
            "firebase.credentials": "none",
            "firebase.endpoints.id_token_certificates": self.keys.url,
            "listen": {"public": "127.0.0.1:0", "admin": "127.0.0.1:0"},
            "upstream": [{"name": "app", "urls": [str(self.backends[backend].make_url("")).rstrip("/")]}],
            "route": [ROUTE],
            "log.decisions": "off",
        }
        return load(None, environment={}, overrides=tree | overrides)

    async def get(self, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, str]:
        fields = {"Authorization": f"Bearer {self.token}"} | headers
        async with self.client.request(method, self.gateway.url + path, headers=fields) as response:
            return response.status, await response.text()

    def figure(self, name: str) -> float:
        return next(
            row[1]
            for family in self.gateway.counted()
            if family.name == f"gateway_config_{name}"
            for row in family.rows
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found: list[World] = []

    def backend(name: str) -> TestServer:
        async def answer(request: web.Request) -> web.Response:
            if request.path == "/wait":
                found[0].arrived.set()
                await found[0].go_on.wait()
            return web.Response(text=f"{name} {id(request.transport)}")

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", answer)
        return TestServer(app)

    async with (
        KeyServer() as keys,
        backend("one") as one,
        backend("two") as two,
        aiohttp.ClientSession() as client,
    ):
        world = World(keys, [one, two], client)
        found.append(world)
        await world.gateway.start()
        try:
            yield world
        finally:
            await world.gateway.close(0)


async def test_the_next_request_is_judged_by_the_new_configuration(world: World) -> None:
    """... uses routes, backends and texts of the new configuration from the next request on, on the same connection."""
    assert (await world.get())[1].startswith("one ")
    assert (await world.get("/.gateway/login"))[0] == 200
    await world.gateway.reload(
        world.settings(
            1,
            **{"route": [{"match": {"path": "/two/**"}}], "login.title": "Renamed", "listen.prefix": "/session/"},
        )
    )
    assert (await world.get("/two/"))[1].startswith("two ")
    assert (await world.get("/"))[0] == 403
    assert (await world.get("/.gateway/login"))[0] == 403
    assert "Renamed" in (await world.get("/session/login"))[1]
    assert world.figure("generation") == 1
    assert world.figure("last_reload_successful") == 1


async def test_what_was_learned_stays(world: World) -> None:
    """... keeps sign-outs, keys and connections to backends through a reload."""
    connection = (await world.get())[1]
    fetches = world.keys.fetches
    await world.gateway.reload(world.settings(**{"login.title": "Renamed"}))
    assert (await world.get())[1] == connection
    assert world.keys.fetches == fetches
    assert (await world.get("/.gateway/logout", "POST"))[0] == 204
    assert (await world.get())[0] == 401
    for _ in range(2):
        await world.gateway.reload(world.settings(**{"session.max_age": "1h"}))
        status, body = await world.get()
        assert status == 401
        assert "session_signed_out" in body


async def test_a_wrong_configuration_changes_nothing(world: World) -> None:
    """... keeps the configuration at work when the new one cannot be carried out, and shows that it did."""
    assert (await world.get())[0] == 200
    broken = world.settings(1, **{"network.asn_db": "gone.mmdb", "firebase.credentials": "file:gone.json"})
    with pytest.raises(ConfigError):
        await world.gateway.reload(broken)
    assert (await world.get())[1].startswith("one ")
    assert world.figure("last_reload_successful") == 0
    assert world.figure("generation") == 0
    await world.gateway.reload(world.settings(1))
    assert (await world.get())[1].startswith("two ")
    assert world.figure("last_reload_successful") == 1
    await world.gateway.reload_failed()
    assert world.figure("last_reload_successful") == 0


async def test_requests_in_flight_end_as_they_began(world: World) -> None:
    """... lets a request that had begun end at the backend that it began with."""
    assert (await world.get())[0] == 200
    waiting = asyncio.create_task(world.get("/wait"))
    await world.arrived.wait()
    await world.gateway.reload(world.settings(1, route=[{"match": {"path": "/wait"}}]))
    assert (await world.get("/wait", "HEAD", Authorization=""))[0] == 401
    world.go_on.set()
    status, body = await waiting
    assert (status, body[:4]) == (200, "one ")
    assert (await world.get("/wait"))[1].startswith("two ")


async def test_sockets_are_for_a_whole_life(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """... warns of what only a new start changes, and uses the rest."""
    listen = {"public": "127.0.0.1:1", "admin": "127.0.0.1:0", "prefix": "/session/"}
    await world.gateway.reload(world.settings(1, listen=listen))
    assert "listen.public has changed, which takes effect when the gateway is started again" in caplog.text
    assert (await world.get("/session/login"))[0] == 200


async def test_only_a_running_gateway_can_be_reloaded() -> None:
    """... refuses to reload what does not run."""
    settings = load(
        None,
        environment={},
        overrides={
            "firebase.project_id": "acme",
            "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
            "route": [ROUTE],
        },
    )
    gateway = Gateway(settings)
    with pytest.raises(RuntimeError):
        await gateway.reload(settings)
    gateway.hurry()
    await gateway.close()


async def test_readiness_goes_first(world: World) -> None:
    """... is no longer ready as soon as it is told that the end is near, and still answers."""
    assert not world.gateway.ready().failing
    world.gateway.stopping()
    assert world.gateway.ready().failing == {"stopping": "the gateway is stopping"}
    assert (await world.get())[0] == 200


async def test_news_of_other_processes_count(world: World) -> None:
    """... tells of a session that was ended here, and heeds one that was ended elsewhere."""
    told: list[Any] = []
    world.gateway.on_news = told.append
    assert (await world.get("/.gateway/logout", "POST"))[0] == 204
    assert [news.principal for news in told] == [Principal(forge.PROJECT, None, forge.UID)]
    first, other = world.gateway, Gateway(world.settings())
    try:
        await other.start()
        world.gateway = other
        assert (await world.get())[0] == 200
        other.heard(told[0])
        assert (await world.get())[0] == 401
    finally:
        world.gateway = first
        await other.close(0)


async def test_https(world: World, tmp_path: Path) -> None:
    """... serves https with the session cookie that only https has, tells the backend, and redirects from http."""
    authority = Authority(tmp_path)
    papers = authority.issue("127.0.0.1")
    tls = {"cert_file": str(papers.certificate), "key_file": str(papers.key)}
    listen = {"public": "127.0.0.1:0", "admin": "127.0.0.1:0", "tls": tls, "redirect": "127.0.0.1:0"}
    gateway = Gateway(world.settings(listen=listen))
    context = ssl.create_default_context(cafile=str(authority.file))
    try:
        await gateway.start()
        assert gateway.url.startswith("https://127.0.0.1:")
        fields = {"Authorization": f"Bearer {world.token}", "Origin": gateway.url, "Sec-Fetch-Site": "same-origin"}
        async with world.client.post(f"{gateway.url}/.gateway/session", headers=fields, ssl=context) as response:
            assert response.status == 204, await response.text()
            cookie = response.headers["Set-Cookie"]
        assert cookie.startswith("__Host-session=")
        assert "; Secure" in cookie
        sent = {"Cookie": cookie.partition(";")[0], "Sec-Fetch-Site": "same-origin", "Origin": gateway.url}
        async with world.client.post(f"{gateway.url}/x", headers=sent, ssl=context) as response:
            assert response.status == 200
        for _ in range(3):
            async with world.client.get(
                f"{gateway.url}/y", headers={"Authorization": f"Bearer {world.token}"}, ssl=context
            ) as response:
                assert response.status == 200
        assert gateway._server is not None
        assert gateway._server.fast is not None
        assert gateway._server.fast.replayed > 0
        expiry = next(f for f in gateway.counted() if f.name == "gateway_tls_certificate_expiry_seconds").rows[0][1]
        assert 0 < expiry < 2 * 86_400
        with pytest.raises(aiohttp.ClientError):
            await world.client.get(gateway.url.replace("https", "http"))
    finally:
        await gateway.close(0)
