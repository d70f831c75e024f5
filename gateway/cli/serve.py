"""``gateway serve``: run a configuration until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.blocking.builtin import record_sign_in_ip
from gateway.config.load import PORT_VARIABLE, Loaded, load
from gateway.core.client_ip import AddressResolver
from gateway.wiring import Gateway

if TYPE_CHECKING:
    from gateway.idp import IdentityProvider

DEV_PROJECT: Final = "demo-local"
DEV_API_KEY: Final = "local-api-key"
"""The embedded provider takes any key; the browser's storage is filed under it."""

_log = logging.getLogger("gateway")


def run_serve(file: Path | None, *, dev: bool, public: str | None) -> None:
    """Serve until SIGINT or SIGTERM.

    :raises ConfigError: something is wrong with the configuration, a port is taken, credentials are missing.
    """
    set_up_logging()
    overrides: dict[str, Any] = {"listen.public": public}
    defaults: dict[str, Any] = {}
    environment = dict(os.environ)
    if dev:
        environment.pop(PORT_VARIABLE, None)  # what a platform says of production is no reason to leave loopback
        defaults = {"firebase.project_id": DEV_PROJECT, "firebase.api_key": DEV_API_KEY}
        provider = load(file, environment=environment, overrides=overrides, defaults=defaults).config.provider
        overrides["firebase.emulator"] = str(provider.listen)
    loaded = load(file, environment=environment, overrides=overrides, defaults=defaults)
    run(_serve(loaded, dev=dev))


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to standard error, one line each; decisions have a log of their own."""
    logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s  %(levelname)-7s  %(name)s  %(message)s")
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its retries are ours to report


def run(main: Coroutine[None, None, None]) -> None:
    """Run a coroutine on uvloop where it is installed, else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


async def until_signalled() -> None:
    """Return when SIGINT or SIGTERM arrives."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


async def _start_provider(loaded: Loaded, addresses: AddressResolver) -> IdentityProvider:
    """The embedded identity provider that the configuration describes, running."""
    from gateway.idp import IdentityProvider, ProviderSettings

    settings = loaded.config.provider
    provider = IdentityProvider(
        ProviderSettings(
            project_id=loaded.config.firebase.project_id,
            database=loaded.directory / settings.database,
            host=settings.listen.host,
            port=settings.listen.port,
        ),
        before_sign_in=record_sign_in_ip,
        address_of=addresses.client,
        on_mail=lambda mail: _log.warning("mail to %s: %s", mail.to, mail.link),
    )
    await provider.start()
    return provider


async def _serve(loaded: Loaded, *, dev: bool) -> None:
    config = loaded.config
    async with contextlib.AsyncExitStack() as stack:
        if dev:
            # The provider sees whom the gateway sees: both believe the same proxies.
            addresses = AddressResolver(network.block for network in config.listen.trusted_proxies)
            provider = await _start_provider(loaded, addresses)
            stack.push_async_callback(provider.close)
            _log.warning(
                "development: the embedded identity provider is at %s; never use this for real users", provider.url
            )
        gateway = Gateway(loaded)
        stack.push_async_callback(gateway.close)
        await gateway.start()
        _log.info("serving %s for project %s", gateway.url, config.firebase.project_id)
        await until_signalled()
        _log.info("stopping: no new connections, requests in flight may finish")
