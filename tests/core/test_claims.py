"""Claims: frozen, however they were made."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.core.claims import Claims, Principal, make_claims

PRINCIPAL = Principal("p", None, "u")
VALUES = (PRINCIPAL, 1, 2, 3, "ada@example.com", True, "Ada", "password", None, "203.0.113.9", {"sub": "u"})


def test_claims_made_quickly_are_claims() -> None:
    """... makes the same frozen claims the quick way as the usual way, value for value."""
    quick, usual = make_claims(*VALUES), Claims(*VALUES)
    assert type(quick) is Claims
    assert quick == usual
    assert dataclasses.astuple(quick) == dataclasses.astuple(usual)
    assert repr(quick) == repr(usual)
    assert dataclasses.replace(quick, email=None) == dataclasses.replace(usual, email=None)


def test_claims_cannot_be_changed() -> None:
    """... lets nobody change what a token said."""
    for claims in (make_claims(*VALUES), Claims(*VALUES)):
        for field in dataclasses.fields(Claims):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(claims, field.name, None)
        with pytest.raises((AttributeError, TypeError)):
            claims.extra = 1  # type: ignore[attr-defined] # because that is the point


def test_each_value_has_its_place() -> None:
    """... wants every value and none too many."""
    for values in (VALUES[:-1], (*VALUES, 1)):
        with pytest.raises(TypeError):
            make_claims(*values)


def test_the_payload_is_not_printed() -> None:
    """... keeps whatever else a token says out of logs."""
    assert "payload" not in repr(make_claims(*VALUES))
