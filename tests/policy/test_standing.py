"""The revocation rule, and what counts when nobody answers."""

from __future__ import annotations

import dataclasses

import pytest

from gateway import reasons
from gateway.core.claims import Principal
from gateway.core.ports import Standing
from gateway.errors import RevocationUnavailable
from gateway.policy.routes import OnOutage, Route
from gateway.policy.standing import revoked, standing_for, standing_text
from gateway.reasons import Reason
from tests.support.wire import claims_of

GOOD = Standing(exists=True, disabled=False, valid_since=1_000, epoch=1, checked_at=0.0)
STRICT = Route("strict", "/**", "app")
LENIENT = Route("lenient", "/**", "app", on_revocation_outage=OnOutage.ALLOW_UNTIL_EXP)


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (None, None),
        (GOOD, None),
        (dataclasses.replace(GOOD, valid_since=999), None),
        (dataclasses.replace(GOOD, valid_since=1_001), reasons.SESSION_REVOKED),
        (dataclasses.replace(GOOD, disabled=True), reasons.USER_DISABLED),
        (dataclasses.replace(GOOD, exists=False, disabled=True), reasons.USER_NOT_FOUND),
    ],
)
def test_the_rule(standing: Standing | None, reason: Reason | None) -> None:
    """refuses whoever is gone, disabled or signed in before valid-since, in whole seconds."""
    assert revoked(claims_of(auth_time=1_000), standing) is reason


class Source:
    """An account service that is there or not."""

    def __init__(self, standing: Standing | None) -> None:
        self.known = standing
        self.down = False

    def peek(self, principal: Principal) -> Standing | None:
        return None

    async def standing(self, principal: Principal) -> Standing:
        if self.down or self.known is None:
            raise RevocationUnavailable("down", retry_after=1)
        return self.known

    def last_known(self, principal: Principal) -> Standing | None:
        return self.known


async def test_an_outage_is_the_routes_business() -> None:
    """lets the last standing heard of stand in only where the route says so, and calls it unchecked."""
    principal = claims_of().principal
    source = Source(GOOD)
    assert await standing_for(source, principal, STRICT) == (GOOD, reasons.SESSION_VALID)
    source.down = True
    assert await standing_for(source, principal, LENIENT) == (GOOD, reasons.SESSION_UNCHECKED)
    with pytest.raises(RevocationUnavailable):
        await standing_for(source, principal, STRICT)
    assert await standing_for(Source(None), principal, LENIENT) == (None, reasons.SESSION_UNCHECKED)


def test_in_words() -> None:
    """says in a trail what is known and how well."""
    assert standing_text(GOOD, reasons.SESSION_VALID) == "valid since 1000"
    assert standing_text(GOOD, reasons.SESSION_UNCHECKED).startswith("valid since 1000 when last heard of")
    assert standing_text(dataclasses.replace(GOOD, disabled=True), reasons.SESSION_VALID) == "disabled"
    assert standing_text(dataclasses.replace(GOOD, exists=False), reasons.SESSION_VALID) == "the account is gone"
    assert standing_text(None, reasons.SESSION_UNCHECKED).startswith("not known")
