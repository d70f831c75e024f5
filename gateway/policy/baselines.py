"""Where a session began, as its token tells: the plain address, or a keyed hash of its network.

The rule this file obeys: *a claim is read exactly or not at all.* The claim stands in a signed token, so whatever is
malformed is so by mistake; it is then like an absent claim and never an address by guesswork.

The plain form is ``signInIpAddress``, the text of one address. Every script that holds the token can read it. The
private form is ``signInNetwork``, an object that takes the place of the address::

    {"family": 4, "network": "n0Yk…", "asn": 64496, "country": "DE"}

``network`` is HMAC-SHA-256 (RFC 2104) over the network in CIDR text, cut to 128 bits (RFC 2104 section 5 allows half)
and written in base64url. Without the key nobody can try all 16 million IPv4 networks. ``asn`` and ``country`` are there
when a database was at hand at sign-in.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.core.client_ip import IPAddress, IPNetwork, parse_address
from gateway.core.network import (
    IPV4,
    IPV4_PREFIX,
    IPV6,
    IPV6_PREFIX,
    NetworkKey,
    Place,
    is_private,
    network_of,
    private_key,
    public_key,
)

SIGN_IN_NETWORK_CLAIM: Final = "signInNetwork"
"""The session claim of the private form."""

MIN_KEY: Final = 16
"""Bytes of a key: 128 bits of security at least (NIST SP 800-107 section 5.3.4)."""

_DIGEST_BYTES: Final = 16
_DIGEST_TEXT: Final = 22  # base64url of 16 bytes without padding
_MAX_ASN: Final = 2**32 - 1  # RFC 6793
_COUNTRY: Final = 2
_CACHED: Final = 4096
"""Claims whose reading is remembered: a few hundred bytes each."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The network of a sign-in.

    ``address`` is the exact address where it is known; ``key`` is None in the private form, which has a ``digest``
    instead; ``probe`` is an address to ask databases about; ``place`` is what the claim itself says.
    """

    family: int
    address: IPAddress | None
    key: NetworkKey | None
    private: bool
    probe: IPAddress | None
    digest: str = ""
    place: Place | None = None

    def is_same(self, client: IPAddress, key: bytes | None, *, exact: bool) -> bool:
        """Whether ``client`` is on this network; with ``exact``, at this very address."""
        if self.address is client or (self.address is not None and self.address == client):
            return True
        if exact or self.private or self.family != client.version or is_private(client):
            return False
        if self.key is not None:
            return self.key == public_key(client)
        return key is not None and hmac.compare_digest(self.digest, network_digest(client, key))


def network_digest(address: IPAddress, key: bytes) -> str:
    """Keyed hash of the address's network."""
    code = hmac.new(key, str(network_of(address)).encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(code[:_DIGEST_BYTES]).decode().rstrip("=")


def network_claim(address: IPAddress, key: bytes, place: Place | None) -> dict[str, Any]:
    """The value of :data:`SIGN_IN_NETWORK_CLAIM` for a sign-in: 85 characters of JSON at most.

    Not for private addresses: nothing is compared with them.

    :raises ValueError: the key has less than :data:`MIN_KEY` bytes.
    """
    if len(key) < MIN_KEY:
        raise ValueError(f"the key of {SIGN_IN_NETWORK_CLAIM} needs {MIN_KEY} bytes")
    claim: dict[str, Any] = {"family": address.version, "network": network_digest(address, key)}
    if place is not None and place.asn is not None:
        claim["asn"] = place.asn
    if place is not None and place.country is not None:
        claim["country"] = place.country
    return claim


def origin_of(plain: object, hashed: object) -> Origin | None:
    """Read the two claims; the plain one wins. None when neither can be read."""
    origin = _plain(plain) if isinstance(plain, str) else None
    if origin is None and hashed is not None:
        return _hashed(hashed)
    return origin


def origin_at(network: IPNetwork, address: IPAddress | None) -> Origin:
    """The origin of a recorded session, of which the network is known and perhaps the address."""
    probe = address or network.network_address
    private = is_private(probe)
    key = private_key(probe) if private else public_key(probe)
    return Origin(network.version, address, key, private, probe)


@functools.lru_cache(maxsize=_CACHED)
def _plain(text: str) -> Origin | None:
    address = parse_address(text)
    if address is None:
        return None
    private = is_private(address)
    return Origin(address.version, address, private_key(address) if private else public_key(address), private, address)


def _hashed(value: object) -> Origin | None:
    if not isinstance(value, Mapping):
        return None
    family, digest = value.get("family"), value.get("network")
    if type(family) is not int or family not in {IPV4, IPV6}:
        return None
    if not isinstance(digest, str) or len(digest) != _DIGEST_TEXT or not digest.isascii():
        return None
    asn, country = value.get("asn"), value.get("country")
    place = Place(
        asn if type(asn) is int and 0 < asn <= _MAX_ASN else None,
        country if isinstance(country, str) and len(country) == _COUNTRY and country.isascii() else None,
    )
    return Origin(family, None, None, private=False, probe=None, digest=digest, place=place)


def recorded(origin: Origin | None) -> str | dict[str, Any] | None:
    """An origin as the decision log keeps it: the network, never the whole address.

    A private address is its own network and tells nothing about where somebody is.
    """
    if origin is None:
        return None
    if origin.key is None:
        place = origin.place or Place()
        return {
            "family": origin.family,
            "network": origin.digest,
            **({"asn": place.asn} if place.asn is not None else {}),
            **({"country": place.country} if place.country is not None else {}),
        }
    assert origin.probe is not None
    return str(ipaddress.ip_network(origin.probe) if origin.private else network_of(origin.probe))


def read_record(value: object, client: IPAddress | None, *, exact: bool) -> Origin | None:
    """The reverse of :func:`recorded`. ``exact``: ``client`` was the sign-in's very address."""
    if isinstance(value, Mapping):
        return _hashed(value)
    if not isinstance(value, str):
        return None
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        return None
    if network.prefixlen not in {IPV4_PREFIX, IPV6_PREFIX, network.max_prefixlen}:
        return None
    single = network.network_address if network.prefixlen == network.max_prefixlen else None
    return origin_at(network, client if exact else single)
