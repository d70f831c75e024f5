"""Try all engines: ``python -m tests.engines [chromium firefox webkit] [--only PART] [--write]``.

Status 0 when nothing failed.
"""

# ruff: noqa: T201 because a command prints

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from tests.engines.chromium import chromium
from tests.engines.driver import Engine, MissingEngine
from tests.engines.firefox import firefox
from tests.engines.latency import Cost, cost
from tests.engines.report import ENGINES, PAGE, page
from tests.engines.sessions import Races, forged_forms, races
from tests.engines.table import Finding, Verdict, run_table
from tests.engines.webkit import webkit
from tests.engines.world import World, world

LAUNCH: Final[dict[str, Callable[[], AbstractAsyncContextManager[Engine]]]] = {
    "chromium": chromium,
    "firefox": firefox,
    "webkit": webkit,
}

REQUESTS, COST = PARTS = ("requests", "cost")
"""What is tried: every kind of request and what only shows over time; what the worker costs."""

AT_ONCE: Final = 2
"""Browsers that run side by side; most of the time each waits for something."""


@dataclass(slots=True)
class Results:
    """What the run has found so far."""

    versions: dict[str, str] = field(default_factory=dict)
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    races: dict[str, Races] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


Trial = Callable[[Engine, World, Results], Coroutine[None, None, None]]


async def _kinds(engine: Engine, around: World, results: Results) -> None:
    """Try every kind of request."""
    began = time.monotonic()
    name = engine.name
    results.versions[name] = engine.version
    findings = results.findings[name] = await run_table(engine, around)
    counts = Counter(str(finding.verdict) for finding in findings)
    print(f"{engine.version}: {len(findings)} kinds of request: {dict(counts)} ({time.monotonic() - began:.0f} s)")
    failed = [finding for finding in findings if finding.verdict is Verdict.FAIL]
    for finding in failed:
        print(f"  {finding.row.title}: {finding.why}", flush=True)
    results.faults += [f"{name}: {finding.row.title}: {finding.why}" for finding in failed]


async def _over_time(engine: Engine, around: World, results: Results) -> None:
    """Try what only shows over time."""
    began = time.monotonic()
    name = engine.name
    results.faults += [f"{name}: {fault}" for fault in await forged_forms(engine, around)]
    found = results.races[name] = await races(engine, around)
    print(f"{engine.version}: {found} ({time.monotonic() - began:.0f} s)", flush=True)
    if not found.good:
        results.faults.append(f"{name}: {found}")


async def _measure(engine: Engine, around: World, results: Results) -> None:
    found = await cost(engine, around)
    results.costs.append(found)
    print(f"{engine.version}: {found}", flush=True)
    if not found.good:
        results.faults.append(f"{engine.name}: slower than promised: {found}")


async def _run(names: list[str], parts: Collection[str], results: Results) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def attempt(trial: Trial, name: str, around: World) -> None:
        async with turns, LAUNCH[name]() as engine:
            await trial(engine, around, results)

    async with world() as around:
        async with asyncio.TaskGroup() as group:
            # The longest first, so that nobody runs alone at the end.
            for trial in (_kinds, _over_time) if REQUESTS in parts else ():
                for name in names:
                    group.create_task(attempt(trial, name, around))
        for name in names if COST in parts else ():  # one after the other: nobody else's work is to be measured
            async with LAUNCH[name]() as engine:
                await _measure(engine, around, results)
        if not around.with_cookie:
            results.faults.append("the session cookie was not tried")


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.engines", description=__doc__)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"any of {', '.join(ENGINES)}; default: all")
    parser.add_argument("--only", choices=PARTS, help="try this and nothing else")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} from this run")
    arguments = parser.parse_args()
    names = arguments.engines or list(ENGINES)
    if unknown := set(names) - set(ENGINES):
        parser.error(f"no such engine: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    results = Results()
    try:
        asyncio.run(_run(names, [arguments.only] if arguments.only else PARTS, results))
    except* MissingEngine as missing:
        results.faults += [str(error) for error in missing.exceptions]
    for fault in results.faults:
        print(f"FAIL {fault}", file=sys.stderr)
    print(f"{len(results.faults)} FAIL, {time.monotonic() - began:.0f} s")
    if arguments.write and not results.faults and set(names) == set(ENGINES) and not arguments.only:
        versions = [results.versions[name] for name in ENGINES]
        text = page(versions, results.findings, {name: results.races[name] for name in ENGINES}, results.costs)
        PAGE.write_text(text, encoding="utf-8")
        print(f"wrote {PAGE.name}")
    return 1 if results.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
