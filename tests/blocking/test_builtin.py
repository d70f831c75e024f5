from __future__ import annotations

from typing import Any

import pytest

from gateway.blocking.builtin import record_sign_in_ip


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::7"])
async def test_address_becomes_a_session_claim(address: str) -> None:
    """the gateway's function puts the event's address into the session's tokens and nothing else."""
    answer = await record_sign_in_ip({"ip_address": address, "user_record": {"uid": "u"}})
    assert answer == {"userRecord": {"sessionClaims": {"signInIpAddress": address}, "updateMask": "sessionClaims"}}


@pytest.mark.parametrize("event", [{}, {"ip_address": ""}, {"ip_address": None}, {"ip_address": 7}])
async def test_event_without_address_changes_nothing(event: dict[str, Any]) -> None:
    """the gateway's function leaves a sign-in alone whose address nobody knows."""
    assert await record_sign_in_ip(event) == {}
