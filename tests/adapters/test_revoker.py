"""Revoking at a bounded rate."""

from __future__ import annotations

import logging

import pytest

from gateway.adapters.revoker import PERIOD, LimitedRevoker
from gateway.core.claims import Principal
from gateway.errors import RevocationUnavailable
from tests.support.clock import FakeClock


class Accounts:
    def __init__(self, *, down: bool = False) -> None:
        self.revoked: list[str] = []
        self._down = down

    async def revoke(self, principal: Principal) -> None:
        if self._down:
            raise RevocationUnavailable("down")
        self.revoked.append(principal.uid)


def person(uid: str) -> Principal:
    return Principal("p", None, uid)


async def test_a_user_is_revoked_once_an_hour_at_most() -> None:
    """... revokes in the background, and the same user once in an hour."""
    accounts, clock = Accounts(), FakeClock()
    revoker = LimitedRevoker(accounts.revoke, clock, limit=10)
    for _ in range(3):
        revoker.revoke_soon(person("ada"))
    assert accounts.revoked == []
    await revoker.close()
    clock.advance(PERIOD)
    revoker.revoke_soon(person("ada"))
    await revoker.close()
    assert accounts.revoked == ["ada", "ada"]


async def test_what_exceeds_the_limit_is_dropped_loudly(caplog: pytest.LogCaptureFixture) -> None:
    """... lets nobody sign everybody out: beyond the limit it only says so."""
    accounts, clock = Accounts(), FakeClock()
    revoker = LimitedRevoker(accounts.revoke, clock, limit=2)
    for uid in "abcd":
        revoker.revoke_soon(person(uid))
    await revoker.close()
    assert (accounts.revoked, revoker.dropped) == (["a", "b"], 2)
    assert "network.revoke_limit" in caplog.text
    clock.advance(PERIOD)
    revoker.revoke_soon(person("c"))
    await revoker.close()
    assert accounts.revoked == ["a", "b", "c"]


async def test_an_outage_is_told_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    """... says that a revocation failed; the refusal stands anyway."""
    revoker = LimitedRevoker(Accounts(down=True).revoke, FakeClock(), limit=2)
    with caplog.at_level(logging.ERROR):
        revoker.revoke_soon(person("ada"))
        await revoker.close()
    assert "could not be revoked" in caplog.text
