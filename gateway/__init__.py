"""A session gateway for Firebase Authentication and Google Cloud Identity Platform.

The public names are those in ``__all__``; everything else may change in any release.
"""

from __future__ import annotations

import importlib
import typing

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

if typing.TYPE_CHECKING:
    from gateway.assertions import AssertionVerifier
    from gateway.middleware import (
        optional,
        public,
        require,
        session_ended,
        session_middleware,
        session_of,
    )
    from gateway.wiring.application import setup

__version__ = "0.1.0"

_LATE: typing.Final = {
    "AssertionVerifier": "gateway.assertions",
    "optional": "gateway.middleware",
    "public": "gateway.middleware",
    "require": "gateway.middleware",
    "session_ended": "gateway.middleware",
    "session_middleware": "gateway.middleware",
    "session_of": "gateway.middleware",
    "setup": "gateway.wiring.application",
}
"""Names that bring aiohttp and more with them: imported when they are first asked for."""


def __getattr__(name: str) -> typing.Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_LATE[name]), name)
    globals()[name] = found
    return found


__all__ = [
    "Allow",
    "AssertionVerifier",
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
    "optional",
    "public",
    "require",
    "session_ended",
    "session_middleware",
    "session_of",
    "setup",
    "verify_compact",
]
