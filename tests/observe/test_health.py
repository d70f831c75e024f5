"""Liveness and readiness."""

from __future__ import annotations

import socket
from functools import partial

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.errors import ConfigError
from gateway.observe.health import admin_application, listen


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
