"""An aiohttp application from before it knew who is calling: a guest book.

Run it with ``python app.py`` and open http://127.0.0.1:8000.
"""

from __future__ import annotations

from html import escape

from aiohttp import web

ENTRIES = web.AppKey("entries", list)

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Guest book</title>
<h1>Guest book</h1><ul>{entries}</ul>
<form method="post"><input name="text" required><button>Sign</button></form>"""


async def front_page(_: web.Request) -> web.Response:
    """For everybody."""
    return web.Response(text="Welcome. <a href='/book'>The guest book</a>", content_type="text/html")


async def show_book(request: web.Request) -> web.Response:
    """Show what was written."""
    entries = "".join(f"<li><b>{escape(who)}</b>: {escape(text)}" for who, text in request.app[ENTRIES])
    return web.Response(text=PAGE.format(entries=entries), content_type="text/html")


async def sign_book(request: web.Request) -> web.Response:
    """Add a line."""
    form = await request.post()
    who = "somebody"
    request.app[ENTRIES].append((who, str(form["text"])))
    raise web.HTTPSeeOther("/book")


def make_app() -> web.Application:
    """Make the application."""
    app = web.Application()
    app[ENTRIES] = []
    app.add_routes([web.get("/", front_page), web.get("/book", show_book), web.post("/book", sign_book)])
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=8000)
