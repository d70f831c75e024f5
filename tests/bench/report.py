"""The benchmark's tables and its chart, for the terminal and for docs/reference/performance.md."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import statistics
import textwrap
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from tests.bench.goals import OURS, Run, goal_rows, median, tally
from tests.bench.load import Measured
from tests.bench.peers import PEERS, program_of, versions
from tests.bench.proof import SHOWN
from tests.house.tree import ROOT

PAGE: Final = ROOT / "docs" / "reference" / "performance.md"
WRAP: Final = 120
CHART: Final = ROOT / "docs" / "images" / "performance.svg"

LOADS: Final = {
    "hot": "one ID token of 1.2 KB, 32 connections, an answer of 200 bytes",
    "users": "the same with the tokens of 2,000 users in rotation",
    "cold": "the same 2,000 users, every token used once",
    "64 KB down": "one token, an answer of 64 KB",
    "64 KB up": "one token, a body of 64 KB that the backend reads whole",
    "10 MB down": "one token, 8 connections, an answer of 10 MB",
    "10 MB up": "one token, 8 connections, a body of 10 MB",
    "paced": "one token, one connection, 400 requests a second; CPU is high because nothing can be done in batches",
}


INTRODUCTION: Final = """\
CPU time of one request through the gateway, beside that of other programs in front of the same backend in the same
run: medians of {rounds} rounds of {seconds} s, {month}, {machine}; {told}. Absolute figures depend on the machine and
on what else runs on it: trust the ratios."""
JUDGED: Final = """\
CPU is what one request takes. Ratios are of medians within the run; `asyncio` and `uvloop` are the loops that the
gateway ran on. HAProxy and Envoy are those with the same duties. What the duties cost them shows beside the rows
“verification only”, where these were measured, too."""
PROVEN: Final = """\
Right after {proofs} processes of the gateway were timed under `hot` and `users`, they were put to the proof: {shown}.
Each took effect on the very next request, while the process's own counters showed that the fast path was giving
earlier decisions again. One that fails ends the run without this page."""
SAME: Final = """\
Each gets the same requests with the same tokens over kept-open connections, and keeps its own to the backend open.
None but the gateway looks at accounts."""
MEMORY: Final = """\
Megabytes resident after a second of `hot`, and at the most while 32 clients fetch 10 MB each at once, again and again,
and then send as much."""
METHOD: Final = """\
One peer at a time is pinned to one core; the load generator, the backend (nginx) and what stands in for Google are on
another. CPU is user and system time of the peer's process and its children, divided by the requests that it answered.
Requests per second and percentiles are for orientation, since both cores are busy. Peers start anew for every figure,
in rotating order, and are warmed up with the same load for a second or more, Node, 10 MB aside, with at least 5,000
requests.

Under `cold` the warm-up is `users`: the accounts of the 2,000 users are known when the clock starts. What is measured
is a new token of a known user, as the hourly renewal makes it.

A row fails when an answer is not 200, when the peer opens more connections to the backend than the load itself has,
when its log or the gateway's metrics lack requests, or, under `cold`, when a token is used twice by a peer that
remembers tokens or an account has to be looked up.

`make bench` repeats it; without `ARGS=--write` it leaves this page alone."""


def text(run: Run) -> str:
    """All figures, and the goals."""
    return "\n".join([*goals(run), *figures(run)])


def goals(run: Run) -> list[str]:
    """The goals, as Markdown."""
    rows = goal_rows(run)
    if not rows:
        return []
    heads = "asyncio | uvloop"
    return [f"{tally(run)}.", "", f"| load | goal | {heads} |", "|---|---|---:|---:|", *rows, ""]


def figures(run: Run) -> list[str]:
    """A table for each load, the cheapest peer on top, as Markdown."""
    lines: list[str] = []
    for profile, peers in run.results.items():
        lines += [f"### {profile}", "", f"{LOADS[profile][0].upper()}{LOADS[profile][1:]}.", ""]
        lines += ["| peer | CPU µs | lowest to highest | asyncio ÷ this | uvloop ÷ this | req/s | p50 µs | p99 µs |"]
        lines += ["|---|" + "---:|" * 7]
        ranked = sorted((median(rounds), peer, rounds) for peer, rounds in peers.items() if rounds)
        lines += [_row(peer, rounds, [peers.get(ours) for ours in OURS]) for _, peer, rounds in ranked]
        failed = {peer: why for (name, peer), why in run.failed.items() if name == profile}
        lines += [f"| {peer} | failed: {why} |  |  |  |  |  |  |" for peer, why in failed.items()]
        lines += [""]
    if run.resident:
        lines += ["### memory", "", MEMORY, ""]
        lines += ["| peer | before | most | more |", "|---|---:|---:|---:|"]
        lines += [
            f"| {peer} | {before:.0f} | {most:.0f} | {most - before:+.0f} |"
            for peer, (before, most) in run.resident.items()
        ]
        failed = {peer: why for (name, peer), why in run.failed.items() if name == "memory"}
        lines += [f"| {peer} | failed: {why} |  |  |" for peer, why in failed.items()]
        lines += [""]
    return lines


def _row(peer: str, rounds: list[Measured], ours: list[list[Measured] | None]) -> str:
    micros = median(rounds)
    spread = sorted(one.micros for one in rounds)
    ratios = [f"{median(own) / micros:.2f}" if own else "" for own in ours]
    rate, p50, p99 = (
        statistics.median(values) for values in zip(*((one.rate, one.p50, one.p99) for one in rounds), strict=True)
    )
    name = f"**{peer}**" if peer in OURS else peer
    return (
        f"| {name} | {micros:,.1f} | {spread[0]:,.1f} to {spread[-1]:,.1f} | {' | '.join(ratios)} "
        f"| {rate:,.0f} | {p50:,.0f} | {p99:,.0f} |"
    )


# ---- the page ----


def page(run: Run, *, month: str, machine: str, told: str) -> str:
    """The page of the documentation.

    :param told: the programs that were compared, with their versions.
    """
    compared = [peer for peer in PEERS if any(peer in peers for peers in run.results.values())]
    values = {"rounds": run.rounds, "seconds": run.seconds, "month": month, "machine": machine, "told": told}
    lines = [
        "# Performance",
        "",
        "<!-- Written by `make bench ARGS=--write`; edit tests/bench/report.py instead. -->",
        "",
        _wrapped(INTRODUCTION.format(**values)),
        "",
        "![CPU time per request](../images/performance.svg)",
        "",
        "## Goals",
        "",
        JUDGED,
        "",
        *goals(run),
        *([_wrapped(PROVEN.format(proofs=run.proofs, shown=", ".join(SHOWN))), ""] if run.proofs else []),
        "## What each program does",
        "",
        SAME,
        "",
        "| peer | what it does for each request |",
        "|---|---|",
        *(f"| {peer} | {PEERS[peer].does}. |" for peer in compared),
        "",
        "## How it is measured",
        "",
        METHOD,
        "",
        "## Figures",
        "",
        *figures(run),
    ]
    absent = {program_of(peer): wanted for peer, wanted in run.absent.items()}
    if absent:
        lines += ["Not installed for this run: " + "; ".join(f"{name} ({it})" for name, it in absent.items()) + ".", ""]
    return "\n".join(lines)


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(" ".join(paragraph.split()), WRAP, break_long_words=False, break_on_hyphens=False)


def write_page(run: Run) -> None:
    """Write the page and the chart."""
    peers = [peer for peer in PEERS if any(peer in found for found in run.results.values())]
    told = [f"CPython {platform.python_version()}", f"aiohttp {importlib.metadata.version('aiohttp')}"]
    if OURS[1] in peers:
        told.append(f"uvloop {importlib.metadata.version('uvloop')}")
    told += [f"{peer} {version}" for peer, version in versions(peers).items()]
    now = dt.datetime.now(dt.UTC)
    PAGE.write_text(page(run, month=f"{now:%B %Y}", machine=_machine(), told=", ".join(told)), encoding="utf-8")
    CHART.write_text(chart(charted(run)), encoding="utf-8")


def _machine() -> str:
    cores = f"{os.cpu_count()} cores"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return cores
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{cores} of {model}" if model else cores


# ---- the chart ----

CHARTED: Final = {"users": "2,000 users in rotation", "cold": "every token used once"}
NAMES: Final = {"nginx": "bare nginx"}
"""What the chart calls a peer, which has no room to say more of it."""
WIDTH: Final = 400
"""Units of the drawing; shown 480 pixels wide, or as wide as a phone's screen is."""
SHOWN_WIDTH: Final = 480
ROW: Final = 25
BAR: Final = 16
LABELS: Final = 124
VALUES: Final = 44
MARGIN: Final = 12
HEAD: Final = 28
STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.value { font-variant-numeric: tabular-nums; }
.paper { fill: #ffffff; }
.bar { fill: #9aa4b2; }
.ours { fill: #1a73e8; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .paper { fill: #0d1117; } .bar { fill: #6e7681; } .ours { fill: #6cb0ff; }
}
"""

Charted = dict[str, dict[str, float]]
"""Caption, peer, CPU microseconds."""


def charted(run: Run) -> Charted:
    """What the chart shows: the peers in their usual form."""
    chosen = [peer for peer in PEERS if peer in OURS or peer == program_of(peer)]
    found = {}
    for profile, caption in CHARTED.items():
        peers = run.results.get(profile, {})
        if micros := {peer: median(peers[peer]) for peer in chosen if peers.get(peer)}:
            found[caption] = micros
    return found


def chart(groups: Charted) -> str:
    """Horizontal bars on one scale, the cheapest first, as SVG that follows the reader's colour scheme."""
    title = "CPU microseconds per request"
    longest = max((value for micros in groups.values() for value in micros.values()), default=1.0)
    room = WIDTH - 2 * MARGIN - LABELS - VALUES
    top = MARGIN + HEAD
    parts = [f'<text class="title" x="{MARGIN}" y="{MARGIN + 12}">{title}</text>']
    for caption, micros in groups.items():
        parts.append(f'<text x="{MARGIN}" y="{top + 12}">{escape(caption)}</text>')
        top += HEAD
        for peer, value in sorted(micros.items(), key=lambda item: item[1]):
            left, width = MARGIN + LABELS, max(2.0, value / longest * room)
            kind = "bar ours" if peer in OURS else "bar"
            base = top + BAR - 4
            parts += [
                f'<text x="{left - 8}" y="{base}" text-anchor="end">{escape(NAMES.get(peer, peer))}</text>',
                f'<rect class="{kind}" x="{left}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2"/>',
                f'<text class="value" x="{left + width + 6:.1f}" y="{base}">{value:,.0f}</text>',
            ]
            top += ROW
        top += MARGIN
    size = f'width="{SHOWN_WIDTH}" height="{top * SHOWN_WIDTH / WIDTH:.0f}" viewBox="0 0 {WIDTH} {top}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title">',
            f'<title id="title">{title}</title>',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{top}" rx="6"/>',
            *parts,
            "</svg>",
            "",
        ]
    )
