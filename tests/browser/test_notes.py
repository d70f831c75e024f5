"""The notes application in a real browser: everything that a proxy does, done by the application itself."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import async_playwright, expect

from gateway.blocking.builtin import record_sign_in_ip
from gateway.idp import IdentityProvider, ProviderSettings
from tests.examples.test_five_lines import load
from tests.support.chromium import ARGUMENTS, chromium_path

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

APP = Path(__file__).parents[2] / "examples" / "notes" / "app.py"
PROJECT = "demo-notes"
STALENESS = 0.5


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[IdentityProvider]:
    """The identity provider that the example's settings ask for, on another port."""
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    settings = ProviderSettings(project_id=PROJECT, database=None, port=0, password_profile="testing")
    provider = IdentityProvider(settings, before_sign_in=record_sign_in_ip)
    await provider.start()
    monkeypatch.setenv("GATEWAY__FIREBASE__EMULATOR", provider.url.removeprefix("http://"))
    monkeypatch.setenv("GATEWAY__REVOCATION__MAX_STALENESS", f"{STALENESS}s")
    monkeypatch.setenv("GATEWAY__LOG__DECISIONS", "off")
    yield provider
    await provider.close()


async def test_a_person_keeps_notes(provider: IdentityProvider) -> None:
    """... signs in, keeps notes that an open page shows at once, and is out when the session is revoked."""
    app = load(APP, "notes_in_a_browser").make_app()
    async with TestServer(app, host="127.0.0.1") as server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=list(ARGUMENTS))
        context = await browser.new_context(base_url=f"http://localhost:{server.port}")
        page = await context.new_page()
        await page.goto("/notes")
        await page.get_by_role("button", name="Create an account").click()
        await page.get_by_label("E-mail").locator("visible=true").fill("ada@example.com")
        await page.locator("#signup-password").fill("correct horse battery")
        await page.get_by_role("button", name="Create account").click()
        await page.wait_for_url(re.compile("/notes$"))
        await expect(page.get_by_text("ada@example.com")).to_be_visible()

        open_page = await context.new_page()
        await open_page.goto("/notes")
        await page.get_by_label("New note").fill("milk <b>")
        await page.get_by_role("button", name="Keep").click()
        await expect(page.locator("#notes li")).to_have_text(["milk <b>"])
        # The other tab is told over its WebSocket, which the session cookie authorised.
        await expect(open_page.locator("#notes li")).to_have_text(["milk <b>"])

        refused = await page.evaluate("fetch('/pinned', {method: 'POST'}).then(answer => answer.status)")
        assert refused == 403

        uid = await page.evaluate("fetch('/.gateway/userinfo').then(answer => answer.json()).then(({uid}) => uid)")
        await _revoke(provider, uid)
        await open_page.wait_for_url(re.compile("reason=session_revoked"))
        # The socket of the first page was closed as well, and its page went the same way.
        await page.wait_for_url(re.compile("/.gateway/login"))
        await browser.close()


async def _revoke(provider: IdentityProvider, uid: str) -> None:
    url = f"{provider.url}/identitytoolkit.googleapis.com/v1/projects/{PROJECT}/accounts:update"
    body = {"localId": uid, "validSince": "4000000000"}
    headers = {"Authorization": "Bearer owner"}
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as response:
        assert response.status == 200
