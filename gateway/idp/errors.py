"""Failures as the wire knows them.

A business error is HTTP 400 with a CODE, or ``CODE : detail``, as its message and no ``status``; only Google's generic
errors carry one (identity-toolkit.md section 2). The Firebase SDKs split the message at space-colon-space and turn the
code into ``auth/...``, so these texts are protocol and not prose.
"""

from __future__ import annotations

from gateway.errors import GatewayError


class WireError(GatewayError):
    """A refusal that is answered in the error envelope.

    ``message`` is what goes on the wire, ``code`` the HTTP status, ``status`` the generic Google status if any.
    ``reason`` is the emulator's, for its internal errors: what went wrong underneath.
    """

    def __init__(self, message: str, *, code: int = 400, status: str | None = None, reason: str | None = None) -> None:
        self.reason = reason
        self.message = message
        self.code = code
        self.status = status
        super().__init__(message)

    @property
    def name(self) -> str:
        """The part before the separator."""
        return self.message.partition(" : ")[0]


def invalid_argument(detail: str) -> WireError:
    """The body is not what the method takes: malformed JSON or a field of the wrong type."""
    return WireError(f"Invalid JSON payload received. {detail}", status="INVALID_ARGUMENT")


def unauthenticated(detail: str) -> WireError:
    """The credential of a privileged call is missing or not ours."""
    return WireError(detail, code=401, status="UNAUTHENTICATED")


def permission_denied(detail: str) -> WireError:
    """The caller may not do that, whoever it is."""
    return WireError(detail, code=403, status="PERMISSION_DENIED")


def not_found(detail: str = "Not Found") -> WireError:
    """No such method or resource."""
    return WireError(detail, code=404, status="NOT_FOUND")


def not_implemented(what: str) -> WireError:
    """The real service has it, this provider does not."""
    return WireError(f"NOT_IMPLEMENTED : {what}", code=501, status="NOT_IMPLEMENTED")
