"""What every key source must do, run on each form in which keys are published."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from gateway.adapters.google_keys import PublishedKeys
from gateway.core.ports import KeySource
from gateway.errors import KeysUnavailable
from tests.support import forge
from tests.support.clock import FakeClock
from tests.support.issuer import KeyServer

FORMS: dict[str, Callable[..., bytes]] = {"x509": forge.certificates, "jwks": forge.jwks}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Callable[..., bytes]:
    return FORMS[request.param]


@pytest.fixture
async def issuer(form: Callable[..., bytes]) -> AsyncIterator[KeyServer]:
    async with KeyServer() as server:
        server.body = form("first", "second")
        yield server


@pytest.fixture
async def source(issuer: KeyServer) -> AsyncIterator[KeySource]:
    async with aiohttp.ClientSession() as session:
        yield PublishedKeys(issuer.url, session, FakeClock())


async def test_published_key_verifies_what_its_pair_signed(source: KeySource) -> None:
    """finds each published key by its name, the very key."""
    for kid in ("first", "second"):
        key = await source.key(kid)
        assert key is not None
        assert key.public_numbers() == forge.private_key(kid).public_key().public_numbers()


async def test_peek_never_waits(issuer: KeyServer, source: KeySource) -> None:
    """answers without I/O, with nothing before the first fetch and with the key after it."""
    assert source.peek("first") is None
    assert issuer.fetches == 0
    await source.key("first")
    assert source.peek("first") is not None
    assert source.peek("third") is None
    assert issuer.fetches == 1


async def test_name_that_is_not_published_has_no_key(source: KeySource) -> None:
    """knows no key for a name the issuer does not publish, however the name looks."""
    for kid in ("third", "", "../first", "First", "first ", "first\x00", "https://evil.example/keys", "k" * 10_000):
        assert await source.key(kid) is None


async def test_two_hundred_cold_requests_bring_one_fetch(issuer: KeyServer, source: KeySource) -> None:
    """asks the issuer once however many requests arrive before the first answer."""
    issuer.hold()
    requests = [asyncio.create_task(source.key("first")) for _ in range(200)]
    await issuer.arrived.wait()
    issuer.release()
    assert all(await asyncio.gather(*requests))
    assert issuer.fetches == 1


async def test_silence_without_any_key_is_unavailability(issuer: KeyServer, source: KeySource) -> None:
    """fails closed when it has no key and cannot get one."""
    issuer.status = 503
    with pytest.raises(KeysUnavailable) as caught:
        await source.key("first")
    assert caught.value.retry_after >= 1
    assert source.peek("first") is None
