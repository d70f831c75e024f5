"""The admin listener: is the process alive, and is it ready for traffic.

``/healthz`` (also ``/ping``) answers as long as the event loop turns. ``/readyz`` (also ``/ready``) asks every named
check and answers 503 with the failing ones while one fails. Neither is served on the public listener, so no request
there can be let through for looking like a health check (CVE-2026-34457).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from gateway.errors import ConfigError

Check = Callable[[], str | None]
"""Returns None when all is well, else what is wrong in a few words that hold no secret."""

_NO_STORE: Final = {"Cache-Control": "no-store"}


def admin_application(checks: Mapping[str, Check]) -> web.Application:
    """The application of the admin listener."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"}, headers=_NO_STORE)

    async def ready(_: web.Request) -> web.Response:
        failing = {name: fault for name, check in checks.items() if (fault := check()) is not None}
        status = 503 if failing else 200
        body = {"status": "unavailable" if failing else "ok", "failing": failing}
        return web.json_response(body, status=status, headers=_NO_STORE)

    app = web.Application()
    for path in ("/healthz", "/ping"):
        app.router.add_get(path, alive)
    for path in ("/readyz", "/ready"):
        app.router.add_get(path, ready)
    return app


async def listen(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Serve the admin application.

    :raises ConfigError: the address cannot be listened on.
    """
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            "$.listen.admin",
            f"cannot listen on {host}:{port}: {error.strerror}",
            'stop the other program, or set another address under [listen] admin = "127.0.0.1:9091"',
        ) from None
    return runner
