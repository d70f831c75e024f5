"""The page ``docs/reference/requests.md``, written from a run of all engines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.engines.latency import Cost
from tests.engines.sessions import Races
from tests.engines.table import Finding, Verdict

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "requests.md"

ENGINES: Final = ("chromium", "firefox", "webkit")

HEAD: Final = """\
<!-- Written by a run of all engines: `make test-browsers ARGS=--write`. -->

# Which requests carry the session

{count} kinds of request, in {versions}. Each was made three times in a fresh profile:
without a worker, which says what the browser does by itself; signed in with the service worker and no session cookie;
and with the session cookie and no worker. With the worker, what the backend got (number of requests, method, header
fields, SHA-256 of the body) and what the page got (status, type, address, body, events) must be the same as without it,
and the identity must be there.

| in the table | meaning |
| --- | --- |
| worker | arrives with the user's identity; everything else is as without a worker |
| cookie | no worker sees it in this engine: the [session cookie](session-cookie.md) carries the session |
| left alone | carries no session, by design; the reason stands beside it |
| – | the engine makes no such request here, or cannot be told to |

A tick in the last column: with the session cookie alone the request reaches the backend as the user, in every engine
that makes it. Where an engine is excepted, it calls a request of our own page cross-site, and a cookie needs better
proof; the worker carries those.
"""

FACTS: Final = """\
## What a browser takes from requests that any worker relays

No worker that relays a request can give these back. Where one of them matters, leave its path to the cookie
(`worker.excluded`).

{lost}
- A page that gives up before the answer has begun is not heard by workers (w3c/ServiceWorker#1544): the backend goes
  on. From the first byte on it is.
- `Sec-Fetch-Mode`, `-Dest` and `-Site` describe the worker's request. The worker tells the gateway the true ones in
  `X-Gateway-Fetch`. Chromium's client hints (`Sec-CH-UA`) and, on GET, an `Origin` that only markup with `crossorigin`
  causes are left out; `Accept-Encoding` of media is the one that fetches have. A cross-site post is never relayed, so
  there all fields are the browser's own.

## Sessions over time

{races}

A form on a foreign page, in three encodings, while the person is signed in with worker and cookie: no token, no cookie,
the true `Origin` and `Sec-Fetch-Site: cross-site`, refused by the gateway. Our own form in the same encodings arrives,
signed in. So it is in all three engines.

## What it costs

On one machine with two cores, with provider and backend in the gateway's process. {rounds} rounds in one browser, each
of {fetches} fetches with the worker, without one, and with a worker that does nothing but relay; what a worker adds is
the median of the differences within the rounds.

{costs}
"""


def page(
    versions: Sequence[str],
    findings: Mapping[str, Sequence[Finding]],
    races: Mapping[str, Races],
    costs: Sequence[Cost],
) -> str:
    """The whole page."""
    first = findings[ENGINES[0]]
    parts = [HEAD.format(count=len(first), versions=", ".join(versions))]
    for group in dict.fromkeys(finding.row.group for finding in first):
        parts.append(f"## {group[0].upper()}{group[1:]}\n")
        parts.append("| request | Chromium | Firefox | WebKit | cookie |\n| --- | --- | --- | --- | --- |")
        for index, finding in enumerate(first):
            if finding.row.group == group:
                row = [findings[engine][index] for engine in ENGINES]
                parts.append(f"| {finding.row.title} | {' | '.join(map(cell, row))} | {_tick(row)} |")
        parts.append("")
    lost = dict.fromkeys(
        f"- {_NAMES[engine]}: {finding.lost} ({finding.row.title})."
        for engine in ENGINES
        for finding in findings[engine]
        if finding.lost
    )
    facts = FACTS.format(
        lost="\n".join(lost),
        races="\n".join(f"- {_NAMES[engine]}: {found}." for engine, found in races.items()),
        rounds=len(costs[0].plain),
        fetches=len(costs[0].plain[0]),
        costs="\n".join(f"- {_NAMES[cost.engine]}: {cost}." for cost in costs),
    )
    return "\n".join([*parts, facts])


_NAMES: Final = {"chromium": "Chromium", "firefox": "Firefox", "webkit": "WebKit"}


def cell(finding: Finding) -> str:
    """What stands in the table for one engine."""
    if finding.verdict is Verdict.NONE:
        return "–"
    if finding.verdict is Verdict.ALONE:
        return f"left alone: {finding.row.design}"
    return f"{finding.verdict}{', with a loss' if finding.lost else ''}"


def _tick(row: Sequence[Finding]) -> str:
    made = {engine: f.cookie for engine, f in zip(ENGINES, row, strict=True) if f.verdict is not Verdict.NONE}
    missing = [_NAMES[engine] for engine, good in made.items() if not good]
    if not made or len(missing) == len(made):
        return ""
    return f"✓, not in {', '.join(missing)}" if missing else "✓"


def shown(engine: str) -> dict[str, str]:
    """What the page says of one engine: title to cell."""
    column = ENGINES.index(engine) + 1
    text = PAGE.read_text("utf-8")
    tables = text.split("\n## ", 1)[1].split("## What a browser takes")[0]
    rows = [line.strip("| ").split(" | ") for line in tables.splitlines() if re.match(r"\| (?!request|---)", line)]
    return {cells[0]: cells[column] for cells in rows}
