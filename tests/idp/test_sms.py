"""Codes by SMS."""

from __future__ import annotations

import pytest

from gateway.idp.errors import WireError
from gateway.idp.sms import CODE_LIFETIME, TRIES, SmsCodes, SmsKind
from tests.support.clock import FakeClock

NUMBER = "+15550100"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def codes(clock: FakeClock) -> SmsCodes:
    return SmsCodes(clock)


def refused(codes: SmsCodes, session_info: str | None, code: str | None, **more: str) -> str:
    with pytest.raises(WireError) as caught:
        codes.redeem(session_info, code, SmsKind.SIGN_IN, owner=more.get("owner"))
    return caught.value.message


def test_a_code_works_once(codes: SmsCodes) -> None:
    """the provider takes a code for its number once."""
    text = codes.issue(NUMBER, SmsKind.SIGN_IN)
    assert len(text.code) == 6
    assert text.code.isdecimal()
    assert [sent.number for _, sent in codes.outstanding()] == [NUMBER]
    assert codes.redeem(text.session_info, text.code, SmsKind.SIGN_IN) == NUMBER
    assert refused(codes, text.session_info, text.code) == "INVALID_SESSION_INFO"


def test_a_code_is_guessed_five_times_at_most(codes: SmsCodes) -> None:
    """the provider voids a code after five wrong guesses."""
    text = codes.issue(NUMBER, SmsKind.SIGN_IN)
    wrong = f"{(int(text.code) + 1) % 10**6:06}"
    assert [refused(codes, text.session_info, wrong) for _ in range(TRIES)] == ["INVALID_CODE"] * TRIES
    assert refused(codes, text.session_info, text.code) == "INVALID_SESSION_INFO"


def test_a_code_expires(codes: SmsCodes, clock: FakeClock) -> None:
    """the provider takes no code after ten minutes."""
    text = codes.issue(NUMBER, SmsKind.SIGN_IN)
    clock.advance(CODE_LIFETIME)
    assert refused(codes, text.session_info, text.code) == "INVALID_SESSION_INFO"


def test_a_code_is_for_one_purpose(codes: SmsCodes) -> None:
    """the provider takes a code only for what, and from whom, it was made for."""
    text = codes.issue(NUMBER, SmsKind.ENROLLMENT, owner="u1")
    assert refused(codes, text.session_info, text.code, owner="u1") == "INVALID_SESSION_INFO"
    bound = codes.issue(NUMBER, SmsKind.SIGN_IN, owner="u1")
    assert refused(codes, bound.session_info, bound.code, owner="u2") == "INVALID_SESSION_INFO"
    assert codes.redeem(bound.session_info, bound.code, SmsKind.SIGN_IN, owner="u1") == NUMBER


@pytest.mark.parametrize(
    ("session_info", "code", "message"),
    [(None, "1", "MISSING_SESSION_INFO"), ("x", None, "MISSING_CODE"), ("x", "1", "INVALID_SESSION_INFO")],
)
def test_what_is_missing_is_named(codes: SmsCodes, session_info: str | None, code: str | None, message: str) -> None:
    """the provider names what a redemption lacks."""
    assert refused(codes, session_info, code) == message
