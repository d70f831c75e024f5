"""``gateway serve`` in a process of its own, with an issuer and a backend in this one.

async with served(tmp_path, listen={...}) as gateway:     waits until it says that it is ready
    await gateway.get("/x")                                status and body; ``gateway.token`` is good
    gateway.signal(signal.SIGHUP); await gateway.hears("READY=1")
    await gateway.end()                                    its exit status; ``gateway.log()`` is what it wrote
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.house.tree import ROOT
from tests.support import forge
from tests.support.issuer import KeyServer
from tests.support.ports import free_port

PATIENCE = 40.0
"""Seconds for a process to do what it is to do, on a machine that does other things as well."""


class Served:
    """The process."""

    def __init__(self, place: Path, keys: str, backend: str, listen: dict[str, str]) -> None:
        self.port, self.admin = free_port(), free_port()
        self.token = forge.id_token(now=time.time())
        self.config = place / "gateway.toml"
        self._keys, self._backend, self._listen = keys, backend, listen
        self._log = place / "log"
        self.write()
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._heard.bind(str(place / "notify"))
        self._process: asyncio.subprocess.Process | None = None
        self.client = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self.tls: ssl.SSLContext | bool = True
        self.arrived = asyncio.Event()
        """Set when a request for ``/wait`` has come to the backend."""

    def write(self, more: str = "", route: str = "all") -> None:
        """Write the configuration; ``more`` tables of it."""
        listen = {"public": f'"127.0.0.1:{self.port}"', "admin": f'"127.0.0.1:{self.admin}"'} | self._listen
        lines = "\n".join(f"{key} = {value}" for key, value in listen.items())
        self.config.write_text(
            f'[firebase]\nproject_id = "{forge.PROJECT}"\ncredentials = "none"\n'
            f'[firebase.endpoints]\nid_token_certificates = "{self._keys}"\n[log]\ndecisions = "off"\n'
            f'[listen]\n{lines}\n[[upstream]]\nname = "app"\nurls = ["{self._backend}"]\n'
            f'[[route]]\nname = "{route}"\nmatch = {{ path = "/**" }}\n{more}'
        )

    async def start(self, handed: Sequence[socket.socket] = ()) -> None:
        """Start it, with these sockets as a service manager hands them over: the public and the admin one."""
        shifts = " ".join(f"{3 + index}<&{one.fileno()}" for index, one in enumerate(handed))
        # The shell becomes the gateway, so its number is the one that the sockets are for.
        program = f'[ -z "$LISTEN_FDS" ] || export LISTEN_PID=$$; exec "$0" "$@" {shifts}'
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FIREBASE_", "GOOGLE_", "LISTEN_"))
        }
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("/bin/bash", "-c", program, sys.executable, "-m", "gateway", "serve", "--config", str(self.config)),
                cwd=ROOT,
                env=environment | {"NOTIFY_SOCKET": str(self.config.parent / "notify")},
                pass_fds=[one.fileno() for one in handed],
                stdout=log,
                stderr=log,
            )
        await self.hears("READY=1")

    async def hears(self, wanted: str) -> None:
        """Wait for the process to tell its manager so."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            while wanted not in (await loop.sock_recv(self._heard, 4096)).decode().split("\n"):
                assert self._process is not None
                assert self._process.returncode is None, self.log()

    async def get(self, path: str = "/", method: str = "GET") -> tuple[int, str]:
        """An answer, each over a connection of its own, so that each worker gets some."""
        scheme = "http" if self.tls is True else "https"
        fields = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        url = f"{scheme}://127.0.0.1:{self.port}{path}"
        async with self.client.request(method, url, headers=fields, ssl=self.tls) as response:
            return response.status, await response.text()

    async def ask(self, path: str) -> tuple[int, str]:
        """An answer of the admin listener."""
        async with self.client.get(f"http://127.0.0.1:{self.admin}{path}") as response:
            return response.status, await response.text()

    @property
    def process(self) -> int:
        """Its number."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self) -> int:
        """Wait for its end."""
        assert self._process is not None
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()

    def log(self) -> str:
        return self._log.read_text()

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                await self.end()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._heard.close()
        await self.client.close()


@asynccontextmanager
async def served(
    place: Path, go_on: asyncio.Event | None = None, handed: Sequence[socket.socket] = (), **listen: str
) -> AsyncIterator[Served]:
    """A process that serves.

    :param handed: sockets that are handed over to it.
    :param go_on: what ``/wait`` of the backend waits for.
    :param listen: keys of ``[listen]`` and their values as TOML.
    """

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/wait" and go_on is not None:
            process.arrived.set()
            await go_on.wait()
        return web.Response(text=request.headers.get("X-Forwarded-Proto", ""))

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with KeyServer() as keys, TestServer(app) as backend:
        process = Served(place, keys.url, str(backend.make_url("")).rstrip("/"), listen)
        try:
            await process.start(handed)
            yield process
        finally:
            await process.close()
