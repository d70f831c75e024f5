"""Steps of a judgement."""

from __future__ import annotations

from gateway.core.trail import Step, Trail


def test_steps_are_kept_in_order() -> None:
    """... keeps each step with its answer, in order."""
    trail = Trail()
    trail.add("client", "192.0.2.1")
    trail.add("route", "none matches", ok=False)
    assert trail.steps == [Step("client", "192.0.2.1", ok=True), Step("route", "none matches", ok=False)]
