"""Chromium, driven by Playwright over the DevTools protocol."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Browser, BrowserContext, Error, Page, async_playwright

from tests.engines.driver import MissingEngine, ScriptError, call
from tests.support.chromium import ARGUMENTS, chromium_path


class ChromiumTab:
    """A page of Playwright."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self._context = context
        self._page = page

    async def goto(self, url: str) -> None:
        try:
            await self._page.goto(url)
        except Error as error:
            raise ScriptError(str(error)) from None

    async def run(self, script: str, argument: object = None) -> Any:
        try:
            return json.loads(await self._page.evaluate(call(script, argument)))
        except Error as error:
            raise ScriptError(str(error)) from None

    async def activate(self, script: str, argument: object = None) -> None:
        await self.run(script, argument)

    async def reload(self, *, past_worker: bool = False) -> bool:
        if not past_worker:
            await self._page.reload()
            return True
        session = await self._context.new_cdp_session(self._page)
        async with self._page.expect_event("load"):
            await session.send("Page.reload", {"ignoreCache": True})
        await session.detach()
        return True

    async def close(self) -> None:
        await self._page.close()


class ChromiumProfile:
    """A context of Playwright: off the record."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context

    async def tab(self) -> ChromiumTab:
        return ChromiumTab(self._context, await self._context.new_page())

    async def stop_workers(self) -> bool:
        session = await self._context.new_cdp_session(self._context.pages[0])
        await session.send("ServiceWorker.enable")
        await session.send("ServiceWorker.stopAllWorkers")
        await session.detach()
        return True


class Chromium:
    """A running Chromium."""

    name = "chromium"

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.version = f"Chromium {browser.version}"

    @contextlib.asynccontextmanager
    async def profile(self) -> AsyncIterator[ChromiumProfile]:
        """Open a fresh context."""
        context = await self._browser.new_context()
        try:
            yield ChromiumProfile(context)
        finally:
            await context.close()


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """Start Debian's Chromium, headless.

    :raises MissingEngine: there is none.
    """
    try:
        path = chromium_path()
    except RuntimeError as error:
        raise MissingEngine(str(error)) from None
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield Chromium(browser)
        finally:
            await browser.close()
