"""Firebase ID tokens: which payloads are a session.

The rules this file obeys, from Google's page "Verify ID tokens using a third-party JWT library" and ``threats.md`` rows
8 to 11; each is one line of :func:`read_claims`:

=============  =======================================================================================================
claim          must be
=============  =======================================================================================================
``iss``        exactly ``https://securetoken.google.com/<project>``: no prefix, other scheme, case or list
``aud``        exactly the project id, as one string
``sub``        1 to 128 visible ASCII characters; equal to ``user_id`` where that stands
``exp``        a finite number, in the future. No leniency: clients renew five minutes ahead, so none is needed
``iat``        a finite number, not in the future by more than the skew
``auth_time``  likewise. Google demands it, firebase-admin for Python does not check it; revocation stands on it
``nbf``        where it stands, likewise
tenant         ``firebase.tenant`` is absent when no tenants are configured, else one of the configured
=============  =======================================================================================================

A genuine token of another kind (custom token, session cookie, blocking-function event) fails ``iss`` or ``aud``; the
first two are told apart for the log. Booleans are numbers to Python and are not numbers here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.core.claims import Claims, Principal
from gateway.errors import (
    MalformedToken,
    TokenExpired,
    TokenNotYetValid,
    WrongAudience,
    WrongIssuer,
    WrongKind,
    WrongSubject,
    WrongTenant,
)

ISSUER_PREFIX: Final = "https://securetoken.google.com/"
SESSION_COOKIE_ISSUER_PREFIX: Final = "https://session.firebase.google.com/"
CUSTOM_AUDIENCE: Final = "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"

MAX_SUBJECT_LENGTH: Final = 128
"""Characters (firebase-admin, ``validate_uid``)."""

DEFAULT_SKEW: Final = 10
"""Seconds that the issuer's clock may be ahead of ours. Google's SDKs default to 0, which refuses honest tokens by a
second's difference; they allow 60 at most, and so does the configuration."""

MAX_SKEW: Final = 300
"""Seconds; the largest skew that may be configured."""

_SUBJECT: Final = re.compile(r"[!-~]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class IdTokenRules:
    """What an ID token must say. ``tenants`` empty: users of the project itself only. ``skew`` is in seconds."""

    project: str
    tenants: frozenset[str] = frozenset()
    skew: int = DEFAULT_SKEW

    @property
    def issuer(self) -> str:
        """The one issuer that is accepted."""
        return ISSUER_PREFIX + self.project


def read_claims(payload: Mapping[str, Any], rules: IdTokenRules, now: float) -> Claims:
    """Judge the payload of a token; the caller vouches for its signature.

    :param now: wall-clock seconds since the epoch.
    :raises TokenError: the leaf names the first rule that failed.
    """
    if payload.get("aud") == CUSTOM_AUDIENCE:
        raise WrongKind("a custom token: exchange it for an ID token first")
    if payload.get("iss") == SESSION_COOKIE_ISSUER_PREFIX + rules.project:
        raise WrongKind("a session cookie presented as a bearer token")
    if not _is_exactly(payload.get("iss"), rules.issuer):
        raise WrongIssuer("iss is not this project's issuer")
    if not _is_exactly(payload.get("aud"), rules.project):
        # A blocking-function event has our issuer and our keys; its audience is the function's URL.
        raise (
            WrongKind("a blocking-function event")
            if "event_type" in payload
            else WrongAudience("aud is not this project")
        )
    expires_at = _seconds(payload, "exp")
    if expires_at <= now:
        raise TokenExpired("exp has passed")
    latest = now + rules.skew
    issued_at = _seconds(payload, "iat")
    auth_time = _seconds(payload, "auth_time")
    if issued_at > latest or auth_time > latest:
        raise TokenNotYetValid("iat or auth_time is in the future")
    if "nbf" in payload and _seconds(payload, "nbf") > latest:
        raise TokenNotYetValid("nbf is in the future")
    uid = payload.get("sub")
    if not isinstance(uid, str) or _SUBJECT.fullmatch(uid) is None:
        raise WrongSubject("sub is not 1 to 128 visible ASCII characters")
    if payload.get("user_id", uid) != uid:
        raise WrongSubject("user_id differs from sub")
    firebase = payload.get("firebase", {})
    if not isinstance(firebase, dict):
        raise MalformedToken("the firebase claim is not an object")
    tenant = _tenant(firebase, rules)
    return Claims(
        principal=Principal(rules.project, tenant, uid),
        issued_at=issued_at,
        expires_at=expires_at,
        auth_time=auth_time,
        email=_text(payload, "email"),
        email_verified=payload.get("email_verified") is True,
        name=_text(payload, "name"),
        sign_in_provider=_text(firebase, "sign_in_provider"),
        second_factor=_text(firebase, "sign_in_second_factor"),
        sign_in_ip=payload.get("signInIpAddress"),
        payload=payload,
    )


def _is_exactly(value: object, expected: str) -> bool:
    return isinstance(value, str) and value == expected


def _seconds(payload: Mapping[str, Any], name: str) -> int:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise MalformedToken(f"{name} is not a number of seconds")
    return int(value)


def _tenant(firebase: Mapping[str, Any], rules: IdTokenRules) -> str | None:
    tenant = firebase.get("tenant")
    if tenant is None:
        if rules.tenants:
            raise WrongTenant("the token belongs to no tenant")
        return None
    if not isinstance(tenant, str) or tenant not in rules.tenants:
        raise WrongTenant("the token's tenant is not among the configured ones")
    return tenant


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    return value if isinstance(value, str) else None
