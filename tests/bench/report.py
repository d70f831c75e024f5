"""The benchmark's table, its goals and its chart, for the terminal and for docs/reference/performance.md."""

from __future__ import annotations

import datetime as dt
import platform
import statistics
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from tests.bench.load import Measured
from tests.bench.peers import PEERS, ROOT, versions

Results = dict[str, dict[str, list[Measured]]]
"""Profile, peer, one figure a round."""
Resident = dict[str, tuple[float, float]]
"""Peer to megabytes before and at the most."""

PAGE: Final = ROOT / "docs" / "reference" / "performance.md"
CHART: Final = ROOT / "docs" / "images" / "performance.svg"
OURS: Final = ("gateway", "gateway (uvloop)")
AGAINST: Final = ("nginx", "HAProxy", "Envoy", "usual aiohttp", "Express")


@dataclass(frozen=True)
class Goal:
    """``ours`` divided by ``other`` is at most ``limit`` in a profile; ``uvloop`` where that loop has its own limit."""

    profile: str
    other: str
    limit: float
    uvloop: float | None = None


GOALS: Final = (
    *(
        Goal(profile, *rest)
        for profile in ("hot", "users")
        for rest in (
            ("nginx", 3.0, 2.5),
            ("Envoy", 0.75),
            ("HAProxy", 0.60),
            ("usual aiohttp", 0.21),
            ("Express", 1 / 15),
        )
    ),
    Goal("cold", "Express", 1 / 6),
    Goal("cold", "usual aiohttp", 0.27),
    Goal("cold", "HAProxy", 1.6),
    Goal("64 KB down", "nginx", 1.15),
    Goal("64 KB up", "nginx", 1.3),
    *(Goal(f"10 MB {way}", other, 1.0) for way in ("down", "up") for other in ("nginx", "HAProxy")),
)


def median(rounds: list[Measured]) -> float:
    """The middle CPU figure of the rounds, in microseconds."""
    return statistics.median(one.micros for one in rounds)


def table(results: Results, resident: Resident) -> str:
    """All figures, one row a peer and profile, as Markdown."""
    ratios_head = " | ".join(f"÷ {other}" for other in AGAINST)
    lines = [
        f"| profile | peer | CPU µs | lowest to highest | {ratios_head} | req/s | p50 µs | p99 µs |",
        "|---|---|" + "---:|" * (len(AGAINST) + 5),
    ]
    for profile, peers in results.items():
        for peer, rounds in peers.items():
            ratios = (f"{median(rounds) / median(peers[other]):.2f}" if other in peers else "" for other in AGAINST)
            spread = sorted(one.micros for one in rounds)
            rate, p50, p99 = (
                statistics.median(values)
                for values in zip(*((one.rate, one.p50, one.p99) for one in rounds), strict=True)
            )
            lines.append(
                f"| {profile} | {peer} | {median(rounds):,.1f} | {spread[0]:,.1f} to {spread[-1]:,.1f} "
                f"| {' | '.join(ratios)} | {rate:,.0f} | {p50:,.0f} | {p99:,.0f} |"
            )
    if resident:
        lines += ["", "| peer | MB resident | most under 32 transfers of 10 MB |", "|---|---:|---:|"]
        lines += [
            f"| {peer} | {before:.0f} | {most:.0f} (+{most - before:.0f}) |"
            for peer, (before, most) in resident.items()
        ]
    goals = goal_rows(results)
    if goals:
        lines += ["", "| profile | ratio | goal | asyncio | uvloop |", "|---|---|---:|---:|---:|", *goals]
    return "\n".join(lines)


def goal_rows(results: Results) -> list[str]:
    """Each goal that this run can tell about, with what was measured; what misses its goal is marked."""
    rows = []
    for goal in GOALS:
        peers = results.get(goal.profile, {})
        if goal.other not in peers:
            continue
        cells = []
        for ours, limit in zip(OURS, (goal.limit, goal.uvloop or goal.limit), strict=True):
            if ours not in peers:
                cells.append("")
                continue
            ratio = median(peers[ours]) / median(peers[goal.other])
            cells.append(f"{ratio:.3f}" if ratio <= limit else f"**{ratio:.3f}** missed")
        limit_text = f"{goal.limit:.3f}" + (f" / {goal.uvloop:.3f}" if goal.uvloop is not None else "")
        rows.append(f"| {goal.profile} | ÷ {goal.other} | {limit_text} | {' | '.join(cells)} |")
    return rows


def write_page(results: Results, resident: Resident, rounds: int, seconds: int) -> None:
    """Write the page and the chart."""
    peers = list(next(iter(results.values())))
    told = ", ".join(f"{peer} {version}" for peer, version in versions(peers).items())
    absent = [peer for peer in PEERS if peer not in peers]
    month = f"{dt.datetime.now(dt.UTC):%B %Y}"
    lines = [
        "# Performance",
        "",
        "<!-- Written by `make bench ARGS=--write`; edit tests/bench/report.py instead. -->",
        "",
        f"CPU per request, medians of {rounds} rounds of {seconds} s in one run, {month}:",
        f"CPython {platform.python_version()}, {told}.",
        "Absolute figures depend on the machine: trust the ratios. Routing, metrics, request ids and the decision log",
        "are on in every row of ours. Bare nginx verifies nothing and marks what passing on alone costs.",
        "",
        "![CPU time per request](../images/performance.svg)",
        "",
        "| profile | what is sent |",
        "|---|---|",
        "| hot | one ID token of 1.2 KB, an answer of 200 bytes |",
        "| users | the same with 2,000 tokens in rotation |",
        "| cold | every token for the first and only time |",
        "| 64 KB, 10 MB | bodies down or up, one token |",
        "| paced | 400 requests a second on one connection; CPU per request is high because nothing is batched |",
        "",
        table(results, resident),
        "",
    ]
    if absent:
        lines += [f"Not installed for this run: {', '.join(absent)}.", ""]
    PAGE.write_text("\n".join(lines), encoding="utf-8")
    if "hot" in results:
        CHART.write_text(chart({peer: median(rounds) for peer, rounds in results["hot"].items()}), encoding="utf-8")


# ---- the chart ----

WIDTH: Final = 720
ROW: Final = 34
LABELS: Final = 190
TOP: Final = 46
STYLE: Final = """
text { font: 14px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.value { font-variant-numeric: tabular-nums; }
.bar { fill: #9aa4b2; }
.ours { fill: #1a73e8; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .bar { fill: #6e7681; } .ours { fill: #6cb0ff; }
}
"""


def chart(micros: dict[str, float]) -> str:
    """Horizontal bars, the cheapest first, as SVG that follows the reader's colour scheme."""
    ranked = sorted(micros.items(), key=lambda item: item[1])
    room = WIDTH - LABELS - 80
    longest = ranked[-1][1]
    box = f"0 0 {WIDTH} {TOP + ROW * len(ranked) + 10}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" aria-labelledby="title">',
        '<title id="title">CPU microseconds per request, one hot token</title>',
        f"<style>{STYLE}</style>",
        '<text class="title" x="0" y="20">CPU microseconds per request, one hot token</text>',
    ]
    for number, (peer, value) in enumerate(ranked):
        top = TOP + ROW * number
        kind = "bar ours" if peer in OURS else "bar"
        width = max(2.0, value / longest * room)
        parts += [
            f'<text x="{LABELS - 12}" y="{top + 17}" text-anchor="end">{escape(peer)}</text>',
            f'<rect class="{kind}" x="{LABELS}" y="{top + 2}" width="{width:.1f}" height="22" rx="3"/>',
            f'<text class="value" x="{LABELS + width + 8:.1f}" y="{top + 17}">{value:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
