"""Who may call what: hosts, origins, API keys and the administrator's credential.

A development provider listens on loopback, where every page that the developer opens can reach it too. The rules this
file obeys (``threats.md`` rows 15 and 30; identity-toolkit.md sections 1 and 15):

* On loopback, only requests addressed to a loopback name, an IP literal or the public URL's host are served. A page
  that rebinds its own name to 127.0.0.1 is turned away (https://owasp.org/www-community/attacks/DNS_Rebinding).
* A privileged call needs ``Authorization: Bearer`` with the configured secret. Without one the emulator's ``owner``
  (or any ``ya29.`` token, as the emulator takes) is believed, but only on a loopback bind, only without a proxy in
  between, and never from a page of a foreign origin: CORS lets every page send that header.
* Client methods are open to every origin, as the SDKs need.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from gateway.core.client_ip import parse_address
from gateway.idp.errors import WireError, permission_denied, unauthenticated

OWNER: Final = "owner"
"""The emulator's administrator credential; compared without regard to case."""

OAUTH_PREFIX: Final = "ya29."
"""How Google's OAuth access tokens begin; the emulator takes any."""

_PROXY_HEADERS: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rules for one provider. ``public_host`` is the host of its public URL."""

    loopback: bool
    admin_secret: str | None
    public_host: str | None

    def check_host(self, request: web.BaseRequest) -> None:
        """Refuse a request that was addressed to somebody else.

        :raises WireError: 403.
        """
        if not self.loopback:
            return
        hosts = request.headers.getall("Host", [])
        name = _host_name(f"//{hosts[0]}") if len(hosts) == 1 else None
        if name is None or not (name == self.public_host or is_loopback(name) or parse_address(name) is not None):
            raise permission_denied("The provider listens on loopback and serves loopback names only.")

    def privileged(self, request: web.BaseRequest) -> bool:
        """Whether the request carries the administrator's credential; False when it carries none at all.

        :raises WireError: the credential is wrong (401) or comes from a foreign page (403).
        """
        values = request.headers.getall("Authorization", [])
        if not values:
            return False
        scheme, _, token = values[0].partition(" ")
        if len(values) != 1 or scheme.lower() != "bearer" or not self._believed(token.strip(), request):
            raise unauthenticated(
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                "valid authentication credential."
            )
        if not _local_origin(request):
            raise permission_denied("Privileged calls are refused from pages of a foreign origin.")
        return True

    def open_to_anyone(self, request: web.BaseRequest) -> bool:
        """Whether this caller could use the emulator's credentials as well."""
        return self._owner_accepted(request) and _local_origin(request)

    def api_key(self, request: web.BaseRequest) -> str | None:
        """The API key; any will do, as with the emulator, but there must be one on a client call."""
        return request.query.get("key") or request.headers.get("X-Goog-Api-Key") or None

    def _believed(self, token: str, request: web.BaseRequest) -> bool:
        if self.admin_secret is not None:
            return hmac.compare_digest(_octets(token), _octets(self.admin_secret))
        return self._owner_accepted(request) and (token.lower() == OWNER or token.startswith(OAUTH_PREFIX))

    def _owner_accepted(self, request: web.BaseRequest) -> bool:
        proxied = any(name in request.headers for name in _PROXY_HEADERS)
        return self.loopback and self.admin_secret is None and not proxied


def missing_credential(*, project_named: bool) -> WireError:
    """What a call without API key and credential is told."""
    if project_named:
        return unauthenticated(
            "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or "
            "other valid authentication credential."
        )
    return permission_denied("The request is missing a valid API key.")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine itself (RFC 6761 section 6.3 for the names)."""
    name = host.lower().rstrip(".")
    address = parse_address(name)
    if address is not None:
        return address.is_loopback
    return name == "localhost" or name.endswith(".localhost")


def _local_origin(request: web.BaseRequest) -> bool:
    """Whether no page sent the request, or one that lives on this machine."""
    origins = request.headers.getall("Origin", [])
    if not origins:
        return request.headers.get("Sec-Fetch-Site", "none") in {"none", "same-origin"}
    name = _host_name(origins[0]) if len(origins) == 1 else None
    return name is not None and is_loopback(name)


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
