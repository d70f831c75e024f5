"""A session gateway for Firebase Authentication and Google Cloud Identity Platform.

The public names are those in ``__all__``; everything else may change in any release.
"""

from __future__ import annotations

from gateway.core.claims import Claims, Principal
from gateway.core.decision import Allow, Challenge, Conditions, Decision, Deny, Preflight
from gateway.core.session import NetworkLevel, Session
from gateway.errors import (
    BadSignature,
    ConfigError,
    DependencyError,
    ForbiddenAlgorithm,
    GatewayError,
    KeysUnavailable,
    MalformedToken,
    RequestError,
    RevocationUnavailable,
    TokenError,
    TokenExpired,
    TokenNotYetValid,
    UnknownKey,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnreachable,
    WrongAudience,
    WrongIssuer,
    WrongKind,
    WrongSubject,
    WrongTenant,
)
from gateway.guard import SessionGuard
from gateway.reasons import Outcome, Reason
from gateway.tokens.jws import verify_compact

__version__ = "0.1.0"

__all__ = [
    "Allow",
    "BadSignature",
    "Challenge",
    "Claims",
    "Conditions",
    "ConfigError",
    "Decision",
    "Deny",
    "DependencyError",
    "ForbiddenAlgorithm",
    "GatewayError",
    "KeysUnavailable",
    "MalformedToken",
    "NetworkLevel",
    "Outcome",
    "Preflight",
    "Principal",
    "Reason",
    "RequestError",
    "RevocationUnavailable",
    "Session",
    "SessionGuard",
    "TokenError",
    "TokenExpired",
    "TokenNotYetValid",
    "UnknownKey",
    "UpstreamError",
    "UpstreamProtocolError",
    "UpstreamTimeout",
    "UpstreamUnreachable",
    "WrongAudience",
    "WrongIssuer",
    "WrongKind",
    "WrongSubject",
    "WrongTenant",
    "__version__",
    "verify_compact",
]
