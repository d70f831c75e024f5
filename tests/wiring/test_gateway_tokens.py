"""What the composition root makes of tokens: keys, kinds, caches, and the switch for unsigned ones."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.config.load import Loaded, load
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow
from gateway.core.target import parse_target
from gateway.errors import TokenError, UnknownKey, WrongKind
from gateway.services import service_addresses
from gateway.tokens.verifier import TokenVerifier
from gateway.wiring import Gateway
from tests.house.tree import ROOT
from tests.support import forge
from tests.support.issuer import KeyServer


def loaded(**overrides: Any) -> Loaded:
    tree: dict[str, Any] = {
        "firebase.project_id": forge.PROJECT,
        "firebase.credentials": "none",
        "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
        "route": [{"match": {"path": "/**"}}],
    }
    return load(None, environment={}, overrides=tree | overrides)


@pytest.fixture
async def id_keys() -> AsyncIterator[KeyServer]:
    async with KeyServer() as server:
        yield server


@pytest.fixture
async def cookie_keys() -> AsyncIterator[KeyServer]:
    async with KeyServer() as server:
        server.body = forge.certificates("cookie-key")
        yield server


@pytest.fixture
async def gateway(id_keys: KeyServer, cookie_keys: KeyServer) -> AsyncIterator[Gateway]:
    opened = Gateway(
        loaded(
            **{
                "firebase.endpoints.id_token_certificates": id_keys.url,
                "firebase.endpoints.session_cookie_certificates": cookie_keys.url,
            }
        )
    )
    await opened.open()
    yield opened
    await opened.close()


def request(token: str) -> RequestContext:
    headers = Headers(((b"Authorization", f"Bearer {token}".encode()),))
    return RequestContext(
        method="GET", scheme="https", host="app.test", target=parse_target("/"), peer="203.0.113.9", headers=headers
    )


def cookie(**claims: Any) -> str:
    return forge.session_cookie(now=time.time(), kid="cookie-key", **claims)


async def test_certificates_of_session_cookies_are_fetched_when_one_comes(
    gateway: Gateway, id_keys: KeyServer, cookie_keys: KeyServer
) -> None:
    """... fetches the certificates of session cookies once, and not before they are needed."""
    verifier = gateway.session_cookies()
    assert cookie_keys.fetches == 0
    for _ in range(3):
        assert (await verifier.verify(cookie())).principal.uid == forge.UID
    assert (id_keys.fetches, cookie_keys.fetches) == (1, 1)


async def test_kinds_have_keys_of_their_own(gateway: Gateway) -> None:
    """... takes no cookie for a bearer token and no bearer token for a cookie, nor either's keys for the other."""
    cookies = gateway.session_cookies()
    with pytest.raises(WrongKind):
        await cookies.verify(forge.id_token(now=time.time()))
    with pytest.raises(UnknownKey):
        await cookies.verify(forge.session_cookie(now=time.time(), kid=forge.KID))
    assert isinstance(await gateway.guard.judge(request(forge.id_token(now=time.time()))), Allow)
    for token in (cookie(), forge.id_token(now=time.time(), kid="cookie-key")):
        assert not isinstance(await gateway.guard.judge(request(token)), Allow)


async def test_a_change_of_keys_reaches_what_is_remembered(gateway: Gateway, id_keys: KeyServer) -> None:
    """... drops remembered tokens when the issuer withdraws their key."""
    token = forge.id_token(now=time.time())
    assert isinstance(await gateway.guard.judge(request(token)), Allow)
    assert gateway._assembly.keys is not None
    owners = (getattr(hook, "__self__", None) for hook in gateway._assembly.keys._listeners)
    verifier = next(owner for owner in owners if isinstance(owner, TokenVerifier))
    assert verifier.remembered == 1
    id_keys.body = forge.certificates("next")
    await gateway._assembly.keys._refresh()
    assert verifier.remembered == 0
    assert (await gateway.guard.judge(request(token))).reason.id == "token_key_unknown"


async def test_session_cookies_need_an_open_gateway() -> None:
    """... says so when it is asked for a verifier too early."""
    with pytest.raises(RuntimeError, match="not open"):
        Gateway(loaded()).session_cookies()


def test_addresses_of_session_cookie_certificates() -> None:
    """... finds the certificates of session cookies at Google's, at an emulator's and at a configured address."""
    google = "https://www.googleapis.com/identitytoolkit/v3/relyingparty/publicKeys"
    assert service_addresses(loaded().config).cookie_certificates == google
    emulator = service_addresses(loaded(**{"firebase.emulator": "127.0.0.1:9099"}).config)
    assert emulator.cookie_certificates == google.replace("https:/", "http://127.0.0.1:9099")


# ---- unsigned tokens ------------------------------------------------------------------------------------------------


UNSIGNED = {"firebase.emulator": "127.0.0.1:1", "firebase.unsigned_tokens": True}


def unsigned(**claims: Any) -> str:
    return forge.raw({"alg": "none", "typ": "JWT"}, forge.payload(now=time.time(), **claims), None)


async def test_with_the_switch_unsigned_tokens_pass_and_no_others(caplog: pytest.LogCaptureFixture) -> None:
    """... takes an emulator's tokens and cookies, fetches no certificates, and warns at each start."""
    for _ in range(2):
        caplog.clear()
        gateway = Gateway(loaded(**UNSIGNED, **{"firebase.credentials": "none"}))
        with caplog.at_level(logging.WARNING):
            await gateway.open()
        try:
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            assert "unsigned_tokens" in caplog.text
            assert isinstance(await gateway.guard.judge(request(unsigned())), Allow)
            for token in (forge.id_token(now=time.time()), unsigned(exp=1), unsigned(aud="another")):
                assert not isinstance(await gateway.guard.judge(request(token)), Allow)
            issuer = f"https://session.firebase.google.com/{forge.PROJECT}"
            assert (await gateway.session_cookies().verify(unsigned(iss=issuer))).principal.uid == forge.UID
            with pytest.raises(TokenError):
                await gateway.session_cookies().verify(unsigned())
            assert (await gateway.diagnose())["certificates"] is None
        finally:
            await gateway.close(0)


async def test_without_the_switch_unsigned_tokens_are_refused(gateway: Gateway) -> None:
    """... refuses an emulator's tokens in whatever spelling."""
    for token in (unsigned(), unsigned() + "AAAA", forge.raw(forge.header(alg="none"), forge.payload(), None)):
        assert not isinstance(await gateway.guard.judge(request(token)), Allow)


def test_without_the_switch_the_code_is_not_there() -> None:
    """... opens a gateway without loading the code that reads unsigned tokens."""
    script = """
import asyncio, sys
from gateway.config.load import load
from gateway.wiring import Gateway
async def main():
    gateway = Gateway(load(None, environment={}, overrides={
        "firebase.project_id": "demo-x", "firebase.emulator": "127.0.0.1:1", "firebase.credentials": "none",
        "upstream": [{"name": "a", "urls": ["http://127.0.0.1:1"]}], "route": [{"match": {"path": "/**"}}]}))
    await gateway.open()
    gateway.session_cookies()
    print("gateway.tokens.unsigned" in sys.modules)
    await gateway.close(0)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
