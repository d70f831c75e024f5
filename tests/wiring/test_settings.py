"""The configuration in the words of the parts."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.load import load
from gateway.config.model import Config
from gateway.observe.decisions import DecisionLog, NoLog
from gateway.services import service_addresses
from gateway.wiring.settings import cookie_settings, decision_log, login_settings, worker_settings


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
