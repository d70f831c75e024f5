"""RFC 6238: the provider's one-time passwords."""

from __future__ import annotations

import base64

import pytest

from gateway.idp import totp

SECRET = base64.b32encode(b"12345678901234567890").decode()
"""The secret of the RFC's appendix B."""


@pytest.mark.parametrize(
    ("now", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_vectors_of_the_rfc(now: int, code: str) -> None:
    """the provider computes the codes of RFC 6238 appendix B (its last six digits)."""
    assert totp.code_at(SECRET, now // totp.STEP) == code
    assert totp.matching_step(SECRET, code, now) == now // totp.STEP


def test_neighbouring_steps_count_and_others_do_not() -> None:
    """the provider takes the code of the step before and after, and of no other."""
    now, step = 3_000, 100
    for offset, good in [(-2, False), (-1, True), (0, True), (1, True), (2, False)]:
        found = totp.matching_step(SECRET, totp.code_at(SECRET, step + offset), now)
        assert found == (step + offset if good else None)


def test_a_step_counts_once() -> None:
    """the provider refuses a step that was used, and the ones before."""
    code = totp.code_at(SECRET, 100)
    assert totp.matching_step(SECRET, code, 3_000, after=99) == 100
    assert totp.matching_step(SECRET, code, 3_000, after=100) is None


@pytest.mark.parametrize("code", ["", "12345", "１２３４５６", "x"])
def test_what_is_no_code(code: str) -> None:
    """the provider refuses what is no code, letters of other scripts included."""
    assert totp.matching_step(SECRET, code, 3_000) is None


def test_secrets_are_long_and_new() -> None:
    """the provider makes a new secret of 160 bits each time."""
    first, second = totp.new_secret(), totp.new_secret()
    assert first != second
    assert len(base64.b32decode(first)) == 20
