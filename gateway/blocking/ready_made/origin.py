"""Where somebody signs in from (blocking-functions.md scenarios 4.5 and 4.7).

The rule this file obeys: **an address that cannot be read is refused where addresses decide**, and recorded nowhere.
IPv4 addresses written as IPv6 are the IPv4 addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.blocking.builtin import SIGN_IN_IP_CLAIM, record_sign_in_network
from gateway.blocking.https_error import ErrorCode, HttpsError
from gateway.blocking.model import EventContext, User
from gateway.blocking.ready_made.addresses import Function
from gateway.core.client_ip import IPNetwork, parse_address
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.core.ports import GeoLocator

UNAUTHORIZED: Final = "Unauthorized access!"


def refuse_networks(networks: Iterable[str]) -> Function:
    """Refuse whoever comes from these networks (beforeSignIn; at beforeCreate too, so that no account is left behind).

    :param networks: blocks in CIDR notation or single addresses, IPv4 and IPv6.
    :raises ConfigError: one of them is no network.
    """
    refused: list[IPNetwork] = []
    for text in networks:
        try:
            refused.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ConfigError("refuse_networks", f"{text!r} is no network: {error}", '"198.51.100.0/24"') from None

    async def refuse(user: User, context: EventContext) -> None:  # noqa: ARG001 - the signature of functions
        address = parse_address(context.ip_address or "")
        if address is None or any(address in network for network in refused if network.version == address.version):
            raise HttpsError(ErrorCode.PERMISSION_DENIED, UNAUTHORIZED)

    return refuse


def track_sign_in_ip() -> Function:
    """Put the address of a sign-in into the tokens of the session, as ``signInIpAddress`` (beforeSignIn).

    The gateway compares it with the address of each request (``network`` in its configuration).
    """

    async def track(user: User, context: EventContext) -> Mapping[str, Any] | None:  # noqa: ARG001 - the signature of functions
        if parse_address(context.ip_address or "") is None:
            return None
        return {"session_claims": {SIGN_IN_IP_CLAIM: context.ip_address}}

    return track


def track_sign_in_network(key: bytes, locator: GeoLocator | None = None) -> Function:
    """The same without the address: a keyed hash of its network, as ``signInNetwork`` (beforeSignIn).

    Whoever can read the token, the page's scripts among them, learns no address from it.

    :param key: 16 bytes or more, the gateway's ``network.claim_key``.
    :param locator: tells operator and country, which are added when known.
    :raises ConfigError: the key is too short.
    """
    try:
        record = record_sign_in_network(key, locator)
    except ValueError as error:
        raise ConfigError("track_sign_in_network", str(error), "openssl rand -base64 24") from None

    async def track(user: User, context: EventContext) -> Mapping[str, Any] | None:  # noqa: ARG001 - the signature of functions
        answer = await record({"ip_address": context.ip_address})
        claims = answer.get("userRecord", {}).get("sessionClaims")
        return {"session_claims": claims} if claims else None

    return track
