"""The closed table of reasons: what every row must be."""

from __future__ import annotations

import re

import pytest

from gateway import reasons
from gateway.reasons import TABLE, Outcome, Reason
from tests.house.tree import ROOT, below

ROWS = pytest.mark.parametrize("reason", TABLE.values(), ids=lambda reason: reason.id)


@ROWS
def test_a_row_is_complete(reason: Reason) -> None:
    """... has an id that fits logs and addresses, words for a person, and an anchor and type made from the id."""
    assert re.fullmatch(r"[a-z][a-z_]*[a-z]", reason.id)
    assert reason.title.endswith(".")
    assert (reason.anchor, reason.type_uri) == (
        reason.id.replace("_", "-"),
        f"tag:session-gateway,2026:reason/{reason.id}",
    )
    assert TABLE[reason.id] is reason


@ROWS
def test_outcome_status_and_challenge_agree(reason: Reason) -> None:
    """... challenges with 401 alone, denies with anything else, and names errors where RFC 6750 and RFC 9470 do."""
    if reason.outcome is Outcome.ALLOW:
        assert reason.status in {0, 204}
    elif reason.outcome is Outcome.CHALLENGE:
        assert reason.status == 401
        assert reason.advice
        assert reason.bearer_error in {None, "invalid_token", "insufficient_user_authentication"}
    else:
        assert reason.status in range(400, 600)
        assert reason.status != 401
        assert reason.bearer_error in {None, "invalid_request", "insufficient_scope"}
    assert (reason.bearer_error == "insufficient_scope") <= (reason.status == 403)
    assert reason.step_up == (reason.bearer_error == "insufficient_user_authentication")
    assert not (reason.step_up and reason.sign_out)
    assert reason.outcome is Outcome.CHALLENGE or not (reason.sign_out or reason.step_up)


def test_no_id_is_given_twice() -> None:
    """... refuses a second row of the same id."""
    with pytest.raises(ValueError, match="defined twice"):
        reasons._row(TABLE["no_route"])
    assert TABLE["no_route"] is reasons.NO_ROUTE


def test_every_row_is_used() -> None:
    """... has no reason that nothing can lead to."""
    sources = [path for path in below("gateway", suffix=".py") if path.name != "reasons.py"]
    text = "\n".join((ROOT / path).read_text(encoding="utf-8") for path in sources)
    names = {name: row for name, row in vars(reasons).items() if isinstance(row, Reason)}
    assert set(TABLE.values()) == set(names.values())
    unused = [name for name in names if not re.search(rf"\breasons\.{name}\b", text)]
    assert not unused
