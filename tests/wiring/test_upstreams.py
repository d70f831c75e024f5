"""Backends from the configuration, and what they say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.backends import Upstream as Table
from gateway.config.load import load
from gateway.errors import ConfigError
from gateway.observe.health import Degraded
from gateway.wiring.upstreams import all_standings, make_upstream, upstream_check, upstream_key
from tests.support.authority import Authority
from tests.support.backends import answers, backend


def table(**keys: Any) -> Table:
    row = {"name": "app", "urls": ["http://127.0.0.1:1"], **keys}
    routes = [{"match": {"path": "/**"}}]
    overrides = {"firebase.project_id": "acme", "upstream": [row], "route": routes}
    return load(None, environment={}, overrides=overrides).config.upstream[0]


async def test_paths_are_relative_to_the_configuration(tmp_path: Path) -> None:
    """finds sockets and certificates beside the configuration file."""
    papers = Authority(tmp_path).issue("app")
    tls = {"ca_file": "authority.pem", "cert_file": papers.certificate.name, "key_file": papers.key.name}
    upstream = make_upstream(table(urls=["https://127.0.0.1:1", "unix:app.sock"], tls=tls), tmp_path)
    assert [standing.address for standing in upstream.standings()] == ["127.0.0.1:1", f"unix:{tmp_path}/app.sock"]
    with pytest.raises(ConfigError, match="ca_file"):
        make_upstream(table(urls=["https://127.0.0.1:1"], tls={"ca_file": "authority.pem"}), tmp_path / "elsewhere")


def test_new_papers_make_another_backend(tmp_path: Path) -> None:
    """knows a backend again as long as neither its table nor its files change."""
    authority = Authority(tmp_path)
    secure = table(urls=["https://127.0.0.1:1"], tls={"ca_file": "authority.pem"})
    key = upstream_key(secure, tmp_path)
    assert key == upstream_key(secure, tmp_path)
    assert hash(key) == hash(upstream_key(secure, tmp_path))
    authority.file.touch()
    assert key != upstream_key(secure, tmp_path)
    assert upstream_key(table(), tmp_path) != upstream_key(table(host="replace"), tmp_path)
    assert upstream_key(secure, tmp_path / "elsewhere") != key


async def test_all_settings_arrive(tmp_path: Path) -> None:
    """hands deadlines, Host and the health check on."""
    async with backend(answers(status=b"204 No Content")) as server:
        health = {"path": "/h", "every": "5s", "timeout": "1s", "healthy_after": 4, "unhealthy_after": 5}
        row = table(urls=[server.url], timeouts={"first_byte": "7s"}, host="replace", health=health)
        upstream = make_upstream(row, tmp_path)
        assert upstream.timeouts.first_byte == 7
        check = upstream._check
        assert check is not None
        assert (check.path, check.every, check.timeout, check.healthy_after, check.unhealthy_after) == (
            "/h",
            5,
            1,
            4,
            5,
        )
        assert await upstream.probe(1.0) == {server.url: 204}
        assert server.received.startswith(b"GET /h HTTP/1.1\r\nHost: " + server.url[7:].encode())


async def test_what_is_out_is_said_and_keeps_no_traffic_away(tmp_path: Path) -> None:
    """names addresses that are left alone as a degradation, since the gateway itself is well."""
    upstream = make_upstream(table(urls=["http://127.0.0.1:1", "http://127.0.0.1:2"]), tmp_path)
    check = upstream_check(upstream)
    assert check() is None
    with pytest.raises(Exception, match="no address"):
        await upstream.acquire(repeatable=True)
    found = check()
    assert isinstance(found, Degraded)
    refused = "Connection refused"
    assert found == f"2 of 2 addresses not well: 127.0.0.1:1: {refused}; 127.0.0.1:2: {refused}"
    assert [standing.faults for standing in all_standings([upstream])()] == [1, 1]
