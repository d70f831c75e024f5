"""The worker in Chromium, watched from all sides: cold starts, a dead token service, signing out, switching off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.browser.site import API_KEY, RECORD, SIGN_IN, Site, running
from tests.support.chromium import ARGUMENTS, chromium_path

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ROUNDS = 20
PARALLEL = 50
EXPIRE = "record((user) => ({...user, stsTokenManager: {...user.stsTokenManager, expirationTime: 1}}))"
NO_COOKIE: dict[str, Any] = {"session.cookie": "off"}
BUILDS = pytest.mark.parametrize("sdk", [False, True], ids=["lean", "sdk"])


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, headless."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium_path(), args=list(ARGUMENTS))
        yield launched
        await launched.close()


async def profile(browser: Browser, site: Site) -> BrowserContext:
    """A fresh profile in which tests may write the SDK's record."""
    context = await browser.new_context(base_url=site.url)
    await context.add_init_script(RECORD)
    return context


async def sign_in(page: Page, site: Site, email: str) -> str:
    """In a page of the site: sign in without the login page; returns the user's id."""
    uid: str = await page.evaluate(SIGN_IN, [site.provider, API_KEY, email])
    return uid


async def controlled(page: Page, path: str = "/open/start") -> None:
    """Open a page and have the worker control it."""
    await page.goto(path)
    await page.evaluate("import('/.gateway/session.js').then((session) => session.ready())")
    assert await page.evaluate("!!navigator.serviceWorker.controller")


async def stop_workers(context: BrowserContext, page: Page) -> None:
    """What the browser itself does with a worker that has been idle for half a minute."""
    devtools = await context.new_cdp_session(page)
    await devtools.send("ServiceWorker.enable")
    await devtools.send("ServiceWorker.stopAllWorkers")
    await devtools.detach()


async def test_a_cold_start_sends_one_request_and_asks_nobody(browser: Browser) -> None:
    """... sends exactly one, authenticated request from a worker that was stopped, and asks the provider nothing."""
    async with running(NO_COOKIE) as site:
        context = await profile(browser, site)
        page = await context.new_page()
        await controlled(page)
        uid = await sign_in(page, site, "cold@example.com")
        for number in range(ROUNDS):
            await stop_workers(context, page)
            await page.goto(f"/cold/{number}")
            assert site.users(f"/cold/{number}") == [uid]
        assert (site.renewals, site.lookups) == ([], [])
        await context.close()


@BUILDS
async def test_one_renewal_serves_everybody(browser: Browser, sdk: bool) -> None:
    """... asks the token service once for fifty requests of two tabs, and all of them arrive authenticated."""
    async with running(NO_COOKIE | {"worker.sdk": sdk}) as site:
        context = await profile(browser, site)
        page, other = await context.new_page(), await context.new_page()
        await controlled(page)
        await controlled(other)
        uid = await sign_in(page, site, "once@example.com")
        await page.evaluate(EXPIRE)
        await stop_workers(context, page)
        ask = "(path) => { window.all = Promise.all(Array.from({length: 25}, () => fetch(path).then(r => r.status))) }"
        await page.evaluate(ask, "/one")
        await other.evaluate(ask, "/other")
        statuses = [*await page.evaluate("window.all"), *await other.evaluate("window.all")]
        assert statuses == [200] * PARALLEL
        assert site.users("/one") + site.users("/other") == [uid] * PARALLEL
        assert len(site.renewals) == 1
        await context.close()


@BUILDS
async def test_a_dead_token_service_is_not_stormed(browser: Browser, sdk: bool) -> None:
    """... asks a dead token service at most twice for fifty requests, and says why they carry nothing.

    The SDK asks on its own account as well, each time it starts.
    """
    async with running(NO_COOKIE | {"worker.sdk": sdk}) as site:
        context = await profile(browser, site)
        page = await context.new_page()
        await controlled(page)
        await sign_in(page, site, "dead@example.com")
        await page.evaluate(EXPIRE)
        site.token_service_dead = True
        await stop_workers(context, page)
        codes = await page.evaluate(
            "n => Promise.all(Array.from({length: n}, () => fetch('/api').then(r => r.json()).then(p => p.code)))",
            PARALLEL,
        )
        assert codes == ["token_refresh_failed"] * PARALLEL
        assert len(site.renewals) <= (4 if sdk else 2)
        assert site.users("/api") == []
        await context.close()


@BUILDS
@pytest.mark.parametrize("cookie", ["off", "id_token"])
async def test_after_sign_out_resolves_the_next_request_is_anonymous(browser: Browser, cookie: str, sdk: bool) -> None:
    """... carries nothing after signOut() has resolved, in this tab and in another, and the other tab is told."""
    async with running({"session.cookie": cookie, "worker.sdk": sdk}) as site:
        context = await profile(browser, site)
        page, other = await context.new_page(), await context.new_page()
        await controlled(page)
        await controlled(other)
        await other.evaluate(
            "import('/.gateway/session.js').then(({on}) => {"
            " window.told = 0; on('signedout', () => { window.told += 1; }); })"
        )
        tell = """
        () => new Promise((resolve) => {
          const {port1, port2} = new MessageChannel();
          port1.onmessage = ({data}) => data.status === "done" && resolve();
          const data = {key: "firebase:authUser:k:[DEFAULT]"};
          navigator.serviceWorker.controller.postMessage({eventType: "keyChanged", eventId: "1", data}, [port2]);
        })
        """
        sign_out_and_ask = """
        async ([path]) => {
          const {signOut} = await import("/.gateway/session.js");
          await signOut();
          return (await (await fetch(path)).json()).user;
        }
        """
        for number in range(ROUNDS):
            uid = await sign_in(page, site, f"out-{cookie}-{number}@example.com")
            await page.evaluate(tell)
            assert await other.evaluate("fetch('/open/in').then(r => r.json()).then(({user}) => user)") == uid
            assert await page.evaluate(sign_out_and_ask, ["/open/own"]) == ""
            assert await other.evaluate("fetch('/open/other').then(r => r.json()).then(({user}) => user)") == ""
        await other.wait_for_function(f"window.told === {ROUNDS}")
        assert not [entry for entry in await context.cookies() if "session" in entry["name"]]
        await context.close()


async def test_the_session_cookie_follows_the_stored_session(browser: Browser) -> None:
    """... carries by cookie what no worker sees: a WebSocket handshake arrives with the user."""
    async with running({}) as site:
        context = await profile(browser, site)
        page = await context.new_page()
        await page.goto("/jobs/42")
        await page.get_by_role("button", name="Create an account").click()
        await page.get_by_label("E-mail").locator("visible=true").fill("cookie@example.com")
        await page.locator("#signup-password").fill("correct horse battery")
        await page.get_by_role("button", name="Create account").click()
        await page.wait_for_url("**/jobs/42")
        (uid,) = site.users("/jobs/42")
        await page.evaluate(
            "new Promise(done => {"
            " const s = new WebSocket(`ws://${location.host}/socket`); s.onerror = s.onopen = done; })"
        )
        assert site.users("/socket") == [uid]
        await context.close()


async def test_the_kill_switch_removes_the_worker_and_nothing_else(browser: Browser) -> None:
    """... is gone after one update once it is switched off, with no page reloaded and the session intact."""
    async with running({}) as site:
        context = await profile(browser, site)
        page = await context.new_page()
        await controlled(page)
        await sign_in(page, site, "switch@example.com")
        await page.evaluate("window.mark = 'still here'")
        port = int(site.url.rpartition(":")[2])
        record = await page.evaluate("indexedDB.databases().then(all => all.map(({name}) => name))")
    async with running({"worker.enabled": False, "listen": {"public": f"127.0.0.1:{port}", "admin": "off"}}):
        await page.evaluate("navigator.serviceWorker.getRegistration().then(found => found.update())")
        await page.wait_for_function(
            "navigator.serviceWorker.getRegistration().then(found => !found || found.active.state === 'activated')"
        )
        assert await page.evaluate("window.mark") == "still here"
        await page.wait_for_function("navigator.serviceWorker.getRegistrations().then(all => all.length === 0)")
        # The browser lets go of a page that is open with the next navigation but one; whoever comes anew is free.
        await page.close()
        page = await context.new_page()
        await page.goto("/open/after")
        assert await page.evaluate("indexedDB.databases().then(all => all.map(({name}) => name))") == record
        assert await page.evaluate("navigator.serviceWorker.controller") is None
        await context.close()


async def test_the_build_on_the_sdk_does_the_same(browser: Browser) -> None:
    """... signs in, renews and signs out with the worker that is built on the Firebase JS SDK."""
    async with running({"worker.sdk": True} | NO_COOKIE) as site:
        context = await profile(browser, site)
        page = await context.new_page()
        await page.goto("/jobs/42")
        await page.get_by_role("button", name="Create an account").click()
        await page.get_by_label("E-mail").locator("visible=true").fill("sdk@example.com")
        await page.locator("#signup-password").fill("correct horse battery")
        await page.get_by_role("button", name="Create account").click()
        await page.wait_for_url("**/jobs/42")
        (uid,) = site.users("/jobs/42")
        assert uid
        await page.evaluate(EXPIRE)
        await stop_workers(context, page)
        site.renewals.clear()
        statuses = await page.evaluate(
            "n => Promise.all(Array.from({length: n}, () => fetch('/api').then(r => r.status)))", PARALLEL
        )
        assert statuses == [200] * PARALLEL
        assert len(site.renewals) <= 2
        await page.evaluate("import('/.gateway/session.js').then(({signOut}) => signOut())")
        assert await page.evaluate("fetch('/open/out').then(r => r.json()).then(({user}) => user)") == ""
        await context.close()


async def test_the_worker_runs_no_code_but_its_own(browser: Browser) -> None:
    """... keeps its worker from running text as code, from importing scripts and from opening WebSockets."""
    async with running(NO_COOKIE) as site:
        context = await profile(browser, site)
        page = await context.new_page()
        await controlled(page)
        (worker,) = context.service_workers
        tried = await worker.evaluate(
            """
          async (url) => {
            const failed = (work) => { try { work(); return ""; } catch (error) { return error.name; } };
            const socket = () => new Promise((done) => {
              try { const s = new WebSocket(url); s.onopen = () => done("opened"); s.onerror = () => done("refused"); }
              catch (error) { done("refused"); }
            });
            const violated = new Promise((done) => {
              self.addEventListener("securitypolicyviolation", (event) => {
                if (event.effectiveDirective === "connect-src") done(event.effectiveDirective);
              });
            });
            // In a task of its own: what the debugger calls directly is exempt.
            const code = await new Promise((done) => {
              setTimeout(() => done([failed(() => self.eval("1")), failed(() => new Function("1"))]));
            });
            return [...code, await socket(), await violated];
          }
        """,
            site.url.replace("http:", "ws:") + "/open/socket",
        )
        assert tried == ["EvalError", "EvalError", "refused", "connect-src"]
        await context.close()
