"""A signed-in user, as one request shows them."""

from __future__ import annotations

from gateway.core.claims import Claims, Principal
from gateway.core.session import NetworkLevel, Session


def test_a_session_belongs_to_its_claims_principal() -> None:
    """... knows whose session it is."""
    claims = Claims(Principal("p", None, "u"), 1, 2, 0, None, False, None, None, None, None, {})
    session = Session(claims, None, NetworkLevel.UNKNOWN)
    assert session.principal is claims.principal
    assert str(session.network) == "unknown"
