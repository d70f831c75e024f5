"""Ports that answer at once or not at all."""

from __future__ import annotations

import pytest

from gateway.core.at_once import MustWait, PromptVerifier, StandingsAtOnce, VerifierAtOnce
from gateway.errors import BadSignature
from tests.support.wire import GOOD, FakeRevocation, FakeVerifier, claims_of


async def test_a_verifier_at_once() -> None:
    """gives the verifier's own answer, and none where that would take waiting."""
    inner = FakeVerifier()
    assert isinstance(inner, PromptVerifier)
    verifier = VerifierAtOnce(inner)
    assert await verifier.verify(GOOD) == claims_of()
    with pytest.raises(BadSignature):
        await verifier.verify("forged")
    with pytest.raises(MustWait):
        await verifier.verify("down")


async def test_standings_at_once() -> None:
    """knows what is known, and waits for nothing else."""
    inner = FakeRevocation()
    standings = StandingsAtOnce(inner)
    principal = claims_of().principal
    assert standings.peek(principal) == inner.peek(principal)
    assert standings.last_known(principal) == inner.last_known(principal)
    with pytest.raises(MustWait):
        await standings.standing(principal)
