"""Which hosts are a cloud's metadata service, which hands out credentials to whoever can make a server ask it.

The rule this file obeys (``threats.md`` row 29): a gateway never forwards there, whatever its configuration says.
"""

from __future__ import annotations

import ipaddress
from typing import Final

_LINK_LOCAL: Final = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fe80::/10"))
_KNOWN: Final = frozenset({"metadata", "metadata.google.internal", "instance-data", "fd00:ec2::254"})
"""Names, and the one address outside the link-local blocks (Amazon EC2 over IPv6)."""


def is_metadata(host: str) -> bool:
    """Whether ``host``, a name or an address without brackets, is one that clouds give their metadata service."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.rstrip(".").lower() in _KNOWN
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address) in _KNOWN or any(address in network for network in _LINK_LOCAL)
