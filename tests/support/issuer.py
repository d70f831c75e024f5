"""A key endpoint on a real socket, counted and at the test's command.

async with KeyServer() as issuer:       serves forge.certificates() with max-age=3600
    issuer.url, issuer.fetches
    issuer.body, issuer.status, issuer.headers      what the next answers are
    issuer.hold() / issuer.release()                 answers wait meanwhile; await issuer.arrived.wait()
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support import forge


class KeyServer:
    def __init__(self) -> None:
        self.body = forge.certificates()
        self.status = 200
        self.headers = {"Cache-Control": "public, max-age=3600, must-revalidate, no-transform"}
        self.fetches = 0
        self.arrived = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        self._server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self._server.make_url("/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"))

    def hold(self) -> None:
        self._open.clear()
        self.arrived.clear()

    def release(self) -> None:
        self._open.set()

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.set()
        await self._server.close()

    async def _handle(self, request: web.Request) -> web.Response:
        self.fetches += 1
        self.arrived.set()
        await self._open.wait()
        return web.Response(body=self.body, status=self.status, headers=self.headers)
