"""Steps of a judgement."""

from __future__ import annotations

from gateway.core.trail import Step, Trail, note


def test_steps_are_kept_in_order() -> None:
    """... keeps each step with its answer, in order."""
    trail = Trail()
    trail.add("client", "192.0.2.1")
    trail.add("route", "none matches", ok=False)
    assert trail.steps == [Step("client", "192.0.2.1", ok=True), Step("route", "none matches", ok=False)]


def test_words_are_found_only_for_readers() -> None:
    """puts an answer into words only where somebody reads them."""
    asked: list[str] = []

    def words() -> str:
        asked.append("once")
        return "found"

    note(None, "step", words)
    assert asked == []
    trail = Trail()
    note(trail, "step", words, ok=False)
    note(trail, "next", "plain")
    assert trail.steps == [Step("step", "found", ok=False), Step("next", "plain")]
