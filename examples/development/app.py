"""An application that knows nothing about tokens: whoever the gateway names is signed in."""

from __future__ import annotations

import html
import os

from aiohttp import web


async def hello(request: web.Request) -> web.Response:
    """Greet the user whom the gateway names."""
    email = request.headers.get("X-Forwarded-Email") or request.headers["X-Forwarded-User"]
    page = f'<!doctype html><title>Hello</title><p>Hello, {html.escape(email)}. <a href="/.gateway/logout">Sign out</a>'
    return web.Response(text=page, content_type="text/html")


def main() -> None:
    """Serve on loopback: only the gateway may reach this application."""
    app = web.Application()
    app.router.add_get("/{path:.*}", hello)
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "3000")))


if __name__ == "__main__":
    main()
