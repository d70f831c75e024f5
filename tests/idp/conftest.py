from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.idp import Api, running


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """A provider with the default settings, in memory."""
    async with running() as running_api:
        yield running_api
