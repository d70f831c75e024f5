"""One of several processes, led by this one."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.link import Ask, Begin, Link, Reload, Reloaded, State, Stop, Stopping, Up
from gateway.cli.signals import Signals
from gateway.cli.worker import PLACE_VARIABLE, WorkerPlace, _Worker, place
from gateway.proxy.listener import bind
from tests.house.tree import ROOT
from tests.support.served import PATIENCE


def test_a_place_is_taken_once() -> None:
    """... takes the place that its parent gave it, and leaves nothing for its own children."""
    ours, theirs = socket.socketpair()
    public = bind("127.0.0.1", 0)[0]
    # Copies, as a process that is started has them.
    link, listening = os.dup(theirs.fileno()), os.dup(public.fileno())
    environment = {PLACE_VARIABLE: place(2, link, [listening]), "OTHER": "x"}
    taken = WorkerPlace.taken(environment)
    assert taken is not None
    assert (taken.number, taken.link.fileno()) == (2, link)
    assert [one.getsockname() for one in taken.public] == [public.getsockname()]
    assert environment == {"OTHER": "x"}
    assert WorkerPlace.taken(environment) is None
    for one in (ours, theirs, public, taken.link, *taken.public):
        one.close()


@asynccontextmanager
async def worker(tmp_path: Path) -> AsyncIterator[tuple[Link, asyncio.subprocess.Process, Path]]:
    """A worker process, the link to it, and its configuration."""
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[firebase]\nproject_id = "acme"\ncredentials = "none"\n'
        '[firebase.endpoints]\nid_token_certificates = "http://127.0.0.1:9/keys"\n'
        '[[upstream]]\nname = "app"\nurls = ["http://127.0.0.1:9"]\n[[route]]\nmatch = { path = "/**" }\n'
    )
    ours, theirs = socket.socketpair()
    public = bind("127.0.0.1", 0)[0]
    descriptors = (theirs.fileno(), public.fileno())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--config", str(config)),
        cwd=ROOT,
        env=os.environ | {PLACE_VARIABLE: place(0, theirs.fileno(), [public.fileno()])},
        pass_fds=descriptors,
        stderr=asyncio.subprocess.DEVNULL,
    )
    theirs.close()
    public.close()
    link = await Link.over(ours)
    try:
        async with asyncio.timeout(PATIENCE):
            yield link, process, config
    finally:
        await link.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_worker_does_what_its_parent_says(tmp_path: Path) -> None:
    """... serves when it is told to begin, tells how it is and how a reload went, and ends when it is told to."""
    async with worker(tmp_path) as (link, process, config):
        link.tell(Begin([]))
        assert await link.hear_worker() == Up()
        link.tell(Ask(1, figures=False))
        state = await link.hear_worker()
        assert isinstance(state, State)
        assert (state.number, list(state.failing), state.families) == (1, ["certificates"], [])
        link.tell(Reload(readable=True))
        assert await link.hear_worker() == Reloaded("")
        link.tell(Reload(readable=False))
        assert await link.hear_worker() == Reloaded("not readable")
        config.write_text("nonsense")
        link.tell(Reload(readable=True))
        answer = await link.hear_worker()
        assert isinstance(answer, Reloaded)
        assert "is not TOML" in answer.error
        link.tell(Stopping())
        link.tell(Ask(2, figures=True))
        state = await link.hear_worker()
        assert isinstance(state, State)
        assert "stopping" in state.failing
        assert any(family.name == "gateway_config_generation" for family in state.families)
        link.tell(Stop(now=False))
        assert await process.wait() == 0


@pytest.mark.parametrize("now", [False, True])
async def test_being_told_twice_is_no_hurry(now: bool) -> None:
    """... still finishes what it has begun when a service manager and its parent both tell it to stop."""
    ours, theirs = socket.socketpair()
    parent, link = await Link.over(ours), await Link.over(theirs)
    signals = Signals()
    signals.end()
    parent.tell(Stop(now=now))
    await parent.close()
    gateway: Any = None  # nothing is asked of it
    await _Worker(lambda: pytest.fail("nothing is to be read"), gateway, link, signals).listen()
    assert signals.stop.is_set()
    assert signals.hurry.is_set() is now
    await link.close()


async def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    """... does not go on alone, where nobody could tell it of a sign-out."""
    async with worker(tmp_path) as (link, process, _):
        link.tell(Begin([]))
        assert await link.hear_worker() == Up()
        await link.close()
        assert await process.wait() == 0


async def test_a_worker_that_was_never_begun_ends(tmp_path: Path) -> None:
    """... serves nothing before it knows who was signed out."""
    async with worker(tmp_path) as (link, process, _):
        await link.close()
        assert await process.wait() == 0
