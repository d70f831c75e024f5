"""A revocation cache of three users, with time and the account service in the test's hands."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.adapters.revocation_cache import RevocationCache
from tests.support.accounts import CountingDirectory
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def directory(clock: FakeClock) -> CountingDirectory:
    return CountingDirectory("ada", "bob", "eve", now=clock.now)


@pytest.fixture
async def cache(directory: CountingDirectory, clock: FakeClock) -> AsyncIterator[RevocationCache]:
    made = RevocationCache(directory, clock, sleep=clock.sleep)
    yield made
    await made.close()
