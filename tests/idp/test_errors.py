from __future__ import annotations

import pytest

from gateway.errors import GatewayError
from gateway.idp import errors


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (errors.WireError("EMAIL_EXISTS"), 400, None),
        (errors.invalid_argument("x"), 400, "INVALID_ARGUMENT"),
        (errors.unauthenticated("x"), 401, "UNAUTHENTICATED"),
        (errors.permission_denied("x"), 403, "PERMISSION_DENIED"),
        (errors.not_found(), 404, "NOT_FOUND"),
        (errors.not_implemented("x"), 501, "NOT_IMPLEMENTED"),
    ],
)
def test_kinds_of_failure(error: errors.WireError, code: int, status: str | None) -> None:
    """the provider gives generic errors a status name and business errors none."""
    assert (error.code, error.status) == (code, status)
    assert isinstance(error, GatewayError)


def test_name_is_the_part_before_the_separator() -> None:
    """the provider's own code finds the name of an error where the SDKs find it."""
    assert errors.WireError("WEAK_PASSWORD : Password: too : short").name == "WEAK_PASSWORD"
