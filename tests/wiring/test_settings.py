"""The configuration in the words of the parts."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.load import load
from gateway.config.model import Config
from gateway.observe.decisions import DecisionLog, NoLog
from gateway.proxy.limits import Limits
from gateway.proxy.live import LiveSettings
from gateway.services import service_addresses
from gateway.wiring.settings import (
    client_limits,
    cookie_settings,
    decision_log,
    live_settings,
    login_settings,
    worker_settings,
)


def config(**tables: Any) -> Config:
    tree: dict[str, Any] = {
        "firebase": {"project_id": "demo", "api_key": "of-firebase"},
        "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
        "route": [{"match": {"path": "/**"}}],
    }
    return load(None, environment={}, overrides=tree | tables).config


def test_the_first_app_is_the_one_that_people_sign_in_to() -> None:
    """... gives the page and the cookie the first app, and the worker all of them."""
    apps = [{"name": "shop", "api_key": "of-shop"}, {"name": "staff", "tenants": ["t1"]}]
    settings = config(worker={"apps": apps}, session={"sdk_cookies": True, "cookie_lifetime": "10m"})
    services = service_addresses(settings)
    assert login_settings(settings, services, None).api_key == "of-shop"
    assert cookie_settings(settings).app == "shop"
    assert cookie_settings(settings).lifetime == 600
    worker = worker_settings(settings, services)
    assert [(app.api_key, app.name, app.tenants) for app in worker.apps] == [
        ("of-shop", "shop", ()),
        ("", "staff", ("t1",)),
    ]
    assert worker.api_key == "of-firebase"


@pytest.mark.parametrize(("cookie", "kept"), [("id_token", True), ("session_cookie", True), ("off", False)])
def test_the_worker_knows_whether_there_is_a_cookie(cookie: str, kept: bool) -> None:
    """... tells the worker to keep the cookie exactly when there is one."""
    settings = config(session={"cookie": cookie})
    assert worker_settings(settings, service_addresses(settings)).cookie is kept


def test_decisions_go_where_the_configuration_says() -> None:
    """... writes decisions unless that is switched off."""
    assert isinstance(decision_log(config(log={"decisions": "off"})), NoLog)
    assert isinstance(decision_log(config()), DecisionLog)


@pytest.mark.parametrize(("recheck", "staleness", "expected"), [("60s", "60s", 30.0), ("10s", "60s", 10.0)])
def test_users_of_live_connections_are_looked_after(recheck: str, staleness: str, expected: float) -> None:
    """looks at live connections as often as it is told to, and often enough for revocations to be heard of in time."""
    settings = config(
        session={"recheck_streams": recheck, "stream_grace": "5s"},
        revocation={"max_staleness": staleness},
        websocket={"idle_timeout": "0s", "max_message": "1KB"},
    )
    assert live_settings(settings) == LiveSettings(expected, 5.0, 0.0, 1000)


def test_limits_reach_the_listener() -> None:
    """... hands on every limit, and its own defaults are those of the settings."""
    assert client_limits(config()) == Limits()
    table = {
        "connections": 100,
        "per_peer": 10,
        "head": "5s",
        "idle": "30s",
        "body": "10MB",
        "min_rate": "1KB",
        "upload_window": "10s",
        "download_window": "20s",
    }
    assert client_limits(config(limits=table)) == Limits(5.0, 30.0, 100, 10, 10_000_000, 1_000, 10.0, 20.0)
