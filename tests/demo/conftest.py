"""A running workshop, as the gateway would reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession

from gateway.demo.backend import DemoBackend
from gateway.demo.network import DemoNetwork
from gateway.errors import RevocationUnavailable

ADA_HEADERS = {
    "X-Forwarded-User": "ada-uid",
    "X-Forwarded-Email": "ada@example.com",
    "X-Forwarded-Groups": "mechanic, key-holder",
}
TICK_SECONDS = 0.02


@dataclass
class Revocations:
    """Notes who was revoked; ``down`` makes the provider mute."""

    uids: list[str] = field(default_factory=list)
    down: bool = False

    async def __call__(self, uid: str) -> None:
        if self.down:
            raise RevocationUnavailable("the provider does not answer")
        self.uids.append(uid)


@pytest.fixture
def network() -> DemoNetwork:
    return DemoNetwork()


@pytest.fixture
def revocations() -> Revocations:
    return Revocations()


@pytest.fixture
async def backend(network: DemoNetwork, revocations: Revocations) -> AsyncIterator[DemoBackend]:
    backend = DemoBackend(network=network, revoke=revocations, tick=TICK_SECONDS, noticed_within=2)
    await backend.start()
    yield backend
    await backend.close()


@pytest.fixture
async def ada(backend: DemoBackend) -> AsyncIterator[ClientSession]:
    """Requests as the gateway forwards them for Ada."""
    async with ClientSession(backend.url, headers=ADA_HEADERS) as session:
        yield session


@pytest.fixture
async def nobody(backend: DemoBackend) -> AsyncIterator[ClientSession]:
    """Requests that name nobody."""
    async with ClientSession(backend.url) as session:
        yield session
