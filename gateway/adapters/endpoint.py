"""Addresses of the services that the gateway asks: which ones may be configured.

The rule this file obeys: whoever can change the answer of a key or account endpoint can sign in as anybody, so such
an endpoint is reached over TLS, or over plain HTTP on this machine only (development, sidecar). Nothing in the
address is a secret, so that it may appear in logs. Link-local addresses, where clouds keep their metadata services,
are refused.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gateway.errors import ConfigError

_MAX_URL_LENGTH: Final = 2048
"""Characters; the usual limit of clients and proxies."""


def checked_endpoint(url: str, where: str) -> str:
    """``url`` itself, when it may be used.

    :param where: path of the configuration key, for the error.
    :raises ConfigError: not an ``https`` URL (or ``http`` to a loopback address) without user, password and fragment.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise ConfigError(where, "is not a URL", "for example https://www.googleapis.com/...") from None
    if len(url) > _MAX_URL_LENGTH or any(not "!" <= character <= "~" for character in url) or not host:
        raise ConfigError(where, "is not a URL", "for example https://www.googleapis.com/...")
    if "@" in parts.netloc or parts.fragment:
        raise ConfigError(
            where, "must not hold a user, a password or a fragment", "credentials have a key of their own"
        )
    _check_scheme(parts, host, where)
    return url


def is_loopback_host(host: str) -> bool:
    """Whether ``host``, a name or an address without brackets, is this machine by definition (RFC 6761 section 6.3)."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _check_scheme(parts: SplitResult, host: str, where: str) -> None:
    if parts.scheme not in {"http", "https"}:
        raise ConfigError(where, "is neither an https nor an http URL", "for example https://www.googleapis.com/...")
    if parts.scheme == "http" and not is_loopback_host(host):
        raise ConfigError(
            where,
            f"plain http to {host} would let the network answer in the issuer's name",
            "use https, or http on localhost only",
        )
    try:
        link_local = ipaddress.ip_address(host).is_link_local
    except ValueError:
        return
    if link_local:
        raise ConfigError(where, f"{host} is a link-local address", "name the service itself")
