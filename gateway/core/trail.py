"""Each step of one judgement, with its answer: what ``gateway explain`` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """One question the guard asked: ``name`` is the step, ``answer`` what came of it, in a few words."""

    name: str
    answer: str
    ok: bool = True


@dataclass(slots=True)
class Trail:
    """Collects steps; handed to the guard only by callers who want to read it."""

    steps: list[Step] = field(default_factory=list)

    def add(self, name: str, answer: str, *, ok: bool = True) -> None:
        """Note one step. ``answer`` never holds a token or a header value that could be one."""
        self.steps.append(Step(name, answer, ok))


def note(trail: Trail | None, name: str, answer: str | Callable[[], str], *, ok: bool = True) -> None:
    """Note a step. An answer that costs something to put into words is put into them only where somebody reads it."""
    if trail is not None:
        trail.add(name, answer if isinstance(answer, str) else answer(), ok=ok)
