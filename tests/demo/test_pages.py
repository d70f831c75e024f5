"""The workshop's page in a real browser, with the gateway's part played by fixed headers and canned refusals."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Route, ViewportSize, async_playwright, expect

import gateway.demo
from gateway import reasons
from gateway.demo.backend import DemoBackend
from gateway.demo.network import AWAY, HOME, DemoNetwork
from gateway.reasons import Reason
from tests.demo.conftest import ADA_HEADERS, Revocations
from tests.support.chromium import ARGUMENTS, chromium_path

pytestmark = pytest.mark.browser

PHONE: ViewportSize = {"width": 375, "height": 812}  # CSS pixels of the narrowest phones still common


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=[*ARGUMENTS])
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser, backend: DemoBackend) -> AsyncIterator[Page]:
    """The home page, opened and ready; fails at its end when the page broke its own policy or threw."""
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # A refused call is what some buttons are for, and the browser reports each as an error of its own.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    context = await browser.new_context(viewport=PHONE, extra_http_headers=ADA_HEADERS, base_url=backend.url)
    page = await context.new_page()
    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto("/")
    await page.wait_for_selector("html[data-ready]")
    yield page
    await context.close()
    assert complaints == []


async def refuse(route: Route, reason: Reason) -> None:
    body = {"title": reason.title, "status": reason.status, "detail": reason.advice, "code": reason.id}
    await route.fulfill(status=reason.status, content_type="application/problem+json", body=json.dumps(body))


async def test_ordinary_traffic(page: Page) -> None:
    """The demo page shows equal hashes of a 5 MB upload, JSON, an echo and live events, and fits a phone."""
    await page.click("#upload-make")
    await expect(page.locator("#upload-verdict")).to_contain_text("✓ Byte for byte the same")
    ours, theirs = await page.inner_text("#hash-browser"), await page.inner_text("#hash-backend")
    assert re.fullmatch("[0-9a-f]{64}", ours)
    assert ours == theirs

    await page.click("text=Who am I?")
    await expect(page.locator("#json-result")).to_contain_text('"email": "ada@example.com"')

    await page.fill("#echo-text", "<b>ring</b>")
    await page.press("#echo-text", "Enter")
    await expect(page.locator("#echo-log")).to_contain_text("backend: <b>ring</b>")

    await page.click("#live-toggle")
    await expect(page.locator("#live-log li:nth-child(3)")).to_be_visible()
    await page.click("#live-toggle")
    await expect(page.locator("#live-state")).to_have_text("Stopped")

    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_changed_upload_is_called_out(page: Page) -> None:
    """The demo page says so when the backend received other bytes than the browser sent."""
    receipt = {"name": "f", "content_type": "x/y", "size": 5_242_880, "sha256": "0" * 64}
    await page.route("**/upload", lambda route: route.fulfill(json=receipt))
    await page.click("#upload-make")
    await expect(page.locator("#upload-verdict")).to_contain_text("✗ The backend received something else")


async def test_decisions_are_explained(page: Page, network: DemoNetwork, revocations: Revocations) -> None:
    """The demo page shows the status, reason id, title and meaning of what the gateway refuses."""

    async def judge(route: Route) -> None:
        elsewhere = route.request.headers.get("x-forwarded-for") == str(AWAY) or network.current != HOME
        if revocations.uids:
            await refuse(route, reasons.SESSION_REVOKED)
        elif elsewhere:
            await refuse(route, reasons.NETWORK_CHANGED)
        else:
            await route.continue_()

    await page.route("**/api/whoami", judge)
    await page.click("#other")
    answers = page.locator("#other-result .answer")
    await expect(answers.nth(0)).to_contain_text(f"401 network_changed {reasons.NETWORK_CHANGED.title}")
    await expect(answers.nth(0)).to_contain_text("issued to somebody at another network address")
    await expect(answers.nth(1)).to_contain_text("200")

    await page.click("#travel")
    await expect(page.locator("#travel-result")).to_contain_text("network_changed")
    await expect(page.locator("#here")).to_have_text(str(AWAY))
    await expect(page.locator("#travel-result a")).to_have_attribute("href", "/jobs/7")
    await page.click("#go-home")
    await expect(page.locator("#travel-result")).to_contain_text("200")
    await expect(page.locator("#here-note")).to_have_text(", at home")

    await page.click("#revoke")
    await expect(page.locator("#revoke-result")).to_contain_text("401 session_revoked")
    assert revocations.uids == ["ada-uid"]


async def test_a_refusal_the_page_has_no_words_for(page: Page) -> None:
    """The demo page falls back to the gateway's own words, and to plain ones when no answer comes."""
    await page.route("**/api/whoami", lambda route: refuse(route, reasons.TOKEN_NOT_YET_VALID))
    await page.click("#anonymous")
    await expect(page.locator("#anonymous-result")).to_contain_text(reasons.TOKEN_NOT_YET_VALID.advice)
    await page.unroute("**/api/whoami")
    await page.route("**/api/whoami", lambda route: route.abort())
    await page.click("#anonymous")
    await expect(page.locator("#anonymous-result")).to_contain_text("No answer came back.")


def test_every_reason_the_page_explains_exists() -> None:
    """The demo page explains reasons of the closed table only, each of which is a refusal."""
    script = Path(gateway.demo.__file__).parent.joinpath("pages", "answers.js").read_text("utf-8")
    table = script.partition("MEANINGS = {")[2].partition("};")[0]
    explained = re.findall(r"^\s+(\w+):", table, re.MULTILINE)
    assert {"sign_in_required", "network_changed", "session_revoked"} <= set(explained)
    assert all(reasons.TABLE[reason].status for reason in explained)
