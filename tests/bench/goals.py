"""What the benchmark is to show: each goal, how it is measured, and whether it holds in a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.bench.load import Measured

Results = dict[str, dict[str, list[Measured]]]
"""Profile, peer, one figure a round."""
Resident = dict[str, tuple[float, float]]
"""Peer to megabytes before and at the most."""

OURS: Final = ("gateway", "gateway (uvloop)")


@dataclass
class Run:
    """All that a run found out.

    :param failed: why a peer has no row under a load.
    :param absent: what would have to be installed for a peer that is missing.
    :param proofs: processes that were timed and then passed the proof.
    """

    results: Results
    rounds: int
    seconds: int
    resident: Resident = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    proofs: int = 0


def median(rounds: list[Measured]) -> float:
    """The middle CPU figure of the rounds, in microseconds."""
    return statistics.median(one.micros for one in rounds)


def median_p50(rounds: list[Measured]) -> float:
    """The middle of the rounds' 50th percentiles, in microseconds."""
    return statistics.median(one.p50 for one in rounds)


def _best_p99(rounds: list[Measured]) -> float:
    return min(one.p99 for one in rounds)


Reading = Callable[[list[Measured]], float]
"""One figure of a peer's rounds under one load."""


@dataclass(frozen=True)
class Ratio:
    """``reading`` of ours divided by that of ``other`` is at most ``limit``; ``uvloop`` where that loop has its own."""

    profile: str
    other: str
    limit: float
    uvloop: float | None = None
    reading: Reading = median
    what: str = "CPU"

    @property
    def text(self) -> str:
        """The goal in words."""
        own = "" if self.uvloop is None else f" (uvloop ≤ {_ratio(self.uvloop)})"
        return f"{self.what} ≤ {_ratio(self.limit)} {self.other}{own}"

    def measured(self, run: Run, ours: str) -> float | None:
        """The ratio; None where this run cannot tell."""
        peers = run.results.get(self.profile, {})
        if not peers.get(ours) or not peers.get(self.other):
            return None
        return self.reading(peers[ours]) / self.reading(peers[self.other])

    def shown(self, value: float) -> str:
        """A measured value in the form of the goal."""
        return f"1/{1 / value:.1f}" if self.limit < _FRACTION else f"{value:.2f}×"

    def of(self, ours: str) -> float:
        """The limit for one of ours."""
        return self.uvloop if self.uvloop is not None and ours == OURS[1] else self.limit


@dataclass(frozen=True)
class Excess:
    """The 50th percentile of ours is at most ``limit`` microseconds above that of ``other``."""

    profile: str
    other: str
    limit: float

    @property
    def text(self) -> str:
        return f"p50 ≤ {self.other} + {self.limit:.0f} µs"

    def measured(self, run: Run, ours: str) -> float | None:
        """Microseconds; None where this run cannot tell."""
        peers = run.results.get(self.profile, {})
        if not peers.get(ours) or not peers.get(self.other):
            return None
        return median_p50(peers[ours]) - median_p50(peers[self.other])

    def shown(self, value: float) -> str:
        return f"{value:+.0f} µs"

    def of(self, _: str) -> float:
        return self.limit


@dataclass(frozen=True)
class Growth:
    """Memory of ours grows by at most ``limit`` megabytes under the transfers."""

    limit: float
    profile: str = "memory"

    @property
    def text(self) -> str:
        return f"32 transfers of 10 MB take ≤ {self.limit:.0f} MB more"

    def measured(self, run: Run, ours: str) -> float | None:
        """Megabytes; None where this run cannot tell."""
        if ours not in run.resident:
            return None
        before, most = run.resident[ours]
        return most - before

    def shown(self, value: float) -> str:
        return f"{value:+.0f} MB"

    def of(self, _: str) -> float:
        return self.limit


Goal = Ratio | Excess | Growth
_FRACTION: Final = 0.2
"""Below it, a ratio reads better as one part of so many."""


def _ratio(value: float) -> str:
    return f"1/{1 / value:.0f}" if value < _FRACTION else f"{value:.2f}×"


GOALS: Final[tuple[Goal, ...]] = (
    *(
        Ratio(profile, *rest)
        for profile in ("hot", "users")
        for rest in (
            ("nginx", 3.0, 2.5),
            ("Envoy", 0.75),
            ("HAProxy", 0.60),
            ("usual aiohttp", 0.21),
            ("Express", 1 / 15, 1 / 18),
        )
    ),
    Ratio("cold", "Express", 1 / 6),
    Ratio("cold", "usual aiohttp", 0.27),
    Ratio("cold", "Envoy", 0.9),
    Ratio("cold", "HAProxy", 1.6),
    Ratio("64 KB down", "nginx", 1.15),
    Ratio("64 KB up", "nginx", 1.3),
    *(Ratio(f"10 MB {way}", other, 1.0) for way in ("down", "up") for other in ("nginx", "HAProxy")),
    Excess("paced", "nginx", 60.0),
    Ratio("paced", "Express", 0.3, reading=median_p50, what="p50"),
    Ratio("paced", "nginx", 2.0, reading=_best_p99, what="best p99"),
    Ratio("paced", "nginx", 2.2),
    Growth(20.0),
)


@dataclass(frozen=True)
class Verdict:
    """One goal in a run: what was measured for each of ours that it says something of, and whether that holds."""

    goal: Goal
    cells: dict[str, tuple[str, bool]]


def verdicts(run: Run) -> list[Verdict]:
    """Each goal that this run can tell about."""
    found = []
    for goal in GOALS:
        cells = {}
        for ours in OURS:
            value = goal.measured(run, ours)
            if value is not None:
                cells[ours] = (goal.shown(value), value <= goal.of(ours))
        if cells:
            found.append(Verdict(goal, cells))
    return found


def goal_rows(run: Run) -> list[str]:
    """Each goal as a row of a table; what misses its goal is marked."""
    rows = []
    for verdict in verdicts(run):
        cells = []
        for ours in OURS:
            value, holds = verdict.cells.get(ours, ("", True))
            cells.append(value if holds else f"**{value} missed**")
        rows.append(f"| {verdict.goal.profile} | {verdict.goal.text} | {' | '.join(cells)} |")
    return rows


def tally(run: Run) -> str:
    """How many of them hold, and which do not."""
    sayings = []
    for ours in OURS:
        told = [verdict for verdict in verdicts(run) if ours in verdict.cells]
        if told:
            held = sum(verdict.cells[ours][1] for verdict in told)
            sayings.append(f"{held} of {len(told)} goals hold for the {ours}")
    return "; ".join(sayings)
