"""Many lives and reloads of the gateway under load: is any request lost?

    python -m tests.support.endurance --terms 200 --reloads 200

A backend, a gateway process that a service manager would have started (``LISTEN_FDS``, ``NOTIFY_SOCKET``), and clients
that never rest: some keep their connections, some open one for each request, some upload, some take an answer that
comes slowly. The socket outlives each process, so nobody has an excuse: every request must be answered, rightly and
whole. A client that is told ``Connection: close`` obeys.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.house.tree import ROOT
from tests.support import forge
from tests.support.issuer import KeyServer

PATIENCE = 30.0
"""Seconds for a process to start, reload or end, on a busy machine."""
SLOWLY = 0.15
"""Seconds that the slow answer takes."""
PAUSE = 0.004
"""Seconds between two requests of one client."""
UPLOAD = b"u" * 20_000


@dataclass
class Figures:
    """What the clients saw. ``lost``: requests without the right answer, and why."""

    answered: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    terms: int = 0
    reloads: int = 0
    longest_end: float = 0.0
    """Seconds that the slowest process took to end."""


class Client:
    """One client, which asks and asks."""

    def __init__(self, port: int, token: str, kind: str, figures: Figures) -> None:
        self._port = port
        self._kind = kind
        self._figures = figures
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        close = "Connection: close\r\n" if kind == "fresh" else ""
        shared = f"Host: app.example\r\nAuthorization: Bearer {token}\r\n{close}"
        if kind == "upload":
            head = f"POST /up HTTP/1.1\r\n{shared}Content-Length: {len(UPLOAD)}\r\n\r\n"
            self._request, self._expected = head.encode() + UPLOAD, b"%d" % len(UPLOAD)
        else:
            path = "/slow" if kind == "slow" else "/quick"
            self._request = f"GET {path} HTTP/1.1\r\n{shared}\r\n".encode()
            self._expected = b"slowly" if kind == "slow" else b"quick"

    async def run(self, over: asyncio.Event) -> None:
        """Ask until it is over; the last request is answered too."""
        while not over.is_set():
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._ask()
            except (OSError, EOFError, ValueError) as error:
                self._figures.lost.append(f"{self._kind}: {error!r}")
                self._hang_up()
            else:
                self._figures.answered[self._kind] += 1
            await asyncio.sleep(PAUSE)
        self._hang_up()

    async def _ask(self) -> None:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._reader, self._writer
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"transfer-encoding: chunked" in head:
            body = b""
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        if not head.startswith(b"http/1.1 200 ") or body != self._expected:
            raise ValueError(head[:40])
        if b"connection: close" in head:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class Manager:
    """What systemd would do: holds the socket, starts processes, hears how they are."""

    def __init__(self, config: Path, place: Path) -> None:
        self._config = config
        self.public = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._path = str(place / "notify")
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._heard.bind(self._path)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        return int(self.public.getsockname()[1])

    async def open(self) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("FIREBASE_", "GOOGLE_"))
        }
        descriptor = self.public.fileno()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.lives", str(self._config), str(descriptor), self._path),
            cwd=ROOT,
            env=environment,
            pass_fds=(descriptor,),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )

    async def start(self) -> int:
        """A new process, when it serves."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"+")
        async with asyncio.timeout(PATIENCE):
            while not (line := await self._process.stdout.readline()).strip().isdigit():
                assert line, "the processes could not be started"
        await self.hears("READY=1")
        return int(line)

    async def hears(self, wanted: str) -> None:
        """Wait for a process to say so."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            while wanted not in (await loop.sock_recv(self._heard, 4096)).decode().split("\n"):
                pass

    async def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
        self._heard.close()
        self.public.close()


async def ended(process: int) -> None:
    """Wait until a process of another parent is gone."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    descriptor = os.pidfd_open(process)
    loop.add_reader(descriptor, gone.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@contextlib.asynccontextmanager
async def _backend() -> AsyncIterator[str]:
    async def quick(_: web.Request) -> web.Response:
        return web.Response(text="quick")

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b"slo", b"wly"):
            await asyncio.sleep(SLOWLY / 2)
            await response.write(piece)
        return response

    async def up(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app = web.Application()
    app.add_routes([web.get("/quick", quick), web.get("/slow", slow), web.post("/up", up)])
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def _configuration(keys: str, backend: str, number: int) -> str:
    """Configurations differ by a route's name, so that each is another one."""
    return (
        f'[firebase]\nproject_id = "{forge.PROJECT}"\ncredentials = "none"\n'
        f'[firebase.endpoints]\nid_token_certificates = "{keys}"\n'
        '[listen]\npublic = "127.0.0.1:0"\nadmin = "off"\n[log]\ndecisions = "off"\n'
        f'[[upstream]]\nname = "app"\nurls = ["{backend}"]\n'
        f'[[route]]\nname = "number-{number}"\nmatch = {{ path = "/**" }}\n'
    )


async def endure(terms: int, reloads: int, clients: int = 2) -> Figures:
    """So many processes and reloads, with so many clients of each kind."""
    figures = Figures()
    async with contextlib.AsyncExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        keys = await stack.enter_async_context(KeyServer())
        backend = await stack.enter_async_context(_backend())
        config = place / "gateway.toml"
        config.write_text(_configuration(keys.url, backend, 0))
        manager = Manager(config, place)
        stack.push_async_callback(manager.close)
        await manager.open()
        process = await manager.start()
        token = forge.id_token(now=time.time())
        over = asyncio.Event()
        kinds = ("kept", "fresh", "upload", "slow")
        asking = [Client(manager.port, token, kind, figures) for kind in kinds for _ in range(clients)]
        tasks = [asyncio.create_task(client.run(over)) for client in asking]
        try:
            for number in range(reloads):
                config.write_text(_configuration(keys.url, backend, number + 1))
                os.kill(process, signal.SIGHUP)
                await manager.hears("READY=1")
                figures.reloads += 1
            for _ in range(terms):
                following = await manager.start()
                began = time.monotonic()
                os.kill(process, signal.SIGTERM)
                await ended(process)
                figures.longest_end = max(figures.longest_end, time.monotonic() - began)
                figures.terms += 1
                process = following
        finally:
            over.set()
            await asyncio.gather(*tasks)
            os.kill(process, signal.SIGTERM)
            await ended(process)
    return figures


def main() -> None:
    """The long version, for people."""
    words = argparse.ArgumentParser()
    words.add_argument("--terms", type=int, default=200)
    words.add_argument("--reloads", type=int, default=200)
    chosen = words.parse_args()
    began = time.monotonic()
    figures = asyncio.run(endure(chosen.terms, chosen.reloads))
    print(  # noqa: T201 - it is what this is for
        f"{figures.terms} SIGTERMs and {figures.reloads} reloads in {time.monotonic() - began:.0f} s:"
        f" {figures.answered.total()} requests answered ({dict(figures.answered)}), {len(figures.lost)} lost;"
        f" the slowest process took {figures.longest_end:.2f} s to end"
    )
    for line, count in Counter(figures.lost).most_common(10):
        print(f"  {count} × {line}")  # noqa: T201
    sys.exit(bool(figures.lost))


if __name__ == "__main__":
    main()
