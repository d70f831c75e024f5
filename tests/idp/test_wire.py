from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.idp.errors import WireError
from gateway.idp.records import Account, Factor, Link
from gateway.idp.wire import Fields, envelope, mfa_info, user_record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y_z"]), inner, max_size=2),
    max_leaves=6,
)


@given(JSON)
def test_reading_a_field_answers_or_refuses(value: Any) -> None:
    """the provider meets any JSON value in any place with an answer or with a refusal."""
    fields = Fields({"x": value})
    choose = partial(fields.choice, choices=(None, "A"))
    for read in (fields.text, fields.flag, fields.number, fields.texts, fields.child, fields.children, choose):
        with suppress(WireError):
            read("x")


@pytest.mark.parametrize(
    ("reader", "value", "expected"),
    [
        ("text", 7, "7"),
        ("text", None, None),
        ("text", "", ""),
        ("flag", "true", True),
        ("flag", "false", False),
        ("number", "12", 12),
        ("number", 12.0, 12),
        ("number", "-1", -1),
        ("texts", "a", ["a"]),
        ("texts", ["a", 1], ["a", "1"]),
        ("texts", None, []),
    ],
)
def test_lenient_readings(reader: str, value: Any, expected: Any) -> None:
    """the provider reads numbers as text, and text as numbers and booleans."""
    assert getattr(Fields({"x": value}), reader)("x") == expected


@pytest.mark.parametrize(
    ("reader", "value"),
    [("text", True), ("text", 2**63), ("flag", 1), ("flag", "yes"), ("number", "1.5"), ("number", 1.5),
     ("number", True), ("number", "9" * 19), ("number", "٣"), ("texts", [["a"]]), ("child", []),
     ("children", {}), ("children", ["a"])],
)  # fmt: skip
def test_refused_readings(reader: str, value: Any) -> None:
    """the provider refuses what cannot be meant."""
    with pytest.raises(WireError, match=r"/x must be"):
        getattr(Fields({"x": value}), reader)("x")


def test_place_of_a_fault_is_named() -> None:
    """the provider names the path of a wrong field inside objects and lists."""
    (user,) = Fields({"users": [{"localId": []}]}).children("users")
    with pytest.raises(WireError, match=r"/users/0/localId must be a string"):
        user.text("localId")


def test_envelope_of_a_business_error_has_no_status() -> None:
    """the provider writes the status into generic errors only."""
    assert envelope(WireError("EMAIL_EXISTS")) == {
        "error": {
            "code": 400,
            "message": "EMAIL_EXISTS",
            "errors": [{"message": "EMAIL_EXISTS", "reason": "invalid", "domain": "global"}],
        }
    }


def test_record_of_a_bare_account_has_no_nulls() -> None:
    """the provider omits absent fields of a user record."""
    record = user_record(Account(uid="u", created_at_ms=1, valid_since=0))
    assert record == {
        "localId": "u", "emailVerified": False, "disabled": False, "validSince": "0", "createdAt": "1",
    }  # fmt: skip


def test_record_lists_federated_identities() -> None:
    """the provider lists federated identities with their id twice, as the service does."""
    account = Account(uid="u", created_at_ms=1, valid_since=0, links=(Link(provider_id="oidc.x", raw_id="1"),))
    assert user_record(account)["providerUserInfo"] == [{"providerId": "oidc.x", "rawId": "1", "federatedId": "1"}]


@pytest.mark.parametrize(
    ("number", "shown"), [("+15555550100", "+*******0100"), ("+12345", "+*2345"), ("+1234", "+1234"), ("+112", "+112")]
)
def test_a_masked_number_shows_its_last_digits(number: str, shown: str) -> None:
    """the provider masks every digit of a number but the last four."""
    factor = Factor(factor_id="f", enrolled_at_ms=0, phone_number=number)
    assert mfa_info(factor, masked=True)["phoneInfo"] == shown
