"""The provider as a whole: where it runs, what it refuses, what survives."""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from gateway.core.context import Headers
from gateway.errors import ConfigError
from gateway.idp import IdentityProvider, Mail, ProviderSettings
from gateway.idp.errors import WireError
from gateway.idp.provider import check_settings, project_number, socket_address
from tests.support.clock import FakeClock
from tests.support.idp import EMAIL, PASSWORD, SETTINGS, claims, key_source, running


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "0.0.0.0"}, "not a loopback address"),
        ({"host": "::"}, "not a loopback address"),
        ({"host": "192.0.2.1"}, "not a loopback address"),
        ({"host": "idp.example"}, "not a loopback address"),
        ({"host": ""}, "not a loopback address"),
        ({"project_id": "acme-prod"}, "could be a real project"),
        ({"project_id": "my-demo-project"}, "could be a real project"),
        ({"project_id": ""}, "no project id"),
        ({"project_id": "demo-\n"}, "no project id"),
        ({"port": 65_536}, "no port number"),
        ({"admin_secret": ""}, "secret is empty"),
        ({"public_url": "idp.example"}, "not an origin"),
        ({"public_url": "https://idp.example/path"}, "not an origin"),
        ({"password_profile": "weak"}, "no password profile"),
        ({"host": "0.0.0.0", "force": True}, "testing password profile"),
    ],
)
async def test_dangerous_settings_stop_the_start(changes: dict[str, Any], words: str) -> None:
    """the provider refuses to start beyond loopback or for a real project unless forced, and with nonsense always."""
    provider = IdentityProvider(replace(SETTINGS, **changes), key_source=key_source)
    with pytest.raises(ConfigError, match=words) as caught:
        await provider.start()
    assert caught.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        ProviderSettings(project_id="demo-x", database=None),
        ProviderSettings(project_id="demo-x", database=None, host="::1"),
        ProviderSettings(project_id="demo-x", database=None, host="localhost"),
        ProviderSettings(project_id="acme-prod", database=None, host="0.0.0.0", force=True),
        ProviderSettings(project_id="demo-x", database=None, public_url="https://idp.example/"),
    ],
)
def test_harmless_settings_pass(settings: ProviderSettings) -> None:
    """the provider takes loopback and demo projects, and everything else when forced."""
    check_settings(settings)
    assert settings.password_profile == "strong"


async def test_taken_port_is_a_clear_message(tmp_path: Path) -> None:
    """the provider says which port is taken, and can be started again once it is free."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = replace(SETTINGS, port=port, database=tmp_path / "idp.sqlite")
        with pytest.raises(ConfigError, match="the identity provider's port is taken") as caught:
            await IdentityProvider(settings, key_source=key_source).start()
        assert caught.value.where == f"127.0.0.1:{port}"
    again = IdentityProvider(settings, key_source=key_source)
    await again.start()
    assert again.url == f"http://127.0.0.1:{port}"
    await again.close()
    await again.close()


async def test_address_of_another_machine_is_a_clear_message() -> None:
    """the provider says that it cannot listen on an address that this machine has not."""
    settings = replace(SETTINGS, host="192.0.2.1", force=True, password_profile="strong")
    with pytest.raises(ConfigError, match="the identity provider cannot listen there"):
        await IdentityProvider(settings, key_source=key_source).start()


async def test_unreadable_database_is_a_clear_message(tmp_path: Path) -> None:
    """the provider refuses a file that is no database of its own, and leaves it as it was."""
    path = tmp_path / "letter.txt"
    path.write_text("dear reader " * 500)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not a readable SQLite database"):
        await IdentityProvider(replace(SETTINGS, database=path), key_source=key_source).start()
    assert path.read_bytes() == before


async def test_keys_survive_a_restart(tmp_path: Path) -> None:
    """the provider publishes the same certificates after a restart, so that old tokens still verify."""
    settings = replace(SETTINGS, database=tmp_path / "idp.sqlite")
    path = "/www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
    seen: list[Any] = []
    for _ in range(2):
        provider = IdentityProvider(settings, key_source=key_source)
        await provider.start()
        async with aiohttp.ClientSession() as session, session.get(provider.url + path) as response:
            seen.append(await response.json())
        await provider.close()
    assert seen[0] == seen[1]


async def test_accounts_can_be_seeded_twice(tmp_path: Path) -> None:
    """the provider creates a seeded account once and leaves it alone the next time."""
    for password in (PASSWORD, "another horse"):
        async with running(database=tmp_path / "idp.sqlite") as api:
            uid = await api.provider.create_account(
                "Ada@Example.com", password, uid="ada", display_name="Ada", custom_attributes={"roles": ["mechanic"]},
                email_verified=True,
            )  # fmt: skip
            assert uid == "ada"
            payload = claims((await api.sign_in(password=PASSWORD)).ok["idToken"])
            assert (payload["name"], payload["roles"], payload["email_verified"]) == ("Ada", ["mechanic"], True)


async def test_seeding_refuses_what_a_client_may_not(tmp_path: Path) -> None:
    """the provider checks seeded accounts like any other."""
    async with running() as api:
        with pytest.raises(WireError, match="WEAK_PASSWORD"):
            await api.provider.create_account(EMAIL, "x")
        with pytest.raises(WireError, match="FORBIDDEN_CLAIM : sub"):
            await api.provider.create_account(EMAIL, PASSWORD, custom_attributes={"sub": "x"})
        with pytest.raises(WireError, match="USER_NOT_FOUND"):
            await api.provider.revoke_sessions("nobody")


async def test_mails_are_announced() -> None:
    """the provider tells its owner of each mail, with a link to where it listens or to its public URL."""
    heard: list[Mail] = []
    async with running(hooks={"on_mail": heard.append}, public_url="https://idp.example/") as api:
        await api.sign_up()
        await api.mail_code("PASSWORD_RESET", email=EMAIL)
        assert heard == list(api.provider.mailbox)
        assert heard[0].link.startswith("https://idp.example/emulator/action?")
    async with running(port=9099) as api:
        await api.sign_up()
        await api.mail_code("PASSWORD_RESET", email=EMAIL)
        (mail,) = api.provider.mailbox
        assert mail.link.startswith("http://127.0.0.1:9099/emulator/action?")


async def test_addresses_are_bracketed_where_needed() -> None:
    """the provider writes an IPv6 host as a URL wants it."""
    provider = IdentityProvider(replace(SETTINGS, host="::1", port=9099), key_source=key_source)
    assert provider.url == "http://[::1]:9099"


async def test_nothing_works_before_the_start() -> None:
    """the provider says plainly that it is not running."""
    provider = IdentityProvider(SETTINGS, key_source=key_source)
    with pytest.raises(RuntimeError, match="not running"):
        await provider.rotate_keys()


async def test_secrets_stay_out_of_logs_and_texts(caplog: pytest.LogCaptureFixture) -> None:
    """the provider logs no password, token or code, and its settings show no secret."""
    with caplog.at_level(logging.DEBUG):
        async with running(clock=FakeClock()) as api:
            user = await api.sign_up()
            code = await api.mail_code("PASSWORD_RESET", email=EMAIL)
            await api.call("resetPassword", oobCode=code, newPassword="another horse")
            await api.sign_in(password="wrong horse")
            await api.refresh(user["refreshToken"])
            await api.call("lookup", idToken=user["idToken"] + "x")
    signature = user["idToken"].split(".")[2]
    for secret in (PASSWORD, "another horse", "wrong horse", code, user["refreshToken"], signature):
        assert secret not in caplog.text
    assert "s3cret" not in repr(ProviderSettings(project_id="demo-x", database=None, admin_secret="s3cret"))


def test_peer_is_the_address() -> None:
    """the provider takes the peer of the socket, unwrapped, for the client and believes no header."""
    headers = Headers(((b"X-Forwarded-For", b"198.51.100.1"),))
    assert str(socket_address("::ffff:127.0.0.1", headers)) == "127.0.0.1"
    assert socket_address("", headers) is None


def test_project_number_is_stable() -> None:
    """the provider gives a project the same twelve-digit number every time, and another project another one."""
    assert project_number("demo-a") == project_number("demo-a") != project_number("demo-b")
    assert len(project_number("demo-a")) == 12
    assert project_number("demo-a").isdecimal()


async def test_default_keys_are_generated() -> None:
    """the provider makes RSA keys of 2048 bits itself when nobody hands any in."""
    provider = IdentityProvider(replace(SETTINGS, port=0))
    await provider.start()
    try:
        await provider.create_account(EMAIL, PASSWORD)
        realm = provider._opened()
        assert realm.id_keys.signer().private_key.key_size == 2048
        assert realm.id_keys.signer().jwk()["n"] != realm.cookie_keys.signer().jwk()["n"]
        assert jwt.PyJWK(realm.id_keys.signer().jwk()).algorithm_name == "RS256"
    finally:
        await provider.close()
