"""blocking-functions.md scenarios 4.5 and 4.7."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.blocking.ready_made import refuse_networks, track_sign_in_ip, track_sign_in_network
from gateway.core.client_ip import parse_address
from gateway.errors import ConfigError
from gateway.policy.baselines import network_claim
from tests.support import events
from tests.support.events import ABSENT

KEY = b"0123456789abcdef"


async def answer(function: Any, address: Any) -> tuple[int, dict[str, Any]]:
    functions = events.functions()
    functions.before_sign_in(function)
    async with functions:
        return await functions.respond(events.token("beforeSignIn", top={"ip_address": address}))


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("198.51.100.7", False), ("198.51.100.255", False), ("::ffff:198.51.100.7", False), ("2001:db8::1", False),
        ("192.0.2.1", False), ("203.0.113.9", True), ("2001:db9::1", True), ("198.51.101.0", True),
        ("", False), (ABSENT, False), ("198.51.100", False), ("nonsense", False),
    ],
)  # fmt: skip
async def test_networks_are_refused(address: Any, good: bool) -> None:
    """... lets nobody in from a refused network, however the address is written, nor from one that cannot be read."""
    status, body = await answer(refuse_networks(["198.51.100.0/24", "2001:db8::/32", "192.0.2.1"]), address)
    if good:
        assert (status, body) == (200, {})
    else:
        error = {"code": 403, "message": "Unauthorized access!", "status": "PERMISSION_DENIED"}
        assert (status, body) == (403, {"error": error})


@pytest.mark.parametrize("network", ["198.51.100.7/24", "evil", ""])
def test_a_network_is_a_network(network: str) -> None:
    """... refuses what is no network when it is told of it."""
    with pytest.raises(ConfigError, match="no network"):
        refuse_networks([network])


async def test_the_address_goes_into_the_session() -> None:
    """... puts the address of the sign-in into the tokens of the session."""
    record = {"sessionClaims": {"signInIpAddress": "203.0.113.9"}, "updateMask": "sessionClaims"}
    assert await answer(track_sign_in_ip(), "203.0.113.9") == (200, {"userRecord": record})
    for nothing in (ABSENT, "", "unknown", "203.0.113.999"):
        assert await answer(track_sign_in_ip(), nothing) == (200, {})


async def test_the_private_form_holds_no_address() -> None:
    """... puts a keyed hash of the network into the session where the address shall not be readable."""
    address = parse_address("203.0.113.9")
    assert address is not None
    status, body = await answer(track_sign_in_network(KEY), "203.0.113.9")
    assert body["userRecord"]["sessionClaims"] == {"signInNetwork": network_claim(address, KEY, None)}
    assert "203.0.113" not in str(body)
    assert (status, await answer(track_sign_in_network(KEY), "10.0.0.1")) == (200, (200, {}))
    with pytest.raises(ConfigError):
        track_sign_in_network(b"short")
