"""What the benchmark lets stand as a figure."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import run
from tests.bench.load import PROFILES, Loaded, RowFailedError
from tests.bench.peers import Site


def payload(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def check(site: Site, peer: str, profile: str, *, requests: int, opened: int = 0, look_ups: int = 0) -> None:
    run._check(site, peer, PROFILES[profile], Loaded(requests, 100, 200), opened, look_ups)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "cold").write_text("a token\n" * 500)
    return Site(tmp_path, 1, 2)


def test_cold_tokens_are_new_ones_of_known_users() -> None:
    """... is asked with a new token of the same session of somebody it knows, and about 1.2 KB of it."""
    first, later = (payload(run._mint(1_800_000_000, range(number, number + 1))[0]) for number in (7, 7 + run.USERS))
    assert first.pop("jti") != later.pop("jti")
    assert first == later
    assert first["signInIpAddress"] == "127.0.0.1"
    assert 1_150 <= len(run._mint(1_800_000_000, range(1))[0]) <= 1_300


def test_a_new_connection_for_every_request_is_no_figure(site: Site) -> None:
    """... has no figure where a program opens the backend's connections anew."""
    check(site, "usual aiohttp", "hot", requests=1000, opened=32)
    check(site, "usual aiohttp", "64 KB up", requests=1000, opened=64)
    with pytest.raises(RowFailedError, match="1000 new connections"):
        check(site, "usual aiohttp", "hot", requests=1000, opened=1000)


def test_cold_means_once(site: Site) -> None:
    """... has no figure for new tokens where one served twice with a program that remembers, or accounts were asked."""
    check(site, "gateway", "cold", requests=500)
    check(site, "HAProxy", "cold", requests=501)
    with pytest.raises(RowFailedError, match="used twice"):
        check(site, "gateway", "cold", requests=501)
    with pytest.raises(RowFailedError, match="accounts"):
        check(site, "gateway", "cold", requests=500, look_ups=1)
