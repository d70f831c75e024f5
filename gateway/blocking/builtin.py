"""Ready-made functions.

A function takes an event and answers with the body of a 200 reply (blocking-functions.md sections 1.6 and 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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
