"""Ready-made functions.

A function takes an event and answers with the body of a 200 reply (blocking-functions.md sections 1.6 and 2.1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.core.client_ip import parse_address
from gateway.core.network import is_private
from gateway.policy.baselines import MIN_KEY, SIGN_IN_NETWORK_CLAIM, network_claim

if TYPE_CHECKING:
    from gateway.core.ports import GeoLocator

SIGN_IN_IP_CLAIM: Final = "signInIpAddress"
"""The session claim that the network policy compares with a request's address (identity-toolkit.md section 4.4)."""


async def record_sign_in_ip(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the address somebody signs in from into every ID token of that session (a beforeSignIn function).

    Changes nothing when the event names no address, as with a client on a unix socket.
    """
    address = event.get("ip_address")
    if not isinstance(address, str) or not address:
        return {}
    return {"userRecord": {"sessionClaims": {SIGN_IN_IP_CLAIM: address}, "updateMask": "sessionClaims"}}


def record_sign_in_network(
    key: bytes, locator: GeoLocator | None = None
) -> Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]:
    """A beforeSignIn function that puts the *network* of a sign-in into the session's tokens, as a keyed hash.

    Whoever can read the token, the page's scripts among them, learns no address from it. The gateway reads it with the
    same key (``network.claim_key``). It takes at most 85 of the 1000 characters that claims may have.

    :param key: 16 bytes or more, the same in every process.
    :param locator: tells operator and country, which are added when known.
    :raises ValueError: the key is too short.
    """
    if len(key) < MIN_KEY:
        raise ValueError(f"the key of {SIGN_IN_NETWORK_CLAIM} needs {MIN_KEY} bytes")

    async def record(event: Mapping[str, Any]) -> Mapping[str, Any]:
        text = event.get("ip_address")
        address = parse_address(text) if isinstance(text, str) else None
        if address is None or is_private(address):
            return {}
        claim = network_claim(address, key, locator.locate(address) if locator is not None else None)
        return {"userRecord": {"sessionClaims": {SIGN_IN_NETWORK_CLAIM: claim}, "updateMask": "sessionClaims"}}

    return record
