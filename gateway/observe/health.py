"""The admin listener: is the process alive, is it ready for traffic, and how is it doing.

``/healthz`` (also ``/ping``) answers as long as the event loop turns. ``/readyz`` (also ``/ready``) asks every named
check and answers 503 with the failing ones while one fails; what is merely :class:`Degraded` is named and keeps no
traffic away. ``/metrics`` is for Prometheus. None is served on the public listener, so no request there can be let
through for looking like a health check (CVE-2026-34457).
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from aiohttp import web

from gateway.errors import ConfigError


class Degraded(str):
    """What is wrong, when the gateway can still judge everybody whom it knows."""

    __slots__ = ()


Check = Callable[[], str | None]
"""Returns None when all is well, else what is wrong in a few words that hold no secret."""

Page = Callable[[str], tuple[bytes, str] | Awaitable[tuple[bytes, str]]]
"""From an ``Accept`` header to a body and its media type."""

NO_METRICS: Final = "Metrics need prometheus-client: pip install 'session-gateway[observe]'\n"

_NO_STORE: Final = {"Cache-Control": "no-store"}


class OutageStatus(Protocol):
    """How the account service stands. ``down_for`` in seconds; ``error`` holds no secret."""

    @property
    def available(self) -> bool:
        """Whether it answers."""

    @property
    def error(self) -> str | None:
        """What is wrong."""

    @property
    def down_for(self) -> float:
        """Since when it does not answer."""


def account_service_check(status: Callable[[], OutageStatus], outage_window: float) -> Check:
    """The check of what revocation rests on: an outage is a failure when it outlasts what good users live on.

    :param outage_window: seconds.
    """

    def check() -> str | None:
        found = status()
        if found.available:
            return None
        text = f"{found.error} (for {found.down_for:.0f} s)"
        return text if found.down_for > outage_window else Degraded(text)

    return check


@dataclass(frozen=True, slots=True)
class Readiness:
    """What checks found: by name, in words that hold no secret."""

    failing: Mapping[str, str]
    degraded: Mapping[str, str]


def readiness(checks: Mapping[str, Check]) -> Readiness:
    """Ask every check."""
    faults = {name: fault for name, check in checks.items() if (fault := check()) is not None}
    degraded = {name: fault for name, fault in faults.items() if isinstance(fault, Degraded)}
    return Readiness({name: fault for name, fault in faults.items() if name not in degraded}, degraded)


Ready = Callable[[], Readiness | Awaitable[Readiness]]
"""How things stand now."""


def admin_application(checks: Mapping[str, Check] | Ready, metrics: Page | None = None) -> web.Application:
    """The application of the admin listener.

    :param checks: what is asked at each look, or who answers for all of it.
    :param metrics: what ``/metrics`` answers; None where prometheus-client is not installed.
    """
    ask: Ready = checks if callable(checks) else partial(readiness, checks)

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"}, headers=_NO_STORE)

    async def ready(_: web.Request) -> web.Response:
        answer = ask()
        found = answer if isinstance(answer, Readiness) else await answer
        word = "unavailable" if found.failing else "degraded" if found.degraded else "ok"
        body = {"status": word, "failing": found.failing} | ({"degraded": found.degraded} if found.degraded else {})
        return web.json_response(body, status=503 if found.failing else 200, headers=_NO_STORE)

    async def figures(request: web.Request) -> web.Response:
        if metrics is None:
            return web.Response(status=404, text=NO_METRICS, headers=_NO_STORE)
        page = metrics(request.headers.get("Accept", ""))
        body, media_type = page if isinstance(page, tuple) else await page
        return web.Response(body=body, headers={"Content-Type": media_type, **_NO_STORE})

    app = web.Application()
    for path in ("/healthz", "/ping"):
        app.router.add_get(path, alive)
    for path in ("/readyz", "/ready"):
        app.router.add_get(path, ready)
    app.router.add_get("/metrics", figures)
    return app


async def listen(app: web.Application, host: str, port: int, sock: socket.socket | None = None) -> web.AppRunner:
    """Serve the admin application.

    :param sock: a listening socket to serve on, instead of the address.
    :raises ConfigError: the address cannot be listened on.
    """
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port) if sock is None else web.SockSite(runner, sock)
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            "$.listen.admin",
            f"cannot listen on {host}:{port}: {error.strerror}",
            'stop the other program, or set another address under [listen] admin = "127.0.0.1:9091"',
        ) from None
    return runner
