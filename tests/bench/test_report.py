"""The benchmark's table and goals."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.bench.load import Measured
from tests.bench.report import Results, chart, goal_rows, table


def rounds(*micros: float) -> list[Measured]:
    return [Measured(one, rate=1e6 / one, p50=100, p99=200) for one in micros]


RESULTS: Results = {
    "hot": {"nginx": rounds(10, 12, 11), "gateway": rounds(30, 34, 31), "gateway (uvloop)": rounds(27, 28, 29)},
    "64 KB up": {"nginx": rounds(50), "gateway": rounds(60)},
}


def test_ratios_are_of_medians_within_the_run() -> None:
    """... divides the median of its rounds by the median of the other's."""
    rows = table(RESULTS, {"gateway": (50.0, 68.0)}).splitlines()
    row = next(row for row in rows if row.startswith("| hot | gateway |"))
    assert "| 31.0 | 30.0 to 34.0 | 2.82 |" in row
    assert "| gateway | 50 | 68 (+18) |" in rows


def test_a_goal_that_is_missed_is_marked() -> None:
    """... marks what misses its goal, by the limit of each loop, and is silent about peers that did not run."""
    assert goal_rows(RESULTS) == [
        "| hot | ÷ nginx | 3.000 / 2.500 | 2.818 | **2.545** missed |",
        "| 64 KB up | ÷ nginx | 1.300 | 1.200 |  |",
    ]


def test_the_chart_is_well_formed_and_ranked() -> None:
    """... draws one bar a peer, the cheapest on top."""
    drawing = ET.fromstring(chart({"slow & old": 300.0, "gateway": 30.0}))  # noqa: S314 - our own text
    texts = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["CPU microseconds per request, one hot token", "gateway", "30", "slow & old", "300"]
