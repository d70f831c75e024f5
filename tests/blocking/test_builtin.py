from __future__ import annotations

from typing import Any

import pytest

from gateway.blocking.builtin import record_sign_in_ip, record_sign_in_network
from gateway.core.client_ip import IPAddress, parse_address
from gateway.core.network import Place
from gateway.policy.baselines import origin_of

KEY = b"0123456789abcdef"


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::7"])
async def test_address_becomes_a_session_claim(address: str) -> None:
    """the gateway's function puts the event's address into the session's tokens and nothing else."""
    answer = await record_sign_in_ip({"ip_address": address, "user_record": {"uid": "u"}})
    assert answer == {"userRecord": {"sessionClaims": {"signInIpAddress": address}, "updateMask": "sessionClaims"}}


@pytest.mark.parametrize("event", [{}, {"ip_address": ""}, {"ip_address": None}, {"ip_address": 7}])
async def test_event_without_address_changes_nothing(event: dict[str, Any]) -> None:
    """the gateway's function leaves a sign-in alone whose address nobody knows."""
    assert await record_sign_in_ip(event) == {}


class Locator:
    def locate(self, address: IPAddress) -> Place:
        return Place(64496, "DE")


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::7"])
async def test_network_becomes_a_session_claim(address: str) -> None:
    """the gateway's function puts a keyed hash of the network into the tokens, and the gateway recognises it."""
    answer = await record_sign_in_network(KEY, Locator())({"ip_address": address})
    assert answer["userRecord"]["updateMask"] == "sessionClaims"
    (claim,) = answer["userRecord"]["sessionClaims"].values()
    assert list(answer["userRecord"]["sessionClaims"]) == ["signInNetwork"]
    origin = origin_of(None, claim)
    client = parse_address(address)
    assert origin is not None
    assert client is not None
    assert origin.is_same(client, KEY, exact=False)
    assert origin.place == Place(64496, "DE")
    assert address not in str(answer)


async def test_without_a_database_the_hash_stands_alone() -> None:
    """the gateway's function needs no database."""
    answer = await record_sign_in_network(KEY)({"ip_address": "203.0.113.9"})
    assert set(answer["userRecord"]["sessionClaims"]["signInNetwork"]) == {"family", "network"}


@pytest.mark.parametrize("event", [{}, {"ip_address": "nowhere"}, {"ip_address": 7}, {"ip_address": "10.0.0.1"}])
async def test_what_cannot_be_compared_is_not_recorded(event: dict[str, Any]) -> None:
    """the gateway's function records no network that says nothing."""
    assert await record_sign_in_network(KEY)(event) == {}


def test_a_short_key_is_refused_at_once() -> None:
    """the gateway's function is not made with a key that could be guessed."""
    with pytest.raises(ValueError, match="16 bytes"):
        record_sign_in_network(KEY[:-1])
