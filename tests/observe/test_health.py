"""Liveness and readiness."""

from __future__ import annotations

import socket
from functools import partial

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.errors import ConfigError
from gateway.observe.health import Degraded, Readiness, account_service_check, admin_application, listen


async def test_alive_is_not_ready() -> None:
    """... tells a live process from one that is ready, and names what is missing."""
    faults: dict[str, str | None] = {"keys": "no certificates yet", "store": None}
    app = admin_application({name: partial(faults.get, name) for name in faults})
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/healthz")).status == 200
        assert (await client.get("/ping")).status == 200
        response = await client.get("/readyz")
        assert response.status == 503
        assert await response.json() == {"status": "unavailable", "failing": {"keys": "no certificates yet"}}
        faults["keys"] = None
        response = await client.get("/ready")
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert (await client.get("/")).status == 404


async def test_a_taken_port_is_told() -> None:
    """... says which address is taken and what to try."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            await listen(admin_application({}), *taken.getsockname())


async def test_it_listens() -> None:
    """... answers on a real socket."""
    runner = await listen(admin_application({}), "127.0.0.1", 0)
    try:
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as response:
            assert response.status == 200
    finally:
        await runner.cleanup()


class Status:
    """An account service that is down for some time."""

    def __init__(self, down_for: float | None) -> None:
        self.available = down_for is None
        self.error = None if down_for is None else "the account service of Google failed: 503"
        self.down_for = down_for or 0.0


async def test_an_outage_is_degraded_until_it_outlasts_its_window() -> None:
    """stays ready while users known to be good live on, and says what is wrong; then it is not."""
    now = Status(None)
    app = admin_application({"account service": account_service_check(lambda: now, 300), "keys": lambda: None})
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/readyz")
        assert (response.status, await response.json()) == (200, {"status": "ok", "failing": {}})
        now = Status(300)
        text = "the account service of Google failed: 503 (for 300 s)"
        response = await client.get("/readyz")
        body = {"status": "degraded", "failing": {}, "degraded": {"account service": text}}
        assert (response.status, await response.json()) == (200, body)
        now = Status(300.1)
        response = await client.get("/readyz")
        assert (response.status, await response.json()) == (
            503,
            {"status": "unavailable", "failing": {"account service": text}},
        )


async def test_degraded_and_failing_stand_apart() -> None:
    """is unavailable when one thing fails, and still names what is merely degraded."""
    app = admin_application({"keys": lambda: "none", "accounts": lambda: Degraded("slow")})
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/readyz")
        assert response.status == 503
        assert await response.json() == {
            "status": "unavailable",
            "failing": {"keys": "none"},
            "degraded": {"accounts": "slow"},
        }


async def test_metrics_are_served_in_the_format_asked_for() -> None:
    """answers Prometheus on the admin listener."""
    app = admin_application({}, lambda accept: (f"asked for {accept}".encode(), "text/plain; version=1.0.0"))
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/metrics", headers={"Accept": "text/x"})
        assert (response.status, await response.text()) == (200, "asked for text/x")
        assert response.headers["Content-Type"] == "text/plain; version=1.0.0"
        assert response.headers["Cache-Control"] == "no-store"


async def test_without_the_library_metrics_say_what_to_install() -> None:
    """says in a sentence what is missing."""
    async with TestClient(TestServer(admin_application({}))) as client:
        response = await client.get("/metrics")
        assert response.status == 404
        assert "pip install 'session-gateway[observe]'" in await response.text()


async def test_another_process_may_answer() -> None:
    """... asks whoever knows how things stand, and waits for what they say."""

    async def ready() -> Readiness:
        return Readiness({"workers": "2 of 2 do not serve"}, {"upstream app": "1 of 2 addresses left alone"})

    async def page(accept: str) -> tuple[bytes, str]:
        return accept.encode(), "text/plain"

    async with TestClient(TestServer(admin_application(ready, page))) as client:
        response = await client.get("/readyz")
        assert response.status == 503
        assert await response.json() == {
            "status": "unavailable",
            "failing": {"workers": "2 of 2 do not serve"},
            "degraded": {"upstream app": "1 of 2 addresses left alone"},
        }
        metrics = await client.get("/metrics", headers={"Accept": "a/b"})
        assert await metrics.text() == "a/b"


async def test_a_socket_may_be_handed_over() -> None:
    """... serves on a socket that somebody else opened."""
    with socket.create_server(("127.0.0.1", 0)) as handed:
        port = handed.getsockname()[1]
        runner = await listen(admin_application({}), "127.0.0.1", 1, handed)
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/ping") as response:
                assert response.status == 200
        finally:
            await runner.cleanup()
