"""Back, after signing out elsewhere: what the browser kept of the page must not be shown to whoever comes next."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.browser.site import API_KEY, RECORD, SIGN_IN, Site, running
from tests.support.chromium import ARGUMENTS, chromium_path

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SECRET = "what only Ada may see"
PAGE = f"""<!doctype html><title>protected</title><h1>{SECRET}</h1>
<script type="module">
  import "/.gateway/session.js";
  addEventListener("pageshow", (event) => {{ if (event.persisted) sessionStorage.restored = "yes"; }});
</script>"""
FORGET = """
new Promise((resolve, reject) => {
  const opening = indexedDB.open("firebaseLocalStorageDb", 1);
  opening.onerror = reject;
  opening.onsuccess = () => {
    const transaction = opening.result.transaction("firebaseLocalStorage", "readwrite");
    transaction.objectStore("firebaseLocalStorage").clear();
    transaction.oncomplete = () => { opening.result.close(); resolve(); };
  };
})
"""
"""What the SDK does at a sign-out that the gateway does not hear of."""
SIGN_OUT = "import('/.gateway/session.js').then(({ signOut }) => signOut())"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium with the cache that people's browsers have and Playwright switches off."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=chromium_path(),
            args=list(ARGUMENTS),
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield launched
        await launched.close()


async def signed_in(browser: Browser, site: Site) -> tuple[BrowserContext, Page]:
    """A tab that shows a protected page and then another one, so that the first can be gone back to."""
    context = await browser.new_context(base_url=site.url)
    await context.add_init_script(RECORD)
    page = await context.new_page()
    await page.goto("/open/start")
    await page.evaluate("import('/.gateway/session.js').then((session) => session.ready())")
    await page.evaluate(SIGN_IN, [site.provider, API_KEY, "ada@example.com"])
    await page.goto("/secret")
    assert SECRET in await page.content()
    await page.goto("/open/next")
    return context, page


@pytest.mark.parametrize("leave", [FORGET, SIGN_OUT], ids=["sdk", "helper"])
async def test_back_shows_nothing_after_a_sign_out_in_another_tab(browser: Browser, leave: str) -> None:
    """... leads to the login page when somebody goes back to a protected page after signing out in another tab."""
    settings = {"session.cookie": "off"}
    async with running(settings, {"/secret": ("text/html", PAGE)}) as site:
        context, page = await signed_in(browser, site)
        other = await context.new_page()
        await other.goto("/open/elsewhere")
        await other.evaluate(leave)
        await page.evaluate("history.back()")
        await page.wait_for_url("**/.gateway/login**")
        assert SECRET not in await page.content()
        restored = await page.evaluate("sessionStorage.restored ?? 'no'")
        # The SDK's sign-out leaves the page in the browser's memory, and the helper reloads it; the gateway's answer to
        # ours has the browser drop it.
        assert restored == ("yes" if leave == FORGET else "no")
        await context.close()


async def test_back_shows_the_page_to_whoever_is_still_signed_in(browser: Browser) -> None:
    """... is not asked again for a page that comes out of the browser's memory while its user is signed in."""
    async with running({"session.cookie": "off"}, {"/secret": ("text/html", PAGE)}) as site:
        context, page = await signed_in(browser, site)
        await page.evaluate("history.back()")
        await page.wait_for_function("location.pathname === '/secret' && sessionStorage.restored === 'yes'")
        assert SECRET in await page.content()
        assert len(site.users("/secret")) == 1
        await context.close()
