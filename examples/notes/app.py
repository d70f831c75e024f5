"""Notes: each user sees their own, editors may pin one for everybody, and open pages follow along.

Start an identity provider and the application, then open http://localhost:8000:

    gateway idp --project demo-notes
    python app.py
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from html import escape
from pathlib import Path

from aiohttp import WSMsgType, web

import gateway

NOTES = web.AppKey("notes", defaultdict)  # uid to notes
PINNED = web.AppKey("pinned", list)
LIVE = web.AppKey("live", set)  # open pages: (uid, WebSocket)

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Notes</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<h1>Notes</h1><p>{who} · <a href="/.gateway/logout">Sign out</a></p>
<ul id="pinned">{pinned}</ul><ul id="notes">{notes}</ul>
<form method="post" action="/notes"><label>New note <input name="text" required></label> <button>Keep</button></form>
<script type="module">
  const socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/notes$/, "live"));
  socket.onmessage = ({{data}}) => {{
    const line = document.createElement("li");
    line.textContent = data;
    document.querySelector("#notes").append(line);
  }};
  socket.onclose = ({{code}}) => {{ if (code === 4401) location.reload(); }};
</script>"""


def uid_of(request: web.Request) -> str:
    """Who is calling; every handler without a mark has somebody."""
    session = gateway.session_of(request)
    assert session is not None
    return session.principal.uid


@gateway.public
async def welcome(_: web.Request) -> web.Response:
    """For everybody."""
    return web.Response(text="<h1>Notes</h1><a href='/notes'>Mine</a>", content_type="text/html")


async def show(request: web.Request) -> web.Response:
    """Show the user's own notes and what is pinned."""
    session = gateway.session_of(request)
    lists = (request.app[PINNED], request.app[NOTES][uid_of(request)])
    pinned, notes = ("".join(f"<li>{escape(note)}" for note in notes) for notes in lists)
    who = escape(session.claims.email or session.principal.uid)
    return web.Response(text=PAGE.format(who=who, pinned=pinned, notes=notes), content_type="text/html")


async def keep(request: web.Request) -> web.Response:
    """Keep a note and tell the user's open pages."""
    text = str((await request.post()).get("text", ""))[:1000]
    request.app[NOTES][uid_of(request)].append(text)
    for uid, socket in set(request.app[LIVE]):
        if uid == uid_of(request):
            await socket.send_str(text)
    raise web.HTTPSeeOther("/notes")


@gateway.require(roles="editor", max_auth_age=3600)
async def pin(request: web.Request) -> web.Response:
    """Pin a note for everybody."""
    request.app[PINNED].append(str((await request.post()).get("text", ""))[:1000])
    raise web.HTTPSeeOther("/notes")


async def live(request: web.Request) -> web.WebSocketResponse:
    """Tell an open page of new notes, for as long as its session lasts."""
    socket = web.WebSocketResponse(heartbeat=30)
    await socket.prepare(request)
    entry = (uid_of(request), socket)
    request.app[LIVE].add(entry)
    reading = asyncio.create_task(_until_closed(socket))
    ending = asyncio.create_task(gateway.session_ended(request))
    try:
        await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            await socket.close(code=4401, message=ending.result().id.encode())
    finally:
        request.app[LIVE].discard(entry)
        reading.cancel()
        ending.cancel()
    return socket


async def _until_closed(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        if message.type is WSMsgType.ERROR:
            return


def make_app() -> web.Application:
    """Make the application."""
    app = web.Application()
    app[NOTES], app[PINNED], app[LIVE] = defaultdict(list), [], set()
    app.add_routes(
        [
            web.get("/", welcome),
            web.get("/notes", show),
            web.post("/notes", keep),
            web.post("/pinned", pin),
            web.get("/live", live),
        ]
    )
    gateway.setup(app, Path(__file__).with_name("gateway.toml"))
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
