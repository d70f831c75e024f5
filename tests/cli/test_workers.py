"""Several processes behind one listener."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from gateway.cli import workers
from gateway.cli.link import Link, Reload
from gateway.cli.workers import Workers
from gateway.config.load import load
from tests.support.ports import free_port
from tests.support.served import PATIENCE, Served, served

ROUNDS = 24
"""Connections that are opened to reach every one of three processes: one is missed once in five thousand times."""


def children(process: int) -> list[int]:
    """Processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


async def served_by(gateway: Served) -> dict[str, float]:
    """Requests that each process has answered."""
    page = (await gateway.ask("/metrics"))[1]
    found = re.findall(r'^gateway_http_requests_total\{.*worker="(\d)"\} ([\d.]+)$', page, re.MULTILINE)
    return {worker: float(count) for worker, count in found}


async def page_with(gateway: Served, *lines: str) -> None:
    """Wait until the metrics hold these lines."""
    async with asyncio.timeout(PATIENCE):
        page = ""
        while not all(line in page for line in lines):
            page = (await gateway.ask("/metrics"))[1]


async def test_several_processes_are_one_gateway(tmp_path: Path) -> None:
    """... spreads connections over its processes, heeds a sign-out in all, replaces one that died, reloads all."""
    async with served(tmp_path, workers="3") as gateway:
        assert (await gateway.ask("/readyz"))[0] == 200
        assert {(await gateway.get())[0] for _ in range(ROUNDS)} == {200}
        assert len(await served_by(gateway)) == 3
        # One process hears of the sign-out, and each of them heeds it.
        assert (await gateway.get("/.gateway/logout", "POST"))[0] == 204
        async with asyncio.timeout(1):
            while {(await gateway.get())[0] for _ in range(ROUNDS)} != {401}:
                pass
        died = children(gateway.process)[0]
        os.kill(died, signal.SIGKILL)
        await page_with(gateway, 'gateway_worker_restarts_total{worker="0"} 1.0', 'gateway_worker_up{worker="0"} 1.0')
        assert died not in children(gateway.process)
        # The new one was told of it before it served.
        assert {(await gateway.get())[0] for _ in range(ROUNDS)} == {401}
        gateway.write('[login]\ntitle = "Renamed"\n')
        gateway.signal(signal.SIGHUP)
        await gateway.hears("READY=1")
        for _ in range(ROUNDS):
            assert "Renamed" in (await gateway.get("/.gateway/login"))[1]
        gateway.write("[login]\ntitel = 1\n")
        gateway.signal(signal.SIGHUP)
        await gateway.hears("READY=1")
        page = (await gateway.ask("/metrics"))[1]
        assert page.count("gateway_config_generation{") == page.count("gateway_config_last_reload_successful{") == 3
        for worker in range(3):
            assert f'gateway_config_generation{{worker="{worker}"}} 1.0' in page
            assert f'gateway_config_last_reload_successful{{worker="{worker}"}} 0.0' in page
        left = children(gateway.process)
        gateway.signal(signal.SIGTERM)
        assert await gateway.end() == 0
        for process in left:
            with pytest.raises(ProcessLookupError):
                os.kill(process, 0)
        assert "Traceback" not in gateway.log()


async def test_a_configuration_that_cannot_be_read_is_shown_by_all(tmp_path: Path) -> None:
    """... tells the service manager that the reload has ended when each process shows how it did, and not before."""
    async with served(tmp_path, admin='"off"') as other:
        other.port = 0
        other.write()
        led = Workers(load(other.config, environment={}), ["serve"], [])
    (worker,) = led.places
    ours, theirs = socket.socketpair()
    worker.link, worker.up = await Link.over(ours), True
    process = await Link.over(theirs)
    telling = asyncio.create_task(led.reload_failed())
    assert await process.hear_parent() == Reload(readable=False)
    assert not telling.done()
    assert worker.reloaded is not None
    worker.reloaded.set_result("not readable")
    await telling
    await led.stop(asyncio.Event())
    await worker.link.close()
    await process.close()


async def test_requests_in_flight_are_finished(tmp_path: Path) -> None:
    """... finishes what its processes have begun when it stops."""
    go_on = asyncio.Event()
    async with served(tmp_path, go_on, workers="2", grace='"60s"') as gateway:
        one, another = (asyncio.create_task(gateway.get("/wait")) for _ in range(2))
        await gateway.arrived.wait()
        gateway.signal(signal.SIGTERM)
        await gateway.hears("STOPPING=1")
        go_on.set()
        assert (await one)[0] == (await another)[0] == 200
        assert await gateway.end() == 0


async def test_sockets_of_a_service_manager_are_shared(tmp_path: Path) -> None:
    """... serves with several processes on the socket that a service manager opened, and never closes it to anybody."""
    with socket.create_server(("127.0.0.1", 0)) as public, socket.create_server(("127.0.0.1", 0)) as admin:
        async with served(tmp_path, handed=[public, admin], workers="2") as gateway:
            assert (await gateway.ask("/healthz"))[0] == 200
            assert {(await gateway.get())[0] for _ in range(ROUNDS)} == {200}
            gateway.signal(signal.SIGTERM)
            assert await gateway.end() == 0
            # It is the manager's: whoever comes now waits for the next gateway.
            socket.create_connection(public.getsockname()).close()


async def test_a_process_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """... replaces a process that is there and answers nobody."""
    monkeypatch.setattr(workers, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(workers, "PATIENCE", 0.5)
    async with served(tmp_path, admin='"off"') as other:
        other.port = free_port()
        other.write()
        led = Workers(load(other.config, environment={}), ["serve", "--config", str(other.config)], [])
        led.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await led.up.wait()
                (worker,) = led.places
                assert worker.process is not None
                hung = worker.process.pid
                assert not (await led.ready()).degraded
                os.kill(hung, signal.SIGSTOP)
                led.up.clear()
                await led.up.wait()
            assert worker.restarts == 1
            assert worker.process.pid != hung
        finally:
            led.stopping()
            assert (await led.ready()).failing == {"stopping": "the gateway is stopping"}
            await led.stop(asyncio.Event())
