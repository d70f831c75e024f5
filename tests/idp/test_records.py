from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from gateway.idp.records import Account, Link


@pytest.mark.parametrize(
    ("account", "anonymous"),
    [
        (Account(uid="u", created_at_ms=0, valid_since=0), True),
        (Account(uid="u", created_at_ms=0, valid_since=0, display_name="x"), True),
        (Account(uid="u", created_at_ms=0, valid_since=0, email="a@b"), False),
        (Account(uid="u", created_at_ms=0, valid_since=0, phone_number="+1"), False),
        (Account(uid="u", created_at_ms=0, valid_since=0, custom_auth=True), False),
        (Account(uid="u", created_at_ms=0, valid_since=0, links=(Link(provider_id="x", raw_id="1"),)), False),
    ],
)
def test_who_is_anonymous(account: Account, anonymous: bool) -> None:
    """the provider calls an account anonymous that nothing ties to a person."""
    assert account.anonymous is anonymous


def test_records_are_values() -> None:
    """the provider's records cannot be changed in place, and show no password hash."""
    account = Account(uid="u", created_at_ms=0, valid_since=0, password_hash="secret-hash")
    with pytest.raises(FrozenInstanceError):
        account.uid = "v"  # type: ignore[misc]  # the point of the test
    assert "secret-hash" not in repr(account)
