"""A function's server in a thread, for tests whose own thread is busy: with a command, or with a browser."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

from aiohttp import web


class FunctionServer:
    """Answers every event the same; keeps the bodies of the calls."""

    def __init__(self, status: int, body: str) -> None:
        self._answer = (status, body)
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self.calls: list[Any] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_post("/fn", self._handle)
        self._runner = web.AppRunner(app)
        self._loop.run_until_complete(self._runner.setup())
        self._loop.run_until_complete(web.TCPSite(self._runner, "127.0.0.1", 0).start())
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/fn"
        self._loop.call_soon(self._started.set)
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _handle(self, request: web.Request) -> web.Response:
        self.calls.append(await request.json())
        status, body = self._answer
        return web.Response(status=status, text=body, content_type="application/json")
