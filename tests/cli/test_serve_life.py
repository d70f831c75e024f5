"""``gateway serve`` from its start to its end: signals, reloads, certificates, lives under load."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.endurance import endure
from tests.support.served import PATIENCE, served


async def test_sigterm_drains(tmp_path: Path) -> None:
    """... finishes what has begun after SIGTERM, is not ready meanwhile, takes nobody else, and ends with status 0."""
    go_on = asyncio.Event()
    async with served(tmp_path, go_on, stop_delay='"300ms"') as gateway:
        assert (await gateway.ask("/readyz"))[0] == 200
        waiting = asyncio.create_task(gateway.get("/wait"))
        await gateway.arrived.wait()
        gateway.signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            while (await gateway.ask("/readyz"))[0] != 503:
                pass
        # The load balancer has not noticed yet.
        assert (await gateway.get())[0] == 200
        await gateway.hears("STOPPING=1")
        go_on.set()
        assert (await waiting)[0] == 200
        assert await gateway.end() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gateway.port))
        assert "Traceback" not in gateway.log()


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """... waits for nobody after a second signal."""
    async with served(tmp_path, asyncio.Event(), grace='"60s"') as gateway:
        waiting = asyncio.create_task(gateway.get("/wait"))
        await gateway.arrived.wait()
        gateway.signal(signal.SIGTERM)
        await gateway.hears("STOPPING=1")
        gateway.signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await gateway.end() == 0
        assert "stopping at once" in gateway.log()
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], OSError)


async def test_the_configuration_is_read_again(tmp_path: Path) -> None:
    """... reads its file at SIGHUP and when it changes, and says what is wrong with it and that it goes on."""
    async with served(tmp_path) as gateway:
        gateway.write('[login]\ntitle = "Renamed"\n[reload]\nwatch = true\nevery = "50ms"\n')
        gateway.signal(signal.SIGHUP)
        await gateway.hears("RELOADING=1")
        await gateway.hears("READY=1")
        assert "Renamed" in (await gateway.get("/.gateway/login"))[1]
        gateway.write("[login]\ntitel = 1\n")
        await gateway.hears("READY=1")
        assert "the configuration is not used, the one before stays: $.login.titel" in gateway.log()
        assert "gateway_config_last_reload_successful 0.0" in (await gateway.ask("/metrics"))[1]
        assert "Renamed" in (await gateway.get("/.gateway/login"))[1]
        gateway.write('[login]\ntitle = "Again"\n')
        await gateway.hears("READY=1")
        assert "Again" in (await gateway.get("/.gateway/login"))[1]
        assert "gateway_config_last_reload_successful 1.0" in (await gateway.ask("/metrics"))[1]


async def test_a_certificate_is_renewed_under_way(tmp_path: Path) -> None:
    """... serves https, tells the backend, and shows new connections a new certificate without ending old ones."""
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    papers, renewed = first.issue("127.0.0.1"), second.issue("127.0.0.1")
    tls = f'{{ cert_file = "{papers.certificate}", key_file = "{papers.key}" }}'
    async with served(tmp_path, tls=tls) as gateway:
        gateway.tls = ssl.create_default_context(cafile=str(first.file))
        assert await gateway.get() == (200, "https")
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=gateway.tls)
        papers.certificate.write_bytes(renewed.certificate.read_bytes())
        papers.key.write_bytes(renewed.key.read_bytes())
        gateway.signal(signal.SIGHUP)
        await gateway.hears("READY=1")
        gateway.tls = ssl.create_default_context(cafile=str(second.file))
        # Twice over one connection: the second goes by the fast path.
        for _ in range(2):
            assert await gateway.get() == (200, "https")
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        writer.close()
        assert f"serving https://127.0.0.1:{gateway.port} " in gateway.log()


@pytest.mark.slow
async def test_nothing_is_lost() -> None:
    """... loses no request in ten lives and twenty reloads under load; `make endurance` tries two hundred of each."""
    figures = await endure(terms=10, reloads=20, clients=1)
    assert figures.lost == []
    assert (figures.terms, figures.reloads) == (10, 20)
    assert min(figures.answered[kind] for kind in ("kept", "fresh", "upload", "slow")) >= 5
