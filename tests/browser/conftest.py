"""A real Chromium against a real ``gateway demo``: its own process, its own ports, nothing faked."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.chromium import ARGUMENTS, chromium_path
from tests.support.ports import free_port

_START_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: ``url`` is the gateway's address by name, ``provider`` the identity provider's."""

    url: str
    provider: str
    log: Path

    def decisions(self) -> list[str]:
        """Every decision printed so far: ``reason method path`` and more, one line each."""
        return [line.strip() for line in self.log.read_text("utf-8").splitlines() if "  from " in line]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """``gateway demo --memory`` on free ports."""
    log = tmp_path_factory.mktemp("demo") / "output.txt"
    port, provider_port = free_port(), free_port()
    command = [sys.executable, "-m", "gateway", "demo", "--memory", "--plain", f"--port={port}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIREBASE_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--provider-port={provider_port}"], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/public/about", process, log)
            yield Demo(f"http://localhost:{port}", f"http://127.0.0.1:{provider_port}", log)
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"gateway demo ended with status {process.returncode}:\n{log.read_text('utf-8')}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - loopback
            if response.status == 200:
                return
        time.sleep(0.05)
    pytest.fail(f"gateway demo did not answer within {_START_SECONDS} s:\n{log.read_text('utf-8')}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless.

    Not for the whole session: Playwright's synchronous interface keeps an event loop running in this thread for as long
    as it lives, and no asynchronous test could run after it.
    """
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path(), args=list(ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser, demo: Demo) -> Iterator[BrowserContext]:
    """A fresh profile that opens the demo by relative addresses."""
    opened = browser.new_context(base_url=demo.url)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab in a fresh profile. Any script error in it fails the test."""
    tab = context.new_page()
    tab.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
    return tab
