"""What the engines have in common: profiles with fresh storage, tabs that go to addresses and run scripts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

STOP_SECONDS: Final = 5.0
"""How long a browser may take to end after SIGTERM."""


class MissingEngine(RuntimeError):
    """An engine is not installed; the text names what to install."""


class Tab(Protocol):
    """One tab."""

    async def goto(self, url: str) -> None:
        """Navigate as if the address had been typed, and wait for the load event."""

    async def run(self, script: str, argument: object = None) -> Any:
        """Call ``script``, an ``async (argument) => result``, in the page; both sides are JSON.

        :raises ScriptError: the script threw, or the page went away.
        """

    async def activate(self, script: str, argument: object = None) -> None:
        """Call ``script`` as a person's click would, with its leave to open windows; nothing comes back."""

    async def reload(self, *, past_worker: bool = False) -> bool:
        """Reload; ``past_worker`` is the hard reload. False where the engine cannot be told to do that."""

    async def close(self) -> None:
        """Close the tab."""


class ScriptError(RuntimeError):
    """A script in a page failed."""


class Profile(Protocol):
    """Storage of its own: cookies, IndexedDB, workers."""

    async def tab(self) -> Tab:
        """Open a tab."""

    async def stop_workers(self) -> bool:
        """Stop all service workers as if they had been idle. False where the engine offers no way."""


class Engine(Protocol):
    """A running browser. ``version`` is its own words for its product and version."""

    name: str
    version: str

    def profile(self) -> contextlib.AbstractAsyncContextManager[Profile]:
        """Open a fresh profile; it is gone afterwards. One at a time."""


def require(name: str, package: str, *, override: str) -> str:
    """Return the path of an engine's program.

    :param override: name of an environment variable that may hold another path.
    :raises MissingEngine: it is not there.
    """
    path = shutil.which(os.environ.get(override) or name)
    if path is None:
        raise MissingEngine(f"{name} is not installed. On Debian: apt-get install {package} (or set {override})")
    return path


def call(script: str, argument: object) -> str:
    """The expression that calls ``script`` and resolves with JSON text."""
    # JSON is a subset of ECMAScript expressions since ES2019.
    return f"(async () => JSON.stringify((await ({script})({json.dumps(argument)})) ?? null))()"


@contextlib.asynccontextmanager
async def started(
    *command: str, environment: Mapping[str, str], stderr: int = asyncio.subprocess.DEVNULL
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program in a process group of its own; the whole group is ended afterwards."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
