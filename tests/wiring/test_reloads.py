"""How reloads went, and what they cannot change."""

from __future__ import annotations

from typing import Any

from gateway.config.load import load
from gateway.config.model import Config
from gateway.wiring.reloads import Reloads, need_restart


def config(**overrides: Any) -> Config:
    tree: dict[str, Any] = {
        "firebase.project_id": "acme",
        "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
        "route": [{"match": {"path": "/**"}}],
    }
    return load(None, environment={}, overrides=tree | overrides).config


def test_sockets_are_for_a_whole_life() -> None:
    """... names what takes effect at the next start only."""
    started_with = config()
    assert need_restart(started_with, config(**{"login.title": "New", "session.max_age": "1h"})) == []
    changed = config(**{"listen.public": "127.0.0.1:8081", "listen.workers": 2, "limits.connections": 100})
    assert need_restart(started_with, changed) == ["listen.public", "listen.workers", "limits"]


def test_the_last_reload_is_known() -> None:
    """... knows which configuration is in use, and that the last one was refused."""
    reloads = Reloads(0, 100.0)
    reloads.failed()
    assert (reloads.good, reloads.generation, reloads.at) == (False, 0, 100.0)
    reloads.succeeded(1, 200.0)
    assert (reloads.good, reloads.generation, reloads.at) == (True, 1, 200.0)
