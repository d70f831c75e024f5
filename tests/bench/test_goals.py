"""The benchmark's goals."""

from __future__ import annotations

from tests.bench.goals import Run, goal_rows, tally
from tests.bench.load import Measured


def rounds(*micros: float, p50: float = 100, p99: float = 200) -> list[Measured]:
    return [Measured(one, rate=1e6 / one, p50=p50, p99=p99) for one in micros]


def test_a_goal_that_is_missed_is_marked() -> None:
    """... marks what misses its goal, by the limit of each loop, and is silent about programs that did not run."""
    hot = {
        "nginx": rounds(10, 12, 11),
        "gateway": rounds(30, 34, 31),
        "gateway (uvloop)": rounds(27, 28, 29),
        "Express": rounds(600),
    }
    run = Run({"hot": hot, "64 KB up": {"nginx": rounds(50), "gateway": rounds(60)}}, rounds=3, seconds=2)
    assert goal_rows(run) == [
        "| hot | CPU ≤ 3.00× nginx (uvloop ≤ 2.50×) | 2.82× | **2.55× missed** |",
        "| hot | CPU ≤ 1/15 Express (uvloop ≤ 1/18) | 1/19.4 | 1/21.4 |",
        "| 64 KB up | CPU ≤ 1.30× nginx | 1.20× |  |",
    ]
    assert tally(run) == "3 of 3 goals hold for the gateway; 1 of 2 goals hold for the gateway (uvloop)"


def test_latency_and_memory_have_goals_of_their_own() -> None:
    """... compares percentiles at a fixed rate, and growth in megabytes."""
    paced = {"nginx": rounds(80, p50=150, p99=300), "gateway": rounds(200, p50=215, p99=500)}
    run = Run({"paced": paced}, rounds=1, seconds=2, resident={"gateway": (50.0, 69.4), "nginx": (12.0, 90.0)})
    assert goal_rows(run) == [
        "| paced | p50 ≤ nginx + 60 µs | **+65 µs missed** |  |",
        "| paced | best p99 ≤ 2.00× nginx | 1.67× |  |",
        "| paced | CPU ≤ 2.20× nginx | **2.50× missed** |  |",
        "| memory | 32 transfers of 10 MB take ≤ 20 MB more | +19 MB |  |",
    ]
