"""The closed table of reasons.

Every answer the gateway gives carries one of these. A reason's ``id`` is stable: it appears in logs, metrics, problem
documents, the login page and the documentation (``docs/reference/reasons.md``, one heading each). Adding one is a
minor release, renaming one a major release. Nothing else in the code chooses a status.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

BearerError = Literal["invalid_request", "invalid_token", "insufficient_scope", "insufficient_user_authentication"]
"""RFC 6750 section 3.1 and, the last, RFC 9470 section 3. A request that brought no credential gets a challenge without
one (RFC 6750 section 3)."""


class Outcome(enum.StrEnum):
    """What kind of answer a reason belongs to."""

    ALLOW = "allow"
    CHALLENGE = "challenge"
    DENY = "deny"


class Level(enum.StrEnum):
    """How loudly a decision with this reason is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Reason:
    """One row of the table.

    ``status`` is the HTTP status when the answer is not a page redirect (0 for ``ALLOW``: the backend chooses);
    ``bearer_error`` goes into ``WWW-Authenticate``; ``title`` and ``advice`` are what a person reads;
    ``sign_out`` says that the browser's session can never become good again, so the login page signs it out first;
    ``step_up`` that the session is good and its owner is asked for more proof.
    """

    id: str
    outcome: Outcome
    status: int
    title: str
    advice: str = ""
    level: Level = Level.INFO
    bearer_error: BearerError | None = None
    sign_out: bool = False
    step_up: bool = False

    @property
    def anchor(self) -> str:
        """The heading of this reason in ``docs/reference/reasons.md``."""
        return self.id.replace("_", "-")

    @property
    def type_uri(self) -> str:
        """Problem type (RFC 9457 section 3.1.1): a tag URI (RFC 4151), an identifier that nobody needs to fetch."""
        return f"tag:session-gateway,2026:reason/{self.id}"


TABLE: Final[dict[str, Reason]] = {}


def _row(reason: Reason) -> Reason:
    if reason.id in TABLE:
        raise ValueError(f"reason {reason.id!r} is defined twice")
    TABLE[reason.id] = reason
    return reason


def _allow(id_: str, title: str) -> Reason:
    return _row(Reason(id_, Outcome.ALLOW, 0, title, level=Level.DEBUG))


def _challenge(
    id_: str,
    title: str,
    advice: str = "Sign in again.",
    *,
    bearer_error: BearerError | None = "invalid_token",
    level: Level = Level.INFO,
    sign_out: bool = False,
) -> Reason:
    return _row(Reason(id_, Outcome.CHALLENGE, 401, title, advice, level, bearer_error, sign_out))


def _step_up(id_: str, title: str, advice: str) -> Reason:
    error: BearerError = "insufficient_user_authentication"
    return _row(Reason(id_, Outcome.CHALLENGE, 401, title, advice, Level.INFO, error, step_up=True))


def _deny(
    id_: str,
    status: int,
    title: str,
    advice: str = "",
    *,
    level: Level = Level.WARNING,
    bearer_error: BearerError | None = None,
) -> Reason:
    return _row(Reason(id_, Outcome.DENY, status, title, advice, level, bearer_error))


def _insufficient(
    id_: str, title: str, advice: str = "Ask whoever runs this site for access.", *, level: Level = Level.INFO
) -> Reason:
    return _deny(id_, 403, title, advice, level=level, bearer_error="insufficient_scope")


# ---- allow -----------------------------------------------------------------------------------------------------------
SESSION_VALID = _allow("session_valid", "The session is valid.")
PUBLIC_ROUTE = _allow("public_route", "The route is public; no session is looked at.")
ANONYMOUS = _allow("anonymous", "The route takes visitors without a session.")
CREDENTIAL_IGNORED = _allow("credential_ignored", "The session was not valid; the route takes visitors without one.")
SESSION_UNCHECKED = _row(
    Reason(
        "session_unchecked",
        Outcome.ALLOW,
        0,
        "The token is good; whether it was revoked cannot be found out at the moment, and the route lets it pass.",
        level=Level.WARNING,
    )
)
CORS_PREFLIGHT = _row(
    Reason("cors_preflight", Outcome.ALLOW, 204, "The gateway answered a preflight for the backend.", level=Level.DEBUG)
)

# ---- challenge: the caller can mend it by signing in
# -------------------------------------------------------------------
SIGN_IN_REQUIRED = _challenge("sign_in_required", "Please sign in.", "Sign in to open this page.", bearer_error=None)
TOKEN_REFRESH_FAILED = _challenge(
    "token_refresh_failed",
    "Your session could not be renewed.",
    "Check your connection and try again, or sign in again.",
    bearer_error=None,
)
CREDENTIAL_UNSUPPORTED = _challenge("credential_unsupported", "The Authorization header is not a bearer token.")
TOKEN_MALFORMED = _challenge("token_malformed", "The session token is not readable.", level=Level.WARNING)
TOKEN_ALGORITHM = _challenge("token_algorithm", "The session token is not signed as required.", level=Level.WARNING)
TOKEN_KEY_UNKNOWN = _challenge("token_key_unknown", "The session token is signed with an unknown key.")
TOKEN_SIGNATURE = _challenge("token_signature", "The session token's signature is wrong.", level=Level.WARNING)
TOKEN_KIND = _challenge("token_kind", "That is not an ID token.", level=Level.WARNING)
TOKEN_ISSUER = _challenge("token_issuer", "The session token comes from another issuer.", level=Level.WARNING)
TOKEN_AUDIENCE = _challenge("token_audience", "The session token is meant for another project.", level=Level.WARNING)
TOKEN_TENANT = _challenge("token_tenant", "The session belongs to another tenant.", level=Level.WARNING)
TOKEN_SUBJECT = _challenge("token_subject", "The session token names no valid user.", level=Level.WARNING)
TOKEN_EXPIRED = _challenge("token_expired", "Your session token has expired.")
TOKEN_NOT_YET_VALID = _challenge(
    "token_not_yet_valid", "The session token is not valid yet.", "Check this computer's clock, then sign in again."
)
SESSION_REVOKED = _challenge("session_revoked", "You were signed out of this session.", sign_out=True)
SESSION_SIGNED_OUT = _challenge("session_signed_out", "You signed out of this session.", sign_out=True)
USER_DISABLED = _challenge(
    "user_disabled", "This account has been disabled.", "Ask whoever runs this site.", sign_out=True
)
USER_NOT_FOUND = _challenge("user_not_found", "This account no longer exists.", "Create a new account.", sign_out=True)
NETWORK_CHANGED = _challenge(
    "network_changed",
    "You are on a different network than when you signed in.",
    "To keep your account safe, please sign in again from here.",
    sign_out=True,
)
NETWORK_SUSPICIOUS = _challenge(
    "network_suspicious",
    "Your session turned up where you can hardly be.",
    "To keep your account safe, please sign in again from here.",
    level=Level.WARNING,
    sign_out=True,
)
SESSION_TOO_OLD = _challenge("session_too_old", "You signed in a long time ago.", sign_out=True)
STEP_UP_AUTH_AGE = _step_up(
    "step_up_auth_age",
    "Please confirm that it is you.",
    "This page asks for a recent sign-in. Enter your password again.",
)
STEP_UP_SECOND_FACTOR = _step_up(
    "step_up_second_factor",
    "This page needs a second step to sign in.",
    "Sign in with an account that uses one, or ask whoever runs this site to set it up.",
)

RECENT_SIGN_IN_REQUIRED = _challenge(
    "recent_sign_in_required",
    "A session that lasts needs a fresh sign-in.",
    "Sign in again to be kept signed in.",
    bearer_error=None,
)

# ---- deny: signing in would not help
# -----------------------------------------------------------------------------------
NO_ROUTE = _deny("no_route", 403, "Nothing is published at this address.")
CREDENTIAL_AMBIGUOUS = _deny(
    "credential_ambiguous", 400, "The request carries more than one credential.", bearer_error="invalid_request"
)
CREDENTIAL_CONFLICT = _deny(
    "credential_conflict",
    400,
    "The request carries the sessions of two people.",
    "Sign out, then sign in again.",
    bearer_error="invalid_request",
)
CROSS_SITE = _deny("cross_site", 403, "The request was started by another site.")
EMAIL_NOT_VERIFIED = _insufficient(
    "email_not_verified",
    "Your e-mail address is not confirmed yet.",
    "Open the link in the message that was sent to you, then sign out and in again.",
)
PROVIDER_NOT_ALLOWED = _insufficient(
    "provider_not_allowed", "This page takes another way of signing in.", "Sign out, then sign in the other way."
)
ROLE_MISSING = _insufficient("role_missing", "Your account does not have the role that this page needs.")
CLAIM_MISSING = _insufficient("claim_missing", "Your account may not open this page.")
EXPRESSION_FALSE = _insufficient("expression_false", "Your account may not open this page.")
EXPRESSION_FAILED = _insufficient(
    "expression_failed", "The rule for this page cannot be applied to your account.", level=Level.ERROR
)
REQUEST_MALFORMED = _deny("request_malformed", 400, "The request is malformed.")
TARGET_AMBIGUOUS = _deny(
    "target_ambiguous", 400, "The address can be read in more than one way.", "Use the plain spelling of the address."
)
HOST_INVALID = _deny("host_invalid", 400, "The Host header is missing, doubled or malformed.")
PROXY_NOT_TRUSTED = _deny(
    "proxy_not_trusted",
    403,
    "Only a proxy that the gateway's operator named may ask this.",
    "List the proxy's address in listen.trusted_proxies.",
)
TRY_AGAIN = _deny("try_again", 503, "Please try again.", "It was refused a moment ago and would be let through now.")
FORWARDED_INVALID = _deny("forwarded_invalid", 400, "The proxy chain in front of the gateway is malformed.")
TARGET_TOO_LONG = _deny("target_too_long", 414, "The address is too long.")
HEADERS_TOO_LARGE = _deny("headers_too_large", 431, "The request's headers are too large.")
BODY_TOO_LARGE = _deny("body_too_large", 413, "The request's body is too large.")
HEAD_TOO_SLOW = _deny("head_too_slow", 408, "The request did not arrive in time.", "Try again.", level=Level.INFO)
BODY_TOO_SLOW = _deny(
    "body_too_slow", 408, "The request's body did not arrive in time.", "Check your connection and try again."
)
ANSWER_TOO_SLOW = _deny("answer_too_slow", 408, "The answer was not taken in time.", "Check your connection.")
TOO_MANY_CONNECTIONS = _deny("too_many_connections", 503, "Too many connections are open.", "Try again in a moment.")
TOO_MANY_PEER_CONNECTIONS = _deny(
    "too_many_peer_connections", 503, "Too many connections are open from your network.", "Try again in a moment."
)
TOKEN_TOO_LARGE = _deny("token_too_large", 413, "The session token does not fit into a cookie.")
MESSAGE_TOO_LARGE = _deny("message_too_large", 413, "A WebSocket message is too large.", "Send less at once.")
CONNECTION_IDLE = _deny(
    "connection_idle", 408, "The connection was silent for too long.", "Connect again.", level=Level.INFO
)
SHUTTING_DOWN = _deny("shutting_down", 503, "The gateway is being restarted.", "Connect again.", level=Level.INFO)
METHOD_NOT_ALLOWED = _deny("method_not_allowed", 405, "This address does not take that method.", level=Level.INFO)
NOT_FOUND = _deny("not_found", 404, "There is nothing at this address.", level=Level.INFO)
KEYS_UNAVAILABLE = _deny(
    "keys_unavailable",
    503,
    "Sessions cannot be checked at the moment.",
    "Try again in a moment.",
    level=Level.ERROR,
)
REVOCATION_UNAVAILABLE = _deny(
    "revocation_unavailable",
    503,
    "Sessions cannot be checked at the moment.",
    "Try again in a moment.",
    level=Level.ERROR,
)
SIGN_OUT_EVERYWHERE_OFF = _deny(
    "sign_out_everywhere_off",
    501,
    "This site cannot end sessions on other devices.",
    "Sign out on each device.",
    level=Level.INFO,
)
IDENTITY_SERVICE_UNAVAILABLE = _deny(
    "identity_service_unavailable",
    503,
    "The sign-in service does not answer.",
    "Try again in a moment.",
    level=Level.ERROR,
)
UPSTREAM_UNREACHABLE = _deny(
    "upstream_unreachable", 502, "The application does not answer.", "Try again in a moment.", level=Level.ERROR
)
UPSTREAM_TIMEOUT = _deny(
    "upstream_timeout", 504, "The application took too long.", "Try again in a moment.", level=Level.ERROR
)
UPSTREAM_PROTOCOL = _deny("upstream_protocol", 502, "The application's answer cannot be passed on.", level=Level.ERROR)
INTERNAL = _deny(
    "internal", 500, "The gateway failed.", "Try again; the gateway's log has the cause.", level=Level.ERROR
)
