"""The closed table of reasons."""

from __future__ import annotations

import re

import pytest

from gateway import reasons
from gateway.reasons import TABLE, Outcome, Reason


@pytest.mark.parametrize("reason", TABLE.values(), ids=lambda reason: reason.id)
def test_every_row_is_complete(reason: Reason) -> None:
    """... has a stable id, words for people and a status that fits the answer."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason.id)
    assert reason.title.endswith(".")
    assert not reason.advice or reason.advice.endswith(".")
    assert reason.type_uri.endswith(reason.id)
    if reason.outcome is Outcome.ALLOW:
        assert reason.status == 0
    elif reason.outcome is Outcome.CHALLENGE:
        assert reason.status == 401
        assert reason.advice
    else:
        assert reason.status >= 400
        assert reason.status != 401


def test_only_a_brought_credential_is_called_invalid() -> None:
    """... challenges without an error code when no credential came (RFC 6750 section 3)."""
    assert reasons.SIGN_IN_REQUIRED.bearer_error is None
    assert reasons.TOKEN_REFRESH_FAILED.bearer_error is None
    assert reasons.TOKEN_EXPIRED.bearer_error == "invalid_token"


def test_sessions_that_cannot_become_good_again_are_signed_out() -> None:
    """... signs the browser out exactly where trying the same session again cannot help."""
    assert {reason.id for reason in TABLE.values() if reason.sign_out} == {
        "network_changed",
        "session_revoked",
        "user_disabled",
        "user_not_found",
    }


def test_an_id_stands_once() -> None:
    """... refuses a second row of the same id."""
    with pytest.raises(ValueError, match="defined twice"):
        reasons._row(reasons.NO_ROUTE)
