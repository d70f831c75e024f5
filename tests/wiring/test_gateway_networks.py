"""What the composition root makes of ``[network]`` and ``[listen]``: databases, memory, who is believed."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import Loaded, load
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Challenge, Decision
from gateway.core.session import NetworkLevel
from gateway.core.target import parse_target
from gateway.wiring import Gateway, locator_of
from tests.support import forge, geo
from tests.support.clock import FakeClock
from tests.support.issuer import KeyServer


@pytest.fixture
async def keys() -> AsyncIterator[KeyServer]:
    async with KeyServer() as server:
        yield server


def loaded(directory: Path, keys: str = "http://127.0.0.1:1/x", **overrides: Any) -> Loaded:
    tree: dict[str, Any] = {
        "firebase.project_id": forge.PROJECT,
        "firebase.credentials": "none",
        "firebase.endpoints.id_token_certificates": keys,
        "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
        "route": [{"match": {"path": "/**"}}],
    }
    found = load(None, environment={}, overrides=tree | overrides)
    return Loaded(found.config, found.origins, directory)


async def judge(gateway: Gateway, peer: str, token: str, **headers: str) -> Decision:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    fields = Headers(((b"Authorization", b"Bearer " + token.encode()), *lines))
    return await gateway.guard.judge(RequestContext("GET", "http", "a.test", parse_target("/x"), peer, fields))


def level(decision: Decision) -> NetworkLevel:
    assert isinstance(decision, Allow | Challenge)
    assert decision.session is not None
    return decision.session.network


async def test_databases_reach_the_judge_by_paths_beside_the_configuration(tmp_path: Path, keys: KeyServer) -> None:
    """... judges networks by the databases that the configuration names, and diagnoses those that fail."""
    geo.asn_database(tmp_path / "asn.mmdb")
    settings = {"network.asn_db": "asn.mmdb", "network.country_db": "nowhere.mmdb"}
    gateway = Gateway(loaded(tmp_path, keys.url, **settings))
    try:
        await gateway.open()
        token = forge.id_token(now=time.time(), signInIpAddress="203.0.113.9")
        assert level(await judge(gateway, "203.0.114.9", token)) is NetworkLevel.NEAR
        assert level(await judge(gateway, "198.51.100.7", token)) is NetworkLevel.UNKNOWN
        found = await gateway.diagnose()
        assert found["network.asn_db"] is None
        assert "nowhere.mmdb" in str(found["network.country_db"])
    finally:
        await gateway.close(0)


async def test_without_databases_the_memory_is_there(tmp_path: Path, keys: KeyServer) -> None:
    """... ties a session to the network of the other family that it was first seen on."""
    gateway = Gateway(loaded(tmp_path, keys.url))
    try:
        await gateway.open()
        token = forge.id_token(now=time.time(), signInIpAddress="203.0.113.9")
        assert level(await judge(gateway, "2001:db8:1:2::9", token)) is NetworkLevel.UNKNOWN
        assert level(await judge(gateway, "2001:db8:99::9", token)) is NetworkLevel.MOVED
    finally:
        await gateway.close(0)


async def test_who_is_believed_is_configured(tmp_path: Path, keys: KeyServer) -> None:
    """... believes the field that the configuration names, from the proxies that it names."""
    settings = {"listen.trusted_proxies": ["127.0.0.0/8"], "listen.forwarded": "forwarded"}
    gateway = Gateway(loaded(tmp_path, keys.url, **settings))
    try:
        await gateway.open()
        token = forge.id_token(now=time.time(), signInIpAddress="203.0.113.9")
        fields = {"Forwarded": "for=203.0.113.9", "X_Forwarded_For": "198.51.100.7"}
        assert level(await judge(gateway, "127.0.0.1", token, **fields)) is NetworkLevel.SAME
        assert level(await judge(gateway, "198.51.100.1", token, **fields)) is NetworkLevel.MOVED
    finally:
        await gateway.close(0)


def test_no_files_no_locator(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """... has nothing to look up in where no file is named."""
    assert locator_of(loaded(tmp_path), FakeClock()) is None
    found = locator_of(loaded(tmp_path, **{"network.asn_db": "asn.mmdb"}), FakeClock())
    assert found is not None
    with caplog.at_level(logging.ERROR):
        found.refresh()
    assert str(tmp_path / "asn.mmdb") in caplog.text
