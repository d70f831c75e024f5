"""Part of the table in Chromium; ``make test-browsers`` runs all of it, in three engines."""

from __future__ import annotations

import asyncio

import pytest

from tests.engines import driver, firefox, report, webkit
from tests.engines.chromium import chromium
from tests.engines.sessions import ENCODINGS, forged_forms
from tests.engines.table import Finding, Verdict, run_table
from tests.engines.world import world

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("engines")]

GROUPS = ("fetch: bodies", "fetch: redirects", "from a foreign site", "by hand")
"""Where a mistake would hurt most: bodies, tokens sent elsewhere, forged requests, cold starts."""

FEWEST_ROWS = 100


async def _chromium() -> tuple[list[Finding], list[str]]:
    async with world() as around, chromium() as engine:
        return await run_table(engine, around, groups=GROUPS), await forged_forms(engine, around)


@pytest.fixture(scope="module")
def run() -> tuple[list[Finding], list[str]]:
    """One run for all tests of this file, in a loop of its own."""
    return asyncio.run(_chromium())


def test_every_kind_of_request_is_as_without_a_worker(run: tuple[list[Finding], list[str]]) -> None:
    """... gets with the worker what it gets without, and the identity, in every kind of request tried."""
    findings, _ = run
    assert [f"{finding.row.title}: {finding.why}" for finding in findings if finding.verdict is Verdict.FAIL] == []


def test_the_cookie_carries_what_no_worker_sees(run: tuple[list[Finding], list[str]]) -> None:
    """... knows the user of every kind of request by the cookie alone, except those that are anonymous by design."""
    findings, _ = run
    blind = [finding for finding in findings if finding.verdict is Verdict.COOKIE]
    assert blind
    assert [
        finding.row.title
        for finding in findings
        if not finding.row.design and _made(finding) and not finding.cookie and not finding.row.refused
    ] == []


def test_the_page_shows_this_table(run: tuple[list[Finding], list[str]]) -> None:
    """... is documented with the very results of this run, and with over a hundred kinds of request."""
    findings, _ = run
    shown = report.shown("chromium")
    mine = {finding.row.title: report.cell(finding) for finding in findings}
    assert {title: shown.get(title) for title in mine} == mine
    assert len(shown) >= FEWEST_ROWS
    assert "FAIL" not in report.PAGE.read_text("utf-8")


def test_forged_forms_are_refused(run: tuple[list[Finding], list[str]]) -> None:
    """... refuses a foreign page's form in each encoding, told by its true origin, and takes our own."""
    _, faults = run
    assert len(ENCODINGS) == 3
    assert faults == []


@pytest.mark.parametrize(
    ("variable", "launch", "package"),
    [("FIREFOX", firefox.firefox, "firefox-esr"), ("WEBKIT_DRIVER", webkit.webkit, "webkit2gtk-driver xvfb xauth")],
)
async def test_a_missing_engine_is_a_failure_with_advice(
    monkeypatch: pytest.MonkeyPatch, variable: str, launch: object, package: str
) -> None:
    """... never passes its browser tests by leaving an engine out."""
    monkeypatch.setenv(variable, "no-such-browser")
    with pytest.raises(driver.MissingEngine, match=f"apt-get install {package}"):
        async with launch():  # type: ignore[operator]
            pass


def _made(finding: Finding) -> bool:
    return finding.verdict is not Verdict.NONE
