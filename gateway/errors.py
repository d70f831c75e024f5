"""Every exception the gateway raises on purpose, in one tree.

Expected refusals of a request are *values* (:mod:`gateway.core.decision`). An exception means that something is
malformed or broken, and its type says whose fault that is; the HTTP status follows from the type, never from the text::

    GatewayError
    ├─ ConfigError                   the operator's           exit status 2
    ├─ RequestError                  the caller's             400 413 414 431
    ├─ TokenError                    the caller's             401
    │  ├─ MalformedToken             not a compact JWS that we read, or oversized
    │  ├─ ForbiddenAlgorithm         anything but RS256
    │  ├─ UnknownKey                 `kid` names no published key
    │  ├─ BadSignature
    │  ├─ WrongKind                  a custom token, session cookie or event where an ID token belongs
    │  ├─ WrongIssuer · WrongAudience · WrongTenant · WrongSubject
    │  └─ TokenExpired · TokenNotYetValid
    ├─ DependencyError               a service of ours        503, fail closed
    │  ├─ KeysUnavailable
    │  └─ RevocationUnavailable
    └─ UpstreamError                 the backend's            502 504
       ├─ UpstreamUnreachable
       ├─ UpstreamTimeout
       └─ UpstreamProtocolError

The text of a :class:`TokenError` is for the operator's log. It never holds any part of the token and never reaches a
client: what a client may know is the :class:`~gateway.reasons.Reason` that each leaf carries.
"""

from __future__ import annotations

from typing import ClassVar

from gateway import reasons
from gateway.reasons import Reason


class GatewayError(Exception):
    """Base of every exception that the gateway raises on purpose."""


class ConfigError(GatewayError):
    """The configuration cannot be used.

    ``where`` is the path of the offending key (``$.route[2].upstream``) or a file name, ``what`` the fault and
    ``hint`` what to try, each one line.
    """

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        self.where = where
        self.what = what
        self.hint = hint
        super().__init__(f"{where}: {what}" + (f" ({hint})" if hint else ""))


class RequestError(GatewayError):
    """The request itself is malformed or ambiguous, whoever sent it; ``reason`` gives the status."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail or reason.id)


class TokenError(GatewayError):
    """A token was refused. Leaves fix the reason; the text names the rule, never a part of the token."""

    reason: ClassVar[Reason] = reasons.TOKEN_MALFORMED


class MalformedToken(TokenError):
    """Not a compact JWS of the shape and size that we read (RFC 7515 section 7.1, RFC 8725 section 3)."""


class ForbiddenAlgorithm(TokenError):
    """The header's ``alg`` is not the string ``RS256``."""

    reason = reasons.TOKEN_ALGORITHM


class UnknownKey(TokenError):
    """``kid`` names no key that the issuer publishes."""

    reason = reasons.TOKEN_KEY_UNKNOWN


class BadSignature(TokenError):
    """The signature is not the named key's over these bytes."""

    reason = reasons.TOKEN_SIGNATURE


class WrongKind(TokenError):
    """A genuine token of another kind: custom token, session cookie, blocking-function event."""

    reason = reasons.TOKEN_KIND


class WrongIssuer(TokenError):
    """``iss`` is not the exact issuer of this project."""

    reason = reasons.TOKEN_ISSUER


class WrongAudience(TokenError):
    """``aud`` is not the exact project id."""

    reason = reasons.TOKEN_AUDIENCE


class WrongTenant(TokenError):
    """``firebase.tenant`` is not one that the configuration allows."""

    reason = reasons.TOKEN_TENANT


class WrongSubject(TokenError):
    """``sub`` is not 1 to 128 visible ASCII characters, or differs from ``user_id``."""

    reason = reasons.TOKEN_SUBJECT


class TokenExpired(TokenError):
    """``exp`` has passed."""

    reason = reasons.TOKEN_EXPIRED


class TokenNotYetValid(TokenError):
    """``iat``, ``nbf`` or ``auth_time`` lies in the future by more than the configured skew."""

    reason = reasons.TOKEN_NOT_YET_VALID


class DependencyError(GatewayError):
    """A service that the judgement needs does not answer. ``retry_after`` is in seconds."""

    reason: ClassVar[Reason] = reasons.KEYS_UNAVAILABLE

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class KeysUnavailable(DependencyError):
    """No usable signing certificates: never fetched, or too old."""


class RevocationUnavailable(DependencyError):
    """The account service does not answer and nothing recent enough is known of this user."""

    reason = reasons.REVOCATION_UNAVAILABLE


class UpstreamError(GatewayError):
    """The backend failed us."""

    reason: ClassVar[Reason] = reasons.UPSTREAM_UNREACHABLE


class UpstreamUnreachable(UpstreamError):
    """No connection to any address of the upstream."""


class UpstreamTimeout(UpstreamError):
    """The upstream accepted the request and stayed silent past its deadline."""

    reason = reasons.UPSTREAM_TIMEOUT


class UpstreamProtocolError(UpstreamError):
    """The upstream's answer is not HTTP that may be passed on."""

    reason = reasons.UPSTREAM_PROTOCOL
