"""From ``[provider]`` to the embedded provider."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.config.load import load
from gateway.core.client_ip import AddressResolver
from gateway.idp import Forward, FunctionSettings
from gateway.wiring.provider import LocalFunctions, function_settings, provider_of
from tests.support.ports import free_port

CONFIG = """
[firebase]
project_id = "demo-acme"
emulator = "127.0.0.1:9099"
[provider]
listen = "127.0.0.1:9098"
[provider.functions]
before_create = "http://127.0.0.1:8081/"
before_sms = "http://127.0.0.1:8081/"
forward = ["id-token", "refresh-token"]
error_format = "emulator"
deadline = "3s"
unsigned = true
any_success = true
commit_new_user = "after_before_sign_in"
"""


def test_settings_reach_the_provider(tmp_path: Path) -> None:
    """the gateway hands the functions of the file to the provider, in the words of the wire."""
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    loaded = load(path, environment={}, backends=False)
    assert function_settings(loaded.config.provider.functions) == FunctionSettings(
        triggers={"beforeCreate": "http://127.0.0.1:8081/", "beforeSendSms": "http://127.0.0.1:8081/"},
        forward=Forward(id_token=True, refresh_token=True),
        error_format="emulator",
        any_success=True,
        deadline=3.0,
        unsigned=True,
        commit_new_user="after_before_sign_in",
    )


async def test_codes_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """the gateway's development provider logs the codes that it would text."""
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG.replace("9098", "0"))
    provider = provider_of(load(path, environment={}, backends=False), AddressResolver([]))
    await provider.start()
    try:
        realm = provider._opened()
        with caplog.at_level(logging.WARNING):
            realm.mailbox.deliver_text(realm.sms_codes.issue("+15550100", "SIGN_IN_OR_SIGN_UP"))  # type: ignore[arg-type]  # text will do
    finally:
        await provider.close()
    assert "text to +15550100: your code is " in caplog.text


HOOKS = """
from gateway.blocking import BlockingFunctions

functions = BlockingFunctions("demo-acme")


@functions.before_create
def name(user, context):
    return {"display_name": "Guest"}
"""


async def test_functions_of_the_file_are_called_in_process(tmp_path: Path) -> None:
    """the gateway's development provider calls what [functions] names, ready-made and own, without a listener."""
    provider_port = free_port()
    (tmp_path / "hooks_of_test_provider.py").write_text(HOOKS)
    path = tmp_path / "gateway.toml"
    path.write_text(
        f"""
        [firebase]
        project_id = "demo-acme"
        emulator = "127.0.0.1:{provider_port}"
        [provider]
        listen = "127.0.0.1:{provider_port}"
        [functions]
        allowed_domains = ["acme.example"]
        handlers = "hooks_of_test_provider:functions"
        """
    )
    loaded = load(path, environment={}, backends=False)
    functions = LocalFunctions(loaded)
    assert list(functions.triggers) == ["beforeCreate"]
    provider = provider_of(loaded, AddressResolver([]), functions)
    await functions.start()
    await provider.start()
    try:
        async with aiohttp.ClientSession() as session:

            async def sign_up(email: str) -> dict[str, Any]:
                url = f"{provider.url}/v1/accounts:signUp?key=k"
                async with session.post(url, json={"email": email, "password": "correct horse"}) as answer:
                    body: dict[str, Any] = await answer.json()
                    return body

            assert (await sign_up("ada@acme.example"))["displayName"] == "Guest"
            assert "Unauthorized email" in (await sign_up("eve@evil.example"))["error"]["message"]
    finally:
        await provider.close()
        await functions.close()
        sys.path.remove(str(tmp_path))
