"""The gateway in an aiohttp application: the parts of a configuration, opened and closed with it."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from gateway.assets import load_assets
from gateway.config import model
from gateway.config.load import Loaded, load
from gateway.errors import ConfigError
from gateway.http.enforce import Enforcer
from gateway.middleware import ENFORCEMENT, Enforcement, install
from gateway.policy.routes import Auth
from gateway.wiring.assembly import Assembly
from gateway.wiring.lasting import Lasting
from gateway.wiring.settings import decision_log

if TYPE_CHECKING:
    from collections.abc import Callable

    Assemble = Callable[[Loaded, Lasting], Assembly]

DEFAULT_ROUTE: Final = "application"
"""Name of the route that takes every path which the configuration says nothing of."""
_NO_BACKEND: Final = [{"name": "application", "urls": ["http://127.0.0.1:9"]}]
"""Routes name a backend. Here the application is that, and nothing is ever sent to this address."""
_ASSEMBLE: Final = web.AppKey("gateway.assemble", object)


def setup(
    app: web.Application,
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    auth: str = Auth.REQUIRED,
    **firebase: Any,
) -> None:
    """Make an aiohttp application judge its requests as the gateway does, and serve the worker and the login page.

    Call it once, on the outermost application, before that starts; what it uses is opened and closed with it. Handlers
    are judged by their marks (:func:`gateway.require`, :func:`gateway.optional`, :func:`gateway.public`), the others by
    the configured routes, and what these do not name by ``auth``. Behind a proxy name that one in
    ``listen.trusted_proxies``.

    :param config: a configuration file, or its tables; it needs neither backends nor routes.
    :param auth: ``required``, ``optional`` or ``public``.
    :param firebase: settings of the table ``[firebase]``: ``project_id``, ``api_key`` and so on.
    :raises ConfigError: the configuration is wrong, or the application is set up already.
    """
    if ENFORCEMENT in app:
        raise ConfigError("setup", "the session gateway is set up on this application already", "call it once")
    path = Path(config) if isinstance(config, str | Path) else None
    overrides: dict[str, Any] = {} if path is not None or config is None else dict(config)  # type: ignore[arg-type]
    overrides |= {f"firebase.{name}": value for name, value in firebase.items()}
    if auth not in list(Auth):
        raise ConfigError("auth", f"{auth!r} is none of the ways to treat a request", "required, optional or public")
    word = Auth(auth)
    alone = [{"match": {"path": "/**"}, "name": DEFAULT_ROUTE, "auth": word.value}]
    loaded = load(path, overrides=overrides, defaults={"upstream": _NO_BACKEND, "route": alone})
    if loaded.config.route[-1].name != DEFAULT_ROUTE:
        backend = loaded.config.upstream[0].name
        last = model.Route(match=model.Match(path="/**"), upstream=backend, name=DEFAULT_ROUTE, auth=word)
        whole = msgspec.structs.replace(loaded.config, route=(*loaded.config.route, last))
        loaded = dataclasses.replace(loaded, config=whole)
    install(app, Enforcement())

    async def life(app: web.Application) -> AsyncIterator[None]:
        assemble: Any = app.get(_ASSEMBLE, Assembly)
        lasting = Lasting(decision_log(loaded.config))
        assembly: Assembly = assemble(loaded, lasting)
        try:
            await assembly.open()
            assembly.adopt()
            endpoints, replies, readers = assembly.serve(load_assets())
            guard = assembly.guard
            assert guard is not None
            default = guard.routes.by_name[DEFAULT_ROUTE]
            enforcer = Enforcer(endpoints, replies, lasting.sink, readers)
            enforcer.forward_auth = assembly.questions(enforcer)
            app[ENFORCEMENT].open(lambda: guard, enforcer, default)
            yield
        finally:
            app[ENFORCEMENT].close()
            await assembly.close()
            await lasting.close()

    app.cleanup_ctx.append(life)


def assemble_with(app: web.Application, assemble: Assemble) -> None:
    """Let ``assemble`` make the parts of this application's gateway; for :mod:`gateway.testing`."""
    app[_ASSEMBLE] = assemble
