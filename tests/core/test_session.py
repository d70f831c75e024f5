"""Sessions: the words for networks are those of the documentation."""

from __future__ import annotations

from gateway.core.claims import Claims, Principal
from gateway.core.session import NetworkAction, NetworkLevel, Session
from tests.house.tree import ROOT

PAGE = (ROOT / "docs" / "reference" / "network.md").read_text(encoding="utf-8")


def test_every_level_is_explained() -> None:
    """... has a row for each level in both tables of the page on networks."""
    for level in NetworkLevel:
        assert PAGE.count(f"| `{level}` |") == 2


def test_a_session_belongs_to_its_claims_principal() -> None:
    """... takes who somebody is from the claims, and allows unless it was judged otherwise."""
    principal = Principal("p", None, "u")
    session = Session(Claims(principal, 0, 1, 0, None, False, None, None, None, None, {}), None, NetworkLevel.UNKNOWN)
    assert (session.principal, session.action, session.why) == (principal, NetworkAction.ALLOW, "")
