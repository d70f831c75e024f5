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

A genuine token of another kind (custom token, session cookie, blocking-function event) fails ``iss`` or ``aud``; they
are told apart for the log. Booleans are numbers to Python and are not numbers here. Session cookies are read by the
same lines with another issuer (:mod:`gateway.tokens.session_cookie`); neither kind passes as the other (OWASP ASVS
9.2.2).
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.core.claims import Claims, Principal, make_claims
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

_NO_MEMBERS: Final[dict[str, Any]] = {}
_SUBJECT: Final = re.compile(r"[!-~]{1,128}", re.ASCII)


class Kind(enum.StrEnum):
    """What a token is for. The issuer tells, and no kind passes as another."""

    ID_TOKEN = "id_token"  # noqa: S105 - the name of a kind
    SESSION_COOKIE = "session_cookie"


_PREFIXES: Final = {Kind.ID_TOKEN: ISSUER_PREFIX, Kind.SESSION_COOKIE: SESSION_COOKIE_ISSUER_PREFIX}


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token of one kind must say. ``tenants`` empty: users of the project itself only. ``skew`` is in seconds.

    ``issuer`` is the one issuer that is accepted; ``foreign_issuers`` are those of the project's other kinds.
    """

    project: str
    tenants: frozenset[str] = frozenset()
    skew: int = DEFAULT_SKEW
    kind: Kind = Kind.ID_TOKEN
    issuer: str = field(init=False)
    foreign_issuers: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        issuers = {kind: prefix + self.project for kind, prefix in _PREFIXES.items()}
        object.__setattr__(self, "issuer", issuers.pop(self.kind))
        object.__setattr__(self, "foreign_issuers", frozenset(issuers.values()))

    @property
    def identity(self) -> bytes:
        """These rules in bytes: two rules that could judge a token differently never share them."""
        return repr((str(self.kind), self.project, sorted(self.tenants), self.skew)).encode("utf-8")


IdTokenRules = TokenRules
"""Rules of ID tokens, the default kind."""


def read_claims(payload: Mapping[str, Any], rules: TokenRules, now: float) -> Claims:
    """Judge the payload of a token; the caller vouches for its signature.

    :param now: wall-clock seconds since the epoch.
    :raises TokenError: the leaf names the first rule that failed.
    """
    get = payload.get
    issuer, audience = get("iss"), get("aud")
    if not isinstance(issuer, str) or issuer != rules.issuer:
        raise _of_another_kind(issuer, audience, rules) or WrongIssuer("iss is not this project's issuer")
    if not isinstance(audience, str) or audience != rules.project:
        # A blocking-function event has our issuer and our keys; its audience is the function's URL.
        raise (
            WrongKind("a blocking-function event")
            if "event_type" in payload
            else WrongAudience("aud is not this project")
        )
    expires_at = get("exp")
    if type(expires_at) is not int or expires_at < 0:  # never a bool, whose type is its own
        expires_at = _seconds(expires_at, "exp")
    if expires_at <= now:
        raise TokenExpired("exp has passed")
    latest = now + rules.skew
    issued_at, auth_time = get("iat"), get("auth_time")
    if type(issued_at) is not int or issued_at < 0:
        issued_at = _seconds(issued_at, "iat")
    if type(auth_time) is not int or auth_time < 0:
        auth_time = _seconds(auth_time, "auth_time")
    if issued_at > latest or auth_time > latest:
        raise TokenNotYetValid("iat or auth_time is in the future")
    if "nbf" in payload and _seconds(payload["nbf"], "nbf") > latest:
        raise TokenNotYetValid("nbf is in the future")
    uid = get("sub")
    if not isinstance(uid, str) or _SUBJECT.fullmatch(uid) is None:
        raise WrongSubject("sub is not 1 to 128 visible ASCII characters")
    if get("user_id", uid) != uid:
        raise WrongSubject("user_id differs from sub")
    firebase = get("firebase", _NO_MEMBERS)
    if not isinstance(firebase, dict):
        raise MalformedToken("the firebase claim is not an object")
    email, name = get("email"), get("name")
    provider, second_factor = firebase.get("sign_in_provider"), firebase.get("sign_in_second_factor")
    return make_claims(
        Principal(rules.project, _tenant(firebase, rules), uid),
        issued_at,
        expires_at,
        auth_time,
        email if isinstance(email, str) else None,
        get("email_verified") is True,
        name if isinstance(name, str) else None,
        provider if isinstance(provider, str) else None,
        second_factor if isinstance(second_factor, str) else None,
        get("signInIpAddress"),
        payload,
    )


def _of_another_kind(issuer: object, audience: object, rules: TokenRules) -> WrongKind | None:
    """What a token from another issuer is, when it is a kind of token that we know."""
    if isinstance(audience, str) and audience == CUSTOM_AUDIENCE:
        return WrongKind("a custom token: exchange it for an ID token first")
    if isinstance(issuer, str) and issuer in rules.foreign_issuers:
        return WrongKind(f"a token of another kind where {rules.kind} belongs")
    return None


def _seconds(value: object, name: str) -> int:
    if type(value) is int and value >= 0:  # never a bool, whose type is its own
        return value
    if not isinstance(value, float) or not math.isfinite(value) or value < 0:
        raise MalformedToken(f"{name} is not a number of seconds")
    return int(value)


def _tenant(firebase: Mapping[str, Any], rules: TokenRules) -> str | None:
    tenant = firebase.get("tenant")
    if tenant is None:
        if rules.tenants:
            raise WrongTenant("the token belongs to no tenant")
        return None
    if not isinstance(tenant, str) or tenant not in rules.tenants:
        raise WrongTenant("the token's tenant is not among the configured ones")
    return tenant
