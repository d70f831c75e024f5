"""The demo's protected application: a small workshop that leaves signing in to the gateway.

It holds no credential, verifies no token and knows no password. Who is calling is what three headers say
(:mod:`gateway.demo.visitor`), so it listens on loopback only. Everything that a real application does over HTTP happens
here once: pages, JSON, an upload, a WebSocket, an event stream; and a few buttons let the visitor provoke the gateway.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs, web

from gateway.core.client_ip import parse_address
from gateway.demo.data import JOBS, SHOP, Job
from gateway.demo.live import TICK_SECONDS, Live
from gateway.demo.network import AWAY, HOME, DemoNetwork
from gateway.demo.render import Markup, Pages, joined, load_pages
from gateway.demo.upload import BadUpload, receive
from gateway.demo.visitor import Visitor, headers_received, kind_of, visitor_of
from gateway.errors import ConfigError, DependencyError

Revoke = Callable[[str], Awaitable[None]]
"""Ends every session of the user with this uid.

Raises :class:`~gateway.errors.DependencyError` when the provider does not answer."""

LOOPBACK: Final = "127.0.0.1"

NOTICED_WITHIN_SECONDS: Final = 5.0
"""How soon the demo's gateway promises to notice a revocation, when the caller names no other figure."""

SHUTDOWN_SECONDS: Final = 1.0
"""Grace for requests in flight; streams and sockets are ended before it begins."""

MAX_COMMAND_BYTES: Final = 1_024
"""A command of the demo page is one short JSON object."""

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

_VISITOR: Final = web.RequestKey("visitor", Visitor)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DemoBackend:
    """The sample backend on a loopback port of its own.

    :param network: the simulated network that the page's buttons move.
    :param revoke: ends every session of a user.
    :param noticed_within: seconds within which the gateway promises to refuse a revoked session; the page prints it.
    :param logout_url: where the page's "Sign out" leads.
    :param tick: seconds between two events of the live stream.
    :param port: 0 lets the system choose.
    """

    def __init__(
        self,
        *,
        network: DemoNetwork,
        revoke: Revoke,
        noticed_within: float = NOTICED_WITHIN_SECONDS,
        logout_url: str = "/.gateway/logout?rd=/",
        tick: float = TICK_SECONDS,
        port: int = 0,
    ) -> None:
        self._network = network
        self._revoke = revoke
        self._noticed_within = noticed_within
        self._logout_url = logout_url
        self._port = port
        self._pages: Pages = load_pages()
        self._runner: web.AppRunner | None = None
        self._url: str | None = None
        self.live: Final = Live(tick)
        self.app: Final = self._build()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``.

        :raises RuntimeError: the backend is not running.
        """
        if self._url is None:
            raise RuntimeError("the demo backend is not running")
        return self._url

    async def start(self) -> None:
        """Begin to listen.

        :raises ConfigError: the port is taken.
        """
        runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, LOOPBACK, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(
                f"{LOOPBACK}:{self._port}", "the demo's backend cannot listen here", error.strerror or ""
            ) from error
        self._runner = runner
        self._url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"

    async def close(self) -> None:
        """End streams and sockets, finish what is in flight, stop listening. Closing twice is harmless."""
        runner, self._runner, self._url = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    def _build(self) -> web.Application:
        app = web.Application(middlewares=[self._explain_errors])
        app.on_response_prepare.append(_set_headers)
        app.on_shutdown.append(self._end_streams)
        app.add_routes(
            [
                web.get("/", _members(self._home)),
                web.get("/jobs", _members(self._board)),
                web.get(r"/jobs/{number:\d{1,6}}", _members(self._job)),
                web.get("/public/about", self._about),
                web.get(r"/public/assets/{name}", self._asset),
                web.get("/api/whoami", _whoami),
                web.get("/api/jobs", _members(_jobs)),
                web.post("/upload", _members(_upload)),
                web.get("/ws", self.live.echo),
                web.get("/events", _members(self.live.events)),
                web.post("/demo/revoke", _members(self._revoke_sessions)),
                web.get("/demo/network", self._show_network),
                web.post("/demo/network", self._set_network),
            ]
        )
        return app

    async def _end_streams(self, _app: web.Application) -> None:
        await self.live.close()

    # ---- pages -------------------------------------------------------------------------------------------------------
    def _page(
        self, request: web.Request, name: str, title: str, *, status: int = 200, **values: object
    ) -> web.Response:
        visitor = visitor_of(request.raw_headers)
        text = self._pages.page(
            name,
            title=title,
            shop=SHOP,
            who=self._badge(visitor),
            **values,
        )
        return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})

    def _badge(self, visitor: Visitor | None) -> Markup:
        if visitor is None:
            return self._pages.part("part-nobody")
        return self._pages.part("part-visitor", name=visitor.email or visitor.user, logout=self._logout_url)

    async def _home(self, request: web.Request) -> web.Response:
        visitor = request[_VISITOR]
        rows = headers_received(request.raw_headers)
        return self._page(
            request,
            "home",
            "Today",
            user=visitor.user,
            email=visitor.email or "none",
            groups=self._groups(visitor),
            headers=joined(
                [self._pages.part("part-header", kind=kind_of(name), name=name, value=value) for name, value in rows]
            ),
            header_count=len(rows),
            jobs=joined([self._job_card(job, visitor) for job in JOBS.values()]),
            logout=self._logout_url,
            home_address=HOME,
            away_address=AWAY,
            here=self._network.current,
            noticed_within=f"{self._noticed_within:g}",
        )

    def _groups(self, visitor: Visitor) -> Markup:
        if not visitor.groups:
            return self._pages.part("part-no-groups")
        return joined([self._pages.part("part-group", group=group) for group in visitor.groups])

    async def _board(self, request: web.Request) -> web.Response:
        visitor = request[_VISITOR]
        cards = joined([self._job_card(job, visitor) for job in JOBS.values()])
        return self._page(request, "jobs", "Job board", jobs=cards, count=len(JOBS))

    async def _job(self, request: web.Request) -> web.Response:
        job = JOBS.get(int(request.match_info["number"]))
        if job is None:
            raise web.HTTPNotFound(text="There is no job with that number.")
        return self._page(
            request,
            "job",
            f"Job {job.number}",
            number=job.number,
            bicycle=job.bicycle,
            customer=job.customer,
            fault=job.fault,
            state=job.status.value,
            tone=job.status.name.lower(),
            due=job.due,
            estimate="on the house" if job.estimate == 0 else f"{job.estimate} €",
            mechanic=_mechanic(job, request[_VISITOR]),
            note=job.note,
            work=joined([self._pages.part("part-work", step=step) for step in job.work]),
        )

    def _job_card(self, job: Job, visitor: Visitor) -> Markup:
        return self._pages.part(
            "part-job",
            number=job.number,
            bicycle=job.bicycle,
            customer=job.customer,
            fault=job.fault,
            state=job.status.value,
            tone=job.status.name.lower(),
            due=job.due,
            mechanic=_mechanic(job, visitor),
        )

    async def _about(self, request: web.Request) -> web.Response:
        return self._page(request, "about", "About")

    async def _asset(self, request: web.Request) -> web.Response:
        asset = self._pages.assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound(text="There is no such file.")
        headers = {"Cache-Control": "no-cache", "ETag": f'"{asset.etag}"'}
        if any(tag.value in {asset.etag, "*"} for tag in request.if_none_match or ()):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)

    # ---- the demo's buttons ------------------------------------------------------------------------------------------
    async def _revoke_sessions(self, request: web.Request) -> web.Response:
        await _command(request)
        try:
            await self._revoke(request[_VISITOR].user)
        except DependencyError:
            raise web.HTTPServiceUnavailable(
                text="The identity provider does not answer; nothing was revoked."
            ) from None
        return _json({"revoked": True, "noticed_within_seconds": self._noticed_within})

    async def _show_network(self, _request: web.Request) -> web.Response:
        return _json(self._network_state())

    async def _set_network(self, request: web.Request) -> web.Response:
        # Also for visitors without a session: one who has travelled has none until they sign in again, and must still
        # be able to go home.
        command = await _command(request)
        address = parse_address(command["address"]) if isinstance(command.get("address"), str) else None
        if address is None or set(command) != {"address"}:
            raise web.HTTPBadRequest(text='Send {"address": "…"} with one IP address.')
        try:
            self._network.travel_to(address)
        except ValueError:
            raise web.HTTPBadRequest(text="No visitor can be at that address.") from None
        return _json(self._network_state())

    def _network_state(self) -> dict[str, Any]:
        here = self._network.current
        return {"address": str(here), "at_home": here == HOME, "home": str(HOME), "away": str(AWAY)}

    # ---- errors ------------------------------------------------------------------------------------------------------
    @web.middleware
    async def _explain_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            headers: dict[str, str] = {}
            if hdrs.ALLOW in error.headers:
                headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
            return self._error(request, error.status, error.text or "", headers)
        except BadUpload as error:
            return self._error(request, error.status, str(error), {})

    def _error(self, request: web.Request, status: int, detail: str, headers: dict[str, str]) -> web.Response:
        title = HTTPStatus(status).phrase
        if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
            response: web.Response = self._page(
                request, "error", title, status=status, heading=title, code=status, detail=detail
            )
        else:
            problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
            response = _json(problem, status=status, content_type="application/problem+json")
        response.headers.update(headers)
        return response


def _members(handler: Handler) -> Handler:
    """``handler`` for people the gateway has named; anybody else came past the gateway and is refused."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        visitor = visitor_of(request.raw_headers)
        if visitor is None:
            raise web.HTTPForbidden(text="This application takes visitors from the gateway only, and it named nobody.")
        request[_VISITOR] = visitor
        return await handler(request)

    return guarded


async def _whoami(request: web.Request) -> web.Response:
    visitor = visitor_of(request.raw_headers)
    who = Visitor("", "", ()) if visitor is None else visitor
    rows = [{"name": name, "value": value} for name, value in headers_received(request.raw_headers)]
    return _json({**who.as_json(), "user": who.user or None, "headers": rows})


async def _jobs(_request: web.Request) -> web.Response:
    return _json({"jobs": [job.as_json() for job in JOBS.values()]})


async def _upload(request: web.Request) -> web.Response:
    return _json((await receive(request)).as_json())


async def _command(request: web.Request) -> dict[str, Any]:
    """The JSON object of a command.

    Another site cannot send this content type without asking first (a CORS preflight, which nobody answers here), so a
    forged form never gets this far.
    """
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="Send the command as application/json.")
    try:
        await request.content.readexactly(MAX_COMMAND_BYTES + 1)
    except asyncio.IncompleteReadError as end:
        body = end.partial
    else:
        raise web.HTTPBadRequest(text="The command is too long.")
    try:
        command = json.loads(body)
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(text="The command is not JSON.") from None
    if not isinstance(command, dict):
        raise web.HTTPBadRequest(text="The command is not a JSON object.")
    return command


async def _set_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _mechanic(job: Job, visitor: Visitor) -> str:
    if job.mechanic is None:
        return "nobody yet"
    return "you" if job.mechanic.email == visitor.email else job.mechanic.display_name


def _json(value: object, *, status: int = 200, content_type: str = "application/json") -> web.Response:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return web.Response(body=body, status=status, content_type=content_type, headers={"Cache-Control": "no-store"})
