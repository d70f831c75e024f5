from __future__ import annotations

import asyncio
from typing import Any

import firebase_admin
import pytest
from firebase_admin import auth

from gateway.adapters import firebase_client
from gateway.adapters.firebase_client import FirebaseClients, SecretCredential
from gateway.errors import ConfigError
from tests.support.accounts import AccountServer

PROJECT = "demo-project"
WHERE = "$.firebase.credentials"


def test_unknown_inside_of_firebase_admin_is_noticed_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """refuses to start when firebase-admin changed where it keeps the address, instead of asking the wrong service."""

    class Changed:
        def __init__(self, app: Any, tenant_id: str | None = None) -> None:
            self.users = object()

    monkeypatch.setattr(auth, "Client", Changed)
    with pytest.raises(ConfigError, match="built differently") as caught:
        FirebaseClients(PROJECT, SecretCredential("owner"), "http://127.0.0.1:1/accounts", WHERE)
    assert caught.value.where == "firebase-admin"


def test_changed_address_inside_of_firebase_admin_is_noticed_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """checks the address that it replaces, not only that there is one."""
    monkeypatch.setattr(firebase_client, "GOOGLE_ENDPOINT", "https://accounts.example")
    with pytest.raises(ConfigError, match="built differently"):
        FirebaseClients(PROJECT, SecretCredential("owner"), None, WHERE)


def test_failed_start_leaves_no_app_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """can be started again in the same process after a refusal."""
    monkeypatch.setattr(firebase_client, "GOOGLE_ENDPOINT", "https://accounts.example")
    apps = dict(firebase_admin._apps)
    for _ in range(2):
        with pytest.raises(ConfigError):
            FirebaseClients(PROJECT, SecretCredential("owner"), None, WHERE)
    assert firebase_admin._apps == apps


async def test_two_directories_live_side_by_side() -> None:
    """keeps projects and services of two configurations apart, as a reload needs."""
    async with AccountServer("one") as first, AccountServer("two") as second:
        first.users["ada"] = {"localId": "ada"}
        clients = [
            FirebaseClients(PROJECT, SecretCredential("one"), first.url, WHERE),
            FirebaseClients(PROJECT, SecretCredential("two"), second.url, WHERE),
        ]
        found = [await asyncio.to_thread(client.look_up, None, ["ada"]) for client in clients]
        assert [set(records) for records in found] == [{"ada"}, set()]
        for client in clients:
            client.close()


async def test_proxies_of_the_environment_are_not_used_for_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """talks to a stand-in directly although the environment names a proxy for the outside."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with AccountServer() as server:
        clients = FirebaseClients(PROJECT, SecretCredential("owner"), server.url, WHERE)
        assert await asyncio.to_thread(clients.look_up, None, ["ada"]) == {}
        clients.close()
