"""``gateway functions serve``: answer events until a signal ends it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.serve import run, set_up_logging, until_signalled
from gateway.clock import SystemClock
from gateway.config.load import PORT_VARIABLE, Loaded, load
from gateway.config.types import HostPort, is_loopback_host
from gateway.errors import ConfigError
from gateway.wiring.functions import FunctionsServer, listen_for_events, load_functions

if TYPE_CHECKING:
    from gateway.blocking import BlockingFunctions

DEFAULT_LISTEN: Final = "127.0.0.1:8081"
ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - what the container contract of Cloud Run asks for

_log = logging.getLogger("gateway")


def run_functions_serve(name: str | None, file: Path | None, *, listen: str | None) -> None:
    """Serve ``module:name``, or what a configuration names, until SIGINT or SIGTERM.

    :raises ConfigError: nothing to serve, or something is wrong with it.
    """
    set_up_logging()
    if file is not None:
        if name is not None:
            sys.path.insert(
                0, str(Path.cwd())
            )  # as without a file; modules that the file names are looked for beside it
        run(_serve_configured(_load(name, file, listen, os.environ)))
    elif name is not None:
        functions = load_functions(name, "MODULE", Path.cwd())
        run(_serve(functions, listening_address(listen, os.environ, functions)))
    else:
        raise ConfigError("gateway functions serve", "names no functions", "module:name, or --config FILE")


def _load(name: str | None, file: Path, listen: str | None, environment: Mapping[str, str]) -> Loaded:
    """The configuration; the platform's port is that of the functions, and no backend is needed."""
    port = environment.get(PORT_VARIABLE, "")
    others = {key: value for key, value in environment.items() if key != PORT_VARIABLE}
    overrides: dict[str, Any] = {"functions.listen": listen, "functions.handlers": name}
    default = f"{ANY_ADDRESS}:{port}" if port.isdecimal() else DEFAULT_LISTEN
    defaults = {"functions.listen": default}
    return load(file, environment=others, overrides=overrides, defaults=defaults, backends=False)


def listening_address(given: str | None, environment: Mapping[str, str], functions: BlockingFunctions) -> HostPort:
    """Where to listen: as told, else on the platform's port, else on loopback.

    :raises ConfigError: no address, or one that others reach while unsigned events are taken.
    """
    port = environment.get(PORT_VARIABLE, "")
    text = given or (f"{ANY_ADDRESS}:{port}" if port.isdecimal() else DEFAULT_LISTEN)
    try:
        address = HostPort.parse(text)
    except ValueError as error:
        raise ConfigError("--listen", str(error)) from None
    if functions.emulator and not is_loopback_host(address.host):
        raise ConfigError("--listen", "is not on loopback, and these functions take unsigned events", DEFAULT_LISTEN)
    return address


async def _serve(functions: BlockingFunctions, address: HostPort) -> None:
    runner = await listen_for_events(functions.application(), address.host, address.port)
    try:
        host, port = runner.addresses[0][:2]
        _told(functions, f"{host}:{port}")
        await until_signalled()
        _log.info("stopping: events in flight are answered, deferred work is finished")
    finally:
        await runner.cleanup()


async def _serve_configured(loaded: Loaded) -> None:
    if loaded.config.functions.listen.is_off:
        raise ConfigError("$.functions.listen", "is off", f'listen = "{DEFAULT_LISTEN}"')
    async with contextlib.AsyncExitStack() as stack:
        server = FunctionsServer(loaded, SystemClock(), None)
        stack.push_async_callback(server.close)
        await server.start()
        _told(server.functions, server.url.removeprefix("http://"))
        await until_signalled()
        _log.info("stopping: events in flight are answered, deferred work is finished")


def _told(functions: BlockingFunctions, address: str) -> None:
    events = ", ".join(functions.events) or "no event"
    _log.info("answering %s for project %s at http://%s", events, functions.project_id, address)
    if functions.emulator:
        _log.warning("unsigned events are taken: for the official Auth emulator only")
