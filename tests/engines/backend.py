"""The recording backend: answers in many forms, and keeps what arrived.

Addresses are ``/r/RUN/ROW/NAME?as=FORM``: whatever is sent there is recorded under run and row, then answered in the
form that was asked for. The same application also stands for the foreign site, where it allows every origin.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import WSMsgType, web
from multidict import CIMultiDict

PAGE: Final = Path(__file__).parent / "page"
"""Where the pages and scripts of the table are."""

MAX_BODY: Final = 16 * 1024 * 1024
"""Bytes; the largest upload of the table has five million."""

RANGED: Final = bytes(index % 251 for index in range(65_536))
"""What range requests are answered from: no two neighbouring pieces are equal."""

SLOW_SECONDS: Final = 20.0
"""How long an answer that nobody should wait for is held back."""


@dataclass(slots=True)
class Arrival:
    """One request as the backend saw it. ``sha256`` is the body's, with the boundary of multipart bodies made equal."""

    site: str
    name: str
    method: str
    headers: CIMultiDict[str]
    body: int = 0
    sha256: str = ""
    dropped: bool = False

    @property
    def user(self) -> str:
        """Who the gateway says it is; empty for nobody."""
        return self.headers.get("X-Forwarded-User", "")


@dataclass(slots=True)
class Recorder:
    """Everything that arrived, by run and row."""

    arrivals: dict[tuple[str, str], list[Arrival]] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, run: str, row: str, arrival: Arrival) -> None:
        """Keep one."""
        self.arrivals.setdefault((run, row), []).append(arrival)
        self._news.set()

    def of(self, run: str, row: str) -> list[Arrival]:
        """What has arrived so far."""
        return self.arrivals.get((run, row), [])

    async def wait(self, run: str, row: str, *, count: int, seconds: float, last: str = "") -> None:
        """Wait until ``count`` have arrived and one called ``last`` is among them, at most ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(found := self.of(run, row)) < count or (last and all(one.name != last for one in found)):
                    self._news.clear()
                    await self._news.wait()


def application(recorder: Recorder, site: str, *, foreign: str = "") -> web.Application:
    """The backend.

    :param site: what its arrivals are marked with.
    :param foreign: the address of the other site, for pages that need to know it.
    """

    async def record(request: web.Request) -> web.StreamResponse:
        run, row = request.match_info["run"], request.match_info["row"]
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return web.Response(status=204, headers=_allowed(request))
        arrival = Arrival(site, request.match_info["name"], request.method, request.headers.copy())
        recorder.add(run, row, arrival)
        try:
            body = await request.read()
        except (ConnectionError, web.HTTPException):
            arrival.dropped = True
            raise
        arrival.body, arrival.sha256 = len(body), hashlib.sha256(_without_boundary(request, body)).hexdigest()
        answer = FORMS.get(request.query.get("as", ""), _json)
        try:
            response = await answer(request)
        except (ConnectionError, asyncio.CancelledError):
            arrival.dropped = True
            raise
        if not response.prepared:
            response.headers.update(_allowed(request))
        return response

    async def page(request: web.Request) -> web.Response:
        text = (PAGE / "lab.html").read_text("utf-8").replace("{{site}}", site).replace("{{foreign}}", foreign)
        return web.Response(text=text, content_type="text/html", headers={"Set-Cookie": "app=1; Path=/; SameSite=Lax"})

    async def script(request: web.Request) -> web.Response:
        path = PAGE / request.match_info["name"]
        return web.Response(text=await asyncio.to_thread(path.read_text, "utf-8"), content_type="text/javascript")

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/r/{run}/{row}/{name}", record)
    app.router.add_get("/lab/", page)
    app.router.add_get(r"/lab/{name:[a-z-]+\.js}", script)
    return app


def _allowed(request: web.Request) -> dict[str, str]:
    """Allow whatever was asked for: whether a token comes along must not depend on the foreign site's refusal."""
    origin = request.headers.get("Origin")
    if origin is None:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", "x-own"),
        "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "Access-Control-Expose-Headers": "*",
    }


def _without_boundary(request: web.Request, body: bytes) -> bytes:
    found = re.fullmatch(r"multipart/form-data; boundary=(\S+)", request.headers.get("Content-Type", ""))
    return body.replace(found.group(1).encode(), b"boundary") if found else body


# ---- forms of answers ------------------------------------------------------------------------------------------------


async def _json(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    return web.json_response(
        {"method": request.method, "body": hashlib.sha256(_without_boundary(request, body)).hexdigest()},
        headers={"Cache-Control": "no-store", "X-Own": "answer"},
    )


def _fixed(content_type: str, body: bytes, status: int = 200) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, body=body, headers={"Content-Type": content_type, "Cache-Control": "max-age=60"}
        )

    return answer


async def _redirect(request: web.Request) -> web.StreamResponse:
    return web.Response(status=int(request.query["status"]), headers={"Location": request.query["to"]})


async def _refresh(request: web.Request) -> web.StreamResponse:
    return web.Response(
        text="<title>refresh</title>", content_type="text/html", headers={"Refresh": f"0; url={request.query['to']}"}
    )


async def _html(request: web.Request) -> web.StreamResponse:
    """A page with the markup in ``html``."""
    return web.Response(
        text=f"<!doctype html><title>row</title>{request.query.get('html', '')}",
        content_type="text/html",
        headers={"Cache-Control": "no-store"},
    )


async def _etag(request: web.Request) -> web.StreamResponse:
    headers = {"ETag": '"one"', "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == '"one"':
        return web.Response(status=304, headers=headers)
    return web.Response(text="tagged", headers=headers)


async def _download(request: web.Request) -> web.StreamResponse:
    return web.Response(
        body=b"file",
        headers={"Content-Type": "application/octet-stream", "Content-Disposition": 'attachment; filename="row.bin"'},
    )


async def _range(request: web.Request) -> web.StreamResponse:
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if found is None:
        return web.Response(body=RANGED, headers=headers)
    first, last = int(found.group(1)), int(found.group(2) or len(RANGED) - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(RANGED)}"
    return web.Response(status=206, body=RANGED[first : last + 1], headers=headers)


async def _sound(request: web.Request) -> web.StreamResponse:
    body = _wave()
    headers = {"Content-Type": "audio/wav", "Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if found is None:
        return web.Response(body=body, headers=headers)
    first, last = int(found.group(1)), int(found.group(2) or len(body) - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
    return web.Response(status=206, body=body[first : last + 1], headers=headers)


async def _pieces(request: web.Request) -> web.StreamResponse:
    """Three pieces with pauses: arrives in three reads only when nobody buffers."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-store"})
    await response.prepare(request)
    for piece in (b"one ", b"two ", b"three"):
        await response.write(piece)
        await asyncio.sleep(0.03)
    return response


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-store"})
    await response.prepare(request)
    for _ in range(int(SLOW_SECONDS * 20)):
        await response.write(b"more ")
        await asyncio.sleep(0.05)
    return response


async def _late(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(SLOW_SECONDS)
    return web.Response(text="late")


async def _events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    response.headers.update(_allowed(request))
    await response.prepare(request)
    await response.write(b"retry: 50\nid: 7\ndata: first\n\n")
    return response


async def _socket(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


def _png() -> bytes:
    """One grey pixel (PNG specification, section 5)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")


def _wave() -> bytes:
    """A tenth of a second of silence (RIFF WAVE, 8 kHz, 8 bits, one channel)."""
    samples = b"\x80" * 800
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8_000, 8_000, 1, 8)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI", b"RIFF", len(body)) + body


_SVG: Final = b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'><circle id='c' r='1'/></svg>"

FORMS: Final[dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = {
    "css": _fixed("text/css", b".lab { color: green }"),
    "download": _download,
    "endless": _endless,
    "etag": _etag,
    "events": _events,
    "four": _fixed("text/plain", b"four"),
    "html": _html,
    "js": _fixed("text/javascript", b"globalThis.labLoaded = (globalThis.labLoaded || 0) + 1;"),
    "large": _fixed("application/octet-stream", RANGED * 16),
    "late": _late,
    "manifest": _fixed("application/manifest+json", b'{"name": "lab", "start_url": "/lab/"}'),
    "missing": _fixed("text/plain", b"missing", 404),
    "broken": _fixed("text/plain", b"broken", 500),
    "nothing": _fixed("text/plain", b"", 204),
    "module": _fixed("text/javascript", b"export const loaded = 'module';"),
    "pieces": _pieces,
    "png": _fixed("image/png", _png()),
    "range": _range,
    "redirect": _redirect,
    "refresh": _refresh,
    "socket": _socket,
    "sound": _sound,
    "svg": _fixed("image/svg+xml", _SVG),
    "vtt": _fixed("text/vtt", b"WEBVTT\n\n00:00.000 --> 00:01.000\nlab\n"),
    "text": _fixed("text/plain", b"some text"),
}
"""What ``as`` may say."""


async def _script_with(request: web.Request) -> web.StreamResponse:
    """A script, worker or style sheet with the text in ``body``: rows say what nested requests it makes."""
    return web.Response(
        text=request.query["body"], content_type=request.query["type"], headers={"Cache-Control": "no-store"}
    )


FORMS["given"] = _script_with
