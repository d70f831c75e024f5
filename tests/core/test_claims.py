"""The typed view of a verified token."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.core.claims import Claims, Principal


def test_claims_cannot_be_changed_and_show_no_payload() -> None:
    """... freezes what a token said, and keeps its payload out of logs."""
    claims = Claims(Principal("p", "t", "u"), 1, 2, 0, None, False, None, None, None, None, {"secret": "x"})
    assert "secret" not in repr(claims)
    with pytest.raises(dataclasses.FrozenInstanceError):
        claims.email = "other@example.com"  # type: ignore[misc]


def test_principals_are_equal_by_value() -> None:
    """... tells accounts apart by project, tenant and uid, and nothing else."""
    assert Principal("p", None, "u") == Principal("p", None, "u")
    assert len({Principal("p", None, "u"), Principal("p", "t", "u"), Principal("q", None, "u")}) == 3
