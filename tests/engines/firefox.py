"""Firefox, driven by WebDriver BiDi (W3C) over its own WebSocket: no geckodriver, no Node."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.engines.driver import MissingEngine, ScriptError, call, require, started

START_SECONDS: Final = 60.0
"""A first start on a slow machine; four seconds are usual."""
COMMAND_SECONDS: Final = 30.0
GO_SECONDS: Final = 5.0
"""How long one try to load a page may take."""
GO_TRIES: Final = 4
POLL_SECONDS: Final = 0.02

PREFERENCES: Final = {
    # Nothing that a test did not ask for goes over the network.
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.newtabpage.activity-stream.feeds.topsites": False,
    "browser.safebrowsing.blockedURIs.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.safebrowsing.update.enabled": False,
    "browser.search.update": False,
    "browser.region.network.url": "",
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.unified": False,
    "toolkit.telemetry.server": "",
    # Scripts of the test open windows and start downloads without a hand on the mouse.
    "browser.download.always_ask_before_handling_new_types": False,
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "dom.disable_open_during_load": False,
    "dom.block_download_insecure": False,
    # Off by default here and on in other browsers: the table wants to know what a ping carries.
    "browser.send_pings": True,
    # Latency is measured in tenths of milliseconds.
    "privacy.reduceTimerPrecision": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "remote.active-protocols": 1,
}


class _Connection:
    """Commands out, results in, by number (WebDriver BiDi, section 3)."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command.

        :raises ScriptError: the browser answered with an error.
        """
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(COMMAND_SECONDS):
            message = await answer
        if message["type"] == "error":
            raise ScriptError(f"{method}: {message['error']}: {message['message']}")
        result: dict[str, Any] = message["result"]
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                content = json.loads(message.data)
                answer = self._waiting.pop(content.get("id") or 0, None)
                if answer is not None and not answer.done():
                    answer.set_result(content)

    async def close(self) -> None:
        self._reader.cancel()
        await self._socket.close()


class FirefoxTab:
    """A browsing context."""

    def __init__(self, connection: _Connection, context: str) -> None:
        self._connection = connection
        self._context = context

    async def goto(self, url: str) -> None:
        # Not wait="complete": when another navigation comes in between, that wait never ends.
        before = await self._page()
        for _ in range(GO_TRIES):
            with contextlib.suppress(ScriptError):
                await self._connection.send("browsingContext.navigate", context=self._context, url=url, wait="none")
            deadline = time.monotonic() + GO_SECONDS
            while time.monotonic() < deadline:
                page = await self._page()
                if page is not None and page != before and page[1:] == [url, "complete"]:
                    return
                await asyncio.sleep(POLL_SECONDS)
        raise ScriptError(f"{url} did not load")

    async def _page(self) -> list[Any] | None:
        """What tells one page from the next, its address, and whether it has loaded."""
        try:
            found: list[Any] = await self.run(
                "async () => [performance.timeOrigin, location.href, document.readyState]"
            )
        except ScriptError:
            return None
        return found

    async def run(self, script: str, argument: object = None) -> Any:
        answer = await self._connection.send(
            "script.evaluate",
            expression=call(script, argument),
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] == "exception":
            raise ScriptError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def activate(self, script: str, argument: object = None) -> None:
        await self.run(script, argument)

    async def reload(self, *, past_worker: bool = False) -> bool:
        if past_worker:
            return False  # "unsupported operation" in this version
        await self._connection.send("browsingContext.reload", context=self._context, wait="complete")
        return True

    async def close(self) -> None:
        await self._connection.send("browsingContext.close", context=self._context)


class FirefoxProfile:
    """A user context: a container with storage of its own."""

    def __init__(self, connection: _Connection, user: str) -> None:
        self._connection = connection
        self._user = user

    async def tab(self) -> FirefoxTab:
        made = await self._connection.send("browsingContext.create", type="tab", userContext=self._user)
        return FirefoxTab(self._connection, made["context"])

    async def stop_workers(self) -> bool:
        return False


class Firefox:
    """A running Firefox."""

    name = "firefox"

    def __init__(self, connection: _Connection, version: str) -> None:
        self._connection = connection
        self.version = version

    @contextlib.asynccontextmanager
    async def profile(self) -> AsyncIterator[FirefoxProfile]:
        """Open a fresh user context."""
        made = await self._connection.send("browser.createUserContext")
        user = made["userContext"]
        try:
            yield FirefoxProfile(self._connection, user)
        finally:
            await self._connection.send("browser.removeUserContext", userContext=user)


@contextlib.asynccontextmanager
async def firefox() -> AsyncIterator[Firefox]:
    """Start Debian's Firefox, headless, with a new profile directory.

    :raises MissingEngine: there is none.
    """
    path = require("firefox-esr", "firefox-esr", override="FIREFOX")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        preferences = PREFERENCES | {"browser.download.dir": directory}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        await asyncio.to_thread((Path(directory) / "user.js").write_text, "".join(lines), "utf-8")
        environment = os.environ | {"HOME": directory, "MOZ_HEADLESS": "1", "MOZ_CRASHREPORTER_DISABLE": "1"}
        command = (path, "--headless", "--no-remote", "--profile", directory, "--remote-debugging-port=0")
        async with (
            started(*command, environment=environment, stderr=asyncio.subprocess.PIPE) as process,
            aiohttp.ClientSession() as session,
        ):
            address = await _address(process)
            drain = asyncio.create_task(_drain(process))
            async with session.ws_connect(f"{address}/session", max_msg_size=0) as socket:
                connection = _Connection(socket)
                try:
                    made = await connection.send("session.new", capabilities={})
                    named = made["capabilities"]
                    yield Firefox(connection, f"Firefox {named['browserVersion']}")
                finally:
                    await connection.close()
                    drain.cancel()


async def _address(process: asyncio.subprocess.Process) -> str:
    said: list[str] = []
    assert process.stderr is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            async for line in process.stderr:
                said.append(line.decode("utf-8", "replace"))
                if found := re.search(r"BiDi listening on (ws://\S+)", said[-1]):
                    return found.group(1)
    raise MissingEngine("Firefox did not start:\n" + "".join(said))


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Read what it says, so that it never waits for us."""
    assert process.stderr is not None
    while await process.stderr.read(65_536):
        pass
