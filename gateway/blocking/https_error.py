"""How a function refuses: the sixteen documented codes, and the error that carries one of them to the client.

Source: blocking-functions.md sections 2.4 and 2.5; Google, "Customize the authentication flow using blocking
functions". The message is shown to the person who signs in, so it says nothing that they may not know.
"""

from __future__ import annotations

import difflib
import enum
from dataclasses import dataclass
from typing import Any, Final

from gateway.blocking.json_text import can_be_sent, plain
from gateway.errors import GatewayError


class ErrorCode(enum.StrEnum):
    """The sixteen codes. The one for what is not implemented has two spellings, which differ on the wire."""

    INVALID_ARGUMENT = "invalid-argument"
    FAILED_PRECONDITION = "failed-precondition"
    OUT_OF_RANGE = "out-of-range"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission-denied"
    NOT_FOUND = "not-found"
    ABORTED = "aborted"
    ALREADY_EXISTS = "already-exists"
    RESOURCE_EXHAUSTED = "resource-exhausted"
    CANCELLED = "cancelled"
    DATA_LOSS = "data-loss"
    UNKNOWN = "unknown"
    INTERNAL = "internal"
    NOT_IMPLEMENTED = "not-implemented"
    UNIMPLEMENTED = "unimplemented"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline-exceeded"


@dataclass(frozen=True, slots=True)
class Code:
    """HTTP status, status name on the wire, and the message when the function gives none."""

    http_status: int
    status: str
    message: str


CODES: Final[dict[str, Code]] = {
    "invalid-argument": Code(400, "INVALID_ARGUMENT", "Client specified an invalid argument."),
    "failed-precondition": Code(400, "FAILED_PRECONDITION", "Request can not be executed in the current system state."),
    "out-of-range": Code(400, "OUT_OF_RANGE", "Client specified an invalid range."),
    "unauthenticated": Code(
        401, "UNAUTHENTICATED", "Request not authenticated due to missing, invalid, or expired OAuth token"
    ),
    "permission-denied": Code(403, "PERMISSION_DENIED", "Client does not have sufficient permission."),
    "not-found": Code(404, "NOT_FOUND", "Specified resource is not found."),
    "aborted": Code(409, "ABORTED", "Concurrency conflict, such as read-modify-write conflict."),
    "already-exists": Code(409, "ALREADY_EXISTS", "The resource that a client tried to create already exists."),
    "resource-exhausted": Code(429, "RESOURCE_EXHAUSTED", "Either out of resource quota or reaching rate limiting."),
    "cancelled": Code(499, "CANCELLED", "Request cancelled by the client."),
    "data-loss": Code(500, "DATA_LOSS", "Unrecoverable data loss or data corruption."),
    "unknown": Code(500, "UNKNOWN", "Unknown server error."),
    "internal": Code(500, "INTERNAL", "Internal server error."),
    "not-implemented": Code(501, "NOT_IMPLEMENTED", "API method not implemented by the server."),
    "unimplemented": Code(501, "UNIMPLEMENTED", "API method not implemented by the server."),
    "unavailable": Code(503, "UNAVAILABLE", "Service unavailable."),
    "deadline-exceeded": Code(504, "DEADLINE_EXCEEDED", "Request deadline exceeded."),
}
"""Every code (section 2.5). ``ok`` is none of them: refusing with success makes no sense."""


class HttpsError(GatewayError):
    """Raised by a function to refuse; what it holds becomes the answer (section 2.4).

    :param code: one of :class:`ErrorCode`, or its text such as ``"permission-denied"``.
    :param message: shown to the person; the documented default when None or empty.
    :param details: any JSON value; travels beside the message when it is not None.
    :raises ValueError: ``code`` is none of the codes.
    :raises TypeError: ``message`` is no text.
    """

    code: Final[ErrorCode]
    http_status: Final[int]
    status: Final[str]
    message: Final[str]

    def __init__(self, code: ErrorCode | str, message: str | None = None, details: object = None) -> None:
        known = CODES.get(code)
        if known is None:
            close = difflib.get_close_matches(str(code).lower().replace("_", "-"), CODES, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(CODES)}"
            raise ValueError(f"{code!r} is no error code{hint}")
        if message is not None and not isinstance(message, str):
            raise TypeError(f"the message is a text, not {type(message).__name__}")
        self.code = ErrorCode(code)
        self.http_status = known.http_status
        self.status = known.status
        self.message = message or known.message
        self.details = details
        super().__init__(self.message)

    @property
    def body(self) -> dict[str, Any]:
        """The body of the answer. Details that JSON cannot say are left out: a refusal stays that refusal."""
        error: dict[str, Any] = {"code": self.http_status, "message": sayable(self.message), "status": self.status}
        if self.details is not None and can_be_sent(self.details):
            error["details"] = plain(self.details)
        return {"error": error}


def sayable(text: str) -> str:
    """``text`` with lone surrogates, which UTF-8 cannot say, replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")
