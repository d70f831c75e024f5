"""Blocking functions in the gateway's own process."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import pytest

from gateway.config.load import Loaded, load
from gateway.errors import ConfigError
from gateway.wiring import Gateway
from tests.support import events
from tests.support.issuer import KeyServer
from tests.support.ports import free_port


def loaded(certificates: str, admin: int, **functions: Any) -> Loaded:
    return load(
        None,
        environment={},
        overrides={
            "firebase": {
                "project_id": events.PROJECT,
                "credentials": "none",
                "endpoints": {"id_token_certificates": certificates},
            },
            "listen": {"public": "127.0.0.1:0", "admin": f"127.0.0.1:{admin}"},
            "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
            "route": [{"match": {"path": "/**"}}],
            "functions": {"audience": events.URL, "display_name": "Guest"} | functions,
        },
    )


async def test_the_gateway_answers_events_too() -> None:
    """... listens for events beside its other listeners, with keys of their own, and says whether it can judge them."""
    port, admin = free_port(), free_port()
    async with KeyServer() as issuer, aiohttp.ClientSession() as session:
        gateway = Gateway(loaded(issuer.url, admin, listen=f"127.0.0.1:{port}"))
        try:
            await gateway.start()
            assert issuer.fetches == 2
            body = {"data": {"jwt": events.token(now=time.time())}}
            async with session.post(f"http://127.0.0.1:{port}/", json=body) as answer:
                assert (answer.status, (await answer.json())["userRecord"]["displayName"]) == (200, "Guest")
            async with session.get(f"http://127.0.0.1:{admin}/readyz") as ready:
                assert ready.status == 200
        finally:
            await gateway.close()
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(f"http://127.0.0.1:{port}/", json=body)


async def test_readiness_names_missing_certificates_of_events() -> None:
    """... is not ready while no event can be judged."""
    port, admin = free_port(), free_port()
    async with KeyServer() as issuer, aiohttp.ClientSession() as session:
        issuer.status = 500
        gateway = Gateway(loaded(issuer.url, admin, listen=f"127.0.0.1:{port}"))
        try:
            await gateway.start()
            async with session.get(f"http://127.0.0.1:{admin}/readyz") as ready:
                assert (ready.status, "function certificates" in (await ready.json())["failing"]) == (503, True)
        finally:
            await gateway.close()


async def test_a_wrong_function_stops_the_start() -> None:
    """... does not start with a function that cannot be loaded."""
    async with KeyServer() as issuer:
        gateway = Gateway(loaded(issuer.url, free_port(), listen="127.0.0.1:0", handlers="nowhere:functions"))
        with pytest.raises(ConfigError, match="no module nowhere"):
            await gateway.start()
        await gateway.close()
