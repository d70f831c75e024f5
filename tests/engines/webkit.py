"""WebKitGTK, driven by its own WebDriver (W3C WebDriver over HTTP). Safari's nearest relative on Debian."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.engines.driver import MissingEngine, ScriptError, call, require, started
from tests.support.ports import free_port

PACKAGES: Final = "webkit2gtk-driver xvfb xauth"
START_SECONDS: Final = 30.0
SCRIPT_MILLISECONDS: Final = 60_000

ENVIRONMENT: Final = {
    # Its sandbox needs user namespaces, which containers rarely have.
    "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
    "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
    "LIBGL_ALWAYS_SOFTWARE": "1",
}


class _Driver:
    """Commands of one session (W3C WebDriver, section 6)."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self._http = http
        self._base = base
        self.turn = asyncio.Lock()
        """Commands go to *the current* window, so switching to it and the command must stay together."""

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send one command.

        :raises ScriptError: the driver answered with an error.
        """
        data = None if method != "POST" else json.dumps(body or {})
        async with self._http.request(method, self._base + path, data=data) as response:
            value = (await response.json(content_type=None))["value"]
        if response.status != 200:
            raise ScriptError(f"{path}: {value['error']}: {value['message']}")
        return value


class WebKitTab:
    """A window handle."""

    def __init__(self, driver: _Driver, handle: str) -> None:
        self._driver = driver
        self._handle = handle

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        async with self._driver.turn:
            await self._driver.send("POST", "/window", {"handle": self._handle})
            return await self._driver.send(method, path, body)

    async def goto(self, url: str) -> None:
        await self._send("POST", "/url", {"url": url})

    async def run(self, script: str, argument: object = None) -> Any:
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            f"{call(script, argument)}.then((text) => done([text]), (error) => done([null, String(error)]));"
        )
        text, *failure = await self._send("POST", "/execute/async", {"script": wrapped, "args": []})
        if failure:
            raise ScriptError(failure[0])
        return json.loads(text)

    async def activate(self, script: str, argument: object = None) -> None:
        # Only a real click makes WebKit open windows, and it counts for what the click's own handler does.
        await self.run(
            "async (code) => { const go = document.body.appendChild(document.createElement('button'));"
            " go.id = 'go'; go.textContent = 'go'; go.onclick = () => { go.remove(); (0, eval)(code); }; }",
            f"({script})({json.dumps(argument)})",
        )
        found = await self._send("POST", "/element", {"using": "css selector", "value": "#go"})
        await self._send("POST", f"/element/{next(iter(found.values()))}/click")

    async def reload(self, *, past_worker: bool = False) -> bool:
        if past_worker:
            return False
        await self._send("POST", "/refresh")
        return True

    async def close(self) -> None:
        await self._send("DELETE", "/window")


class WebKitProfile:
    """One session: automation sessions are ephemeral, and so is what they store."""

    def __init__(self, driver: _Driver) -> None:
        self._driver = driver
        self._first = True

    async def tab(self) -> WebKitTab:
        async with self._driver.turn:
            if self._first:
                self._first = False
                return WebKitTab(self._driver, await self._driver.send("GET", "/window"))
            made = await self._driver.send("POST", "/window/new", {"type": "tab"})
            return WebKitTab(self._driver, made["handle"])

    async def stop_workers(self) -> bool:
        return False


class WebKit:
    """A running WebKitWebDriver; each profile starts a browser of its own."""

    name = "webkit"

    def __init__(self, http: aiohttp.ClientSession, base: str, browser: str) -> None:
        self._http = http
        self._base = base
        self._options = {"binary": browser, "args": ["--automation"]}
        self.version = ""

    @contextlib.asynccontextmanager
    async def profile(self) -> AsyncIterator[WebKitProfile]:
        """Start a session."""
        wanted = {
            "webkitgtk:browserOptions": self._options,
            "timeouts": {"script": SCRIPT_MILLISECONDS},
        }
        service = _Driver(self._http, self._base)
        made = await service.send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        named = made["capabilities"]
        self.version = f"WebKitGTK {named['browserVersion']}"
        path = f"/session/{made['sessionId']}"
        try:
            yield WebKitProfile(_Driver(self._http, self._base + path))
        finally:
            await service.send("DELETE", path)


@contextlib.asynccontextmanager
async def webkit() -> AsyncIterator[WebKit]:
    """Start the driver on a virtual display.

    :raises MissingEngine: the driver, its browser or the virtual display is not installed.
    """
    driver = require("WebKitWebDriver", PACKAGES, override="WEBKIT_DRIVER")
    display = require("xvfb-run", PACKAGES, override="XVFB_RUN")
    browser = _mini_browser()
    if browser is None:
        raise MissingEngine(f"WebKitGTK's MiniBrowser is not installed. On Debian: apt-get install {PACKAGES}")
    port = free_port()
    command = (display, "-a", driver, f"--port={port}")
    async with started(*command, environment=os.environ | ENVIRONMENT), aiohttp.ClientSession() as http:
        base = f"http://127.0.0.1:{port}"
        await _ready(http, base)
        engine = WebKit(http, base, browser)
        async with engine.profile():
            pass  # Says its version; also proves at once that it starts.
        yield engine


def _mini_browser() -> str | None:
    """WebKitGTK's own browser, which stands on no PATH; the newest there is."""
    found = sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))
    return str(found[-1]) if found else None


async def _ready(http: aiohttp.ClientSession, base: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{base}/status") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.05)
    raise MissingEngine(f"WebKitWebDriver did not start. On Debian: apt-get install {PACKAGES}")
