"""Decisions as values."""

from __future__ import annotations

import ipaddress

from gateway import reasons
from gateway.core.decision import Allow, Challenge, Conditions, Deny

CLIENT = ipaddress.ip_address("203.0.113.9")


def test_every_decision_names_its_client() -> None:
    """... says who asked, whatever it answers."""
    allow = Allow(reasons.PUBLIC_ROUTE, "r", None, Conditions(1.0, -1, CLIENT, "r", 0))
    assert allow.client == Challenge(reasons.SIGN_IN_REQUIRED, "r", CLIENT).client == CLIENT
    assert Deny(reasons.NO_ROUTE).client is None


def test_decisions_are_equal_by_value() -> None:
    """... compares decisions by what they say."""
    assert Challenge(reasons.SIGN_IN_REQUIRED, "r") == Challenge(reasons.SIGN_IN_REQUIRED, "r")
    assert Deny(reasons.NO_ROUTE) != Deny(reasons.CROSS_SITE)
