"""Nobody comes from these networks. By configuration: ``functions.refused_networks``."""

from __future__ import annotations

import ipaddress

from gateway.blocking import BlockingFunctions, EventContext, HttpsError, User

REFUSED = ipaddress.ip_network("198.51.100.0/24")
functions = BlockingFunctions("my-project")


@functions.before_create
@functions.before_sign_in
def refuse(user: User, context: EventContext) -> None:  # noqa: ARG001 - the signature of functions
    """Refuse at registration too, so that no account is left behind; an IPv4 address may be written as IPv6."""
    address = ipaddress.ip_address(context.ip_address or "::")
    if (getattr(address, "ipv4_mapped", None) or address) in REFUSED:
        raise HttpsError("permission-denied", "Unauthorized access!")
