"""Blocking functions in an aiohttp application of your own: start with ``python mounted.py``."""

from __future__ import annotations

import os

from aiohttp import web

from gateway.blocking import BlockingFunctions, EventContext, User, UserUpdate

functions = BlockingFunctions("my-project", audiences=["https://app.example.com/hooks/before-create"])


@functions.before_create
async def name(user: User, context: EventContext) -> UserUpdate:  # noqa: ARG001 - the signature of functions
    """Give everybody a name."""
    return UserUpdate(display_name=user.display_name or "Guest")


async def home(_: web.Request) -> web.Response:
    """Answer for your application."""
    return web.Response(text="The application itself.\n")


def application() -> web.Application:
    """Make the application; certificates are fetched when it starts, deferred work is finished when it stops."""
    app = web.Application()
    app.router.add_get("/", home)
    app.add_subapp("/hooks/", functions.application())
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(os.environ.get("PORT", "8081")))
