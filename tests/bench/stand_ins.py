"""What stands in for Google while the benchmark runs: certificates, the token service and the account service.

Everybody has an account in good standing, until their sessions are revoked through ``accounts:update``. A program of
its own, so that none of this counts as time of a peer. For the proof there is also a small backend in it: ``/echo``
answers with the fields that arrived, byte for byte, and everything else with 200 bytes.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any, Final

from aiohttp import web

CACHE: Final = {"Cache-Control": "public, max-age=21600"}
SMALL: Final = "a" * 200
LONGEST: Final = 16 * 1024 * 1024
"""Bytes of a body that is taken."""


class Accounts:
    """Everybody, and since when their sessions count."""

    def __init__(self) -> None:
        self.look_ups = 0
        self._valid_since: dict[str, str] = {}

    async def look_up(self, request: web.Request) -> web.Response:
        """``accounts:lookup`` (identity-toolkit.md section 10.1)."""
        self.look_ups += 1
        asked: dict[str, Any] = await request.json()
        users = [{"localId": uid, "validSince": self._valid_since.get(uid, "0")} for uid in asked["localId"]]
        return web.json_response({"kind": "identitytoolkit#GetAccountInfoResponse", "users": users})

    async def update(self, request: web.Request) -> web.Response:
        """``accounts:update``, of which only ``validSince`` is wanted here."""
        asked: dict[str, Any] = await request.json()
        self._valid_since[asked["localId"]] = str(asked["validSince"])
        return web.json_response({"localId": asked["localId"]})

    async def counts(self, _: web.Request) -> web.Response:
        """How many look-ups there were."""
        return web.json_response({"look_ups": self.look_ups})


async def _token(_: web.Request) -> web.Response:
    return web.json_response({"access_token": "bench", "expires_in": 3600, "token_type": "Bearer"})


async def _echo(request: web.Request) -> web.Response:
    await request.read()
    lines = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.raw_headers]
    return web.json_response(lines)


async def _anything(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text=SMALL)


def application(certificates: bytes) -> web.Application:
    """All of it."""
    accounts = Accounts()

    async def published(_: web.Request) -> web.Response:
        return web.Response(body=certificates, headers=CACHE, content_type="application/json")

    app = web.Application(client_max_size=LONGEST)
    app.add_routes(
        [
            web.get("/certificates", published),
            web.post("/token", _token),
            web.post("/v1/projects/{project}/accounts:lookup", accounts.look_up),
            web.post("/v1/projects/{project}/accounts:update", accounts.update),
            web.get("/counts", accounts.counts),
            web.route("*", "/echo", _echo),
            web.route("*", "/{path:.*}", _anything),
        ]
    )
    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keys", type=Path, required=True)
    options = parser.parse_args()
    app = application(options.keys.read_bytes())
    with contextlib.suppress(KeyboardInterrupt):
        web.run_app(app, host="127.0.0.1", port=options.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
