"""Addresses and credentials, read off a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.adapters.firebase_users import ApplicationDefault, BearerSecret, ServiceAccountFile
from gateway.config.load import Loaded, load
from gateway.services import account_credentials, service_addresses

PROJECT = "demo-services"


def loaded(**overrides: Any) -> Loaded:
    tree: dict[str, Any] = {
        "firebase": {"project_id": PROJECT, "api_key": "k"},
        "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
        "route": [{"match": {"path": "/**"}}],
    }
    return load(None, environment={}, overrides=tree | overrides)


def test_the_emulator_form_of_every_address() -> None:
    """... finds every service below one emulator address."""
    services = service_addresses(loaded(**{"firebase.emulator": "127.0.0.1:9099"}).config)
    assert services.certificates.startswith("http://127.0.0.1:9099/www.googleapis.com/robot/")
    assert services.accounts == "http://127.0.0.1:9099/identitytoolkit.googleapis.com"
    assert services.token == "http://127.0.0.1:9099/securetoken.googleapis.com/v1/token"
    assert services.browser_emulator == "http://127.0.0.1:9099"


def test_googles_own_addresses() -> None:
    """... asks Google when nothing else is said, and lets pages talk to Google only."""
    services = service_addresses(loaded().config)
    assert services.certificates.startswith("https://www.googleapis.com/robot/")
    assert services.accounts is None
    assert services.token == "https://securetoken.googleapis.com/v1/token"
    assert services.connect == ("https://identitytoolkit.googleapis.com", "https://securetoken.googleapis.com")
    assert services.browser_emulator == ""


def test_single_addresses_can_be_replaced() -> None:
    """... takes each address from the configuration."""
    endpoints = {"identity_toolkit": "https://mirror.test/it", "secure_token": "https://mirror.test/st"}
    services = service_addresses(loaded(**{"firebase.endpoints": endpoints}).config)
    assert services.accounts == "https://mirror.test/it"
    assert services.token == "https://mirror.test/st/v1/token"
    assert services.connect == ("https://mirror.test", "https://mirror.test")


@pytest.mark.parametrize(
    ("firebase", "expected"),
    [
        ({"credentials": "none"}, type(None)),
        ({"credentials": "adc"}, ApplicationDefault),
        ({"credentials": "file:key.json"}, ServiceAccountFile),
        ({"emulator": "127.0.0.1:9099"}, BearerSecret),
    ],
)
def test_credentials(firebase: dict[str, str], expected: type[object]) -> None:
    """... authorises account look-ups as the configuration says."""
    settings = {f"firebase.{name}": value for name, value in firebase.items()}
    assert isinstance(account_credentials(loaded(**settings)), expected)
