"""Exactly one credential of each carrier, or none.

The rules this file obeys (``threats.md`` row 12, RFC 6750 section 2.1, RFC 9110 section 11.6.2, RFC 6265 sections 4.1.3
and 5.4):

* A bearer token is taken from the ``Authorization`` field alone, never from a query or body; the field stands once; its
  value is ``Bearer``, one space and one token in the ``b64token`` alphabet that our tokens use. More than one is
  refused rather than one of them chosen, since a backend might choose the other.
* A cookie counts under its exact name, which is ``__Host-`` prefixed except on plain http on this machine, so that no
  sibling host can set it. Two cookies of the same name are refused likewise: one of them was planted. An empty one is
  none.
* The bearer token comes first. An ``Authorization`` of another scheme is a credential of the application's own and no
  choice between two of ours, so a cookie may stand beside it.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway import reasons
from gateway.core.context import Headers
from gateway.reasons import Reason


class Carrier(enum.StrEnum):
    """What a credential came in. A browser adds cookies by itself, which makes them *ambient* (threats.md row 33)."""

    BEARER = "bearer"
    COOKIE = "cookie"
    """The gateway's session cookie."""
    SDK_COOKIE = "sdk_cookie"
    """The ID-token cookie of the Firebase SDK's ``browserCookiePersistence``."""

    @property
    def ambient(self) -> bool:
        """Whether a browser sends it unasked, also for a foreign page."""
        return self is not Carrier.BEARER


class Credential(NamedTuple):
    """The raw string found in a request, not yet trusted. ``cookie`` is the name of the cookie it came in, if any."""

    carrier: Carrier
    token: str
    cookie: str = ""

    def __repr__(self) -> str:
        # A repr that lands in a log names no token.
        return f"Credential({self.carrier}, cookie={self.cookie!r})"


@dataclass(frozen=True, slots=True)
class CookieName:
    """What a carrier's cookie is called: ``secure`` over https, ``local`` over plain http on this machine.

    ``local`` matters because a browser takes a ``__Host-`` cookie over https only.
    """

    carrier: Carrier
    secure: str
    local: str

    def on(self, scheme: str, host: str) -> str:
        """The name on a site; ``scheme`` and ``host`` are the client's, ``host`` with or without a port."""
        return self.local if is_local_http(scheme, host) else self.secure


def is_local_http(scheme: str, host: str) -> bool:
    """Whether the site is plain http on this machine, where browsers grant a secure context without TLS.

    W3C Secure Contexts section 3.1; RFC 6761 section 6.3 for names below ``localhost``.
    """
    if scheme != "http":
        return False
    name, colon, port = host.rpartition(":")
    if not (colon and port.isdecimal()):
        name = host
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if not name.startswith(("127.", "[")):
        return False
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


_SCHEME: Final = b"bearer "
# RFC 6750 b64token without the "=" that may stand at its end; no comma, no space, so a list or a trailing word is none.
# The dots of compact JWS are in it.
_B64TOKEN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"


def find_credential(headers: Headers) -> str | Reason | None:
    """The bearer token of a request.

    :returns: the token as text; a :class:`Reason` (``credential_ambiguous`` or ``credential_unsupported``) when the
        field is there but is not exactly one bearer token; None when there is no such field.
    """
    values = headers.octets(b"authorization")
    if not values:
        return None
    if len(values) > 1:
        return reasons.CREDENTIAL_AMBIGUOUS
    value = values[0]
    if value[: len(_SCHEME)].lower() == _SCHEME:
        token = value[len(_SCHEME) :]
        letters = token.rstrip(b"=")
        if letters and not letters.translate(None, _B64TOKEN):
            return token.decode("ascii")
    if b"," in value and value.lower().count(_SCHEME) > 1:
        return reasons.CREDENTIAL_AMBIGUOUS
    return reasons.CREDENTIAL_UNSUPPORTED


def cookie_values(headers: Headers, name: str) -> list[str]:
    """Every value of the cookie ``name``, in order, empty ones too."""
    found: list[str] = []
    for line in headers.all(b"cookie"):
        if name in line:
            pairs = (pair.partition("=") for pair in line.split(";"))
            found += [value.strip(" \t") for key, _, value in pairs if key.strip(" \t") == name]
    return found


def find_cookie(headers: Headers, name: str) -> str | Reason | None:
    """The value of the cookie ``name``.

    :returns: the value; ``credential_ambiguous`` when it stands twice; None when it is absent or empty.
    """
    values = cookie_values(headers, name)
    if len(values) > 1:
        return reasons.CREDENTIAL_AMBIGUOUS
    return (values[0] or None) if values else None


def find_credentials(
    headers: Headers, cookies: Sequence[CookieName], scheme: str, host: str
) -> list[Credential] | Reason | None:
    """Every credential of a request, the one that counts first.

    :param cookies: the carriers that are in use beside the bearer token, in order of precedence.
    :param scheme: ``http`` or ``https``, as the client used it.
    :returns: a :class:`Reason` when one of them stands twice, or when the only one is no bearer token; None when there
    is
        none at all.
    """
    bearer = find_credential(headers)
    if isinstance(bearer, Reason) and not (bearer is reasons.CREDENTIAL_UNSUPPORTED and _other_scheme(headers)):
        return bearer
    found = [Credential(Carrier.BEARER, bearer)] if isinstance(bearer, str) else []
    for kind in cookies if cookies and b"cookie" in headers else ():
        name = kind.on(scheme, host)
        value = find_cookie(headers, name)
        if isinstance(value, Reason):
            return value
        if value is not None:
            found.append(Credential(kind.carrier, value, name))
    if found:
        return found
    return bearer if isinstance(bearer, Reason) else None


def why_absent(headers: Headers) -> Reason:
    """Why there is no credential: the worker reports a failed renewal, everything else is simply not signed in."""
    fetch = headers.one(b"x-gateway-fetch")
    failed = fetch is not None and "token=failed" in (part.strip() for part in fetch.split(","))
    return reasons.TOKEN_REFRESH_FAILED if failed else reasons.SIGN_IN_REQUIRED


def _other_scheme(headers: Headers) -> bool:
    scheme, space, rest = headers.all(b"authorization")[0].partition(" ")
    return bool(space and rest) and scheme.lower() != "bearer"
