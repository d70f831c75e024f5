"""``gateway serve``: run a configuration until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.adapters.systemd import ServiceManager, handed_over
from gateway.cli.open_files import raise_file_limit
from gateway.cli.signals import Signals
from gateway.cli.worker import WorkerPlace, serve_as_worker
from gateway.config.load import PORT_VARIABLE, Loaded, load
from gateway.core.client_ip import AddressResolver
from gateway.errors import ConfigError
from gateway.files import FileWatch
from gateway.wiring import Gateway
from gateway.wiring.functions import development_audience

if TYPE_CHECKING:
    from gateway.idp import IdentityProvider

DEV_PROJECT: Final = "demo-local"
DEV_API_KEY: Final = "local-api-key"
"""The embedded provider takes any key; the browser's storage is filed under it."""

_log = logging.getLogger("gateway")

Read = Callable[[], Loaded]
"""Reads the configuration, again and again."""


def run_serve(file: Path | None, *, dev: bool, public: str | None) -> None:
    """Serve until SIGINT or SIGTERM.

    :raises ConfigError: something is wrong with the configuration, a port is taken, credentials are missing.
    """
    set_up_logging()
    place = WorkerPlace.taken(os.environ)
    read = partial(_read, file, dev=dev, public=public)
    loaded = read()
    if place is not None:
        run(serve_as_worker(read, loaded, place))
        return
    raise_file_limit()
    if loaded.config.listen.workers > 1:
        from gateway.cli.workers import serve_with_workers

        words = ["serve", *(["--config", str(file)] if file is not None else [])]
        words += [*(["--public", public] if public is not None else []), *(["--dev"] if dev else [])]
        run(serve_with_workers(read, loaded, words, _beside(loaded, dev=dev)))
        return
    run(_serve(read, loaded, dev=dev))


def _read(file: Path | None, *, dev: bool, public: str | None) -> Loaded:
    overrides: dict[str, Any] = {"listen.public": public}
    defaults: dict[str, Any] = {}
    environment = dict(os.environ)
    if dev:
        environment.pop(PORT_VARIABLE, None)  # what a platform says of production is no reason to leave loopback
        defaults = {"firebase.project_id": DEV_PROJECT, "firebase.api_key": DEV_API_KEY}
        described = load(file, environment=environment, overrides=overrides, defaults=defaults).config
        provider = described.provider
        overrides["firebase.emulator"] = str(provider.listen)
        overrides |= development_audience(described)
    return load(file, environment=environment, overrides=overrides, defaults=defaults)


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
    signals = Signals()
    signals.listen(reloads=False)  # a terminal that is closed takes the demo with it
    await signals.stopped()


async def _start_provider(
    loaded: Loaded, addresses: AddressResolver, stack: contextlib.AsyncExitStack
) -> IdentityProvider:
    """The embedded identity provider that the configuration describes, running until the stack is closed."""
    from gateway.wiring.provider import LocalFunctions, provider_of

    functions = None
    if loaded.config.functions.listen.is_off and not loaded.config.functions.is_empty:
        functions = LocalFunctions(loaded)
        stack.push_async_callback(functions.close)
        await functions.start()
    provider = provider_of(loaded, addresses, functions)
    stack.push_async_callback(provider.close)
    await provider.start()
    return provider


@contextlib.asynccontextmanager
async def _beside(loaded: Loaded, *, dev: bool) -> AsyncIterator[None]:
    """What runs beside the gateway while developing: the embedded identity provider."""
    if not dev:
        yield
        return
    # The provider sees whom the gateway sees: both believe the same proxies.
    addresses = AddressResolver(network.block for network in loaded.config.listen.trusted_proxies)
    async with contextlib.AsyncExitStack() as stack:
        provider = await _start_provider(loaded, addresses, stack)
        _log.warning(
            "development: the embedded identity provider is at %s; never use this for real users", provider.url
        )
        yield


async def _serve(read: Read, loaded: Loaded, *, dev: bool) -> None:
    manager, handed, signals = ServiceManager(os.environ), handed_over(os.environ), Signals()
    async with _beside(loaded, dev=dev):
        gateway = Gateway(loaded)
        signals.on_stop = gateway.stopping
        signals.listen()
        closing: asyncio.Task[None] | None = None
        try:
            await gateway.start(public=handed.public or None, admin=handed.admin)
            told = f"serving {gateway.url} for project {loaded.config.firebase.project_id}"
            _log.info("%s", told)
            # What is here now stays, so the collector need not look at it again.
            gc.collect()
            gc.freeze()
            manager.ready(told)
            await Service(read, loaded, signals, manager, gateway.reload, gateway.reload_failed).run(told)
            _log.info("stopping: no new connections, requests in flight may finish")
            manager.stopping()
            closing = asyncio.create_task(gateway.close())
            await until_closed(closing, signals, gateway.hurry)
        finally:
            if closing is None:
                await gateway.close(0)
            manager.close()


async def until_closed(closing: asyncio.Task[None], signals: Signals, hurry: Callable[[], None]) -> None:
    """Wait for the end; cut off what is left when a second signal comes."""
    impatience = asyncio.create_task(signals.hurry.wait())
    await asyncio.wait({closing, impatience}, return_when=asyncio.FIRST_COMPLETED)
    if not closing.done():
        _log.warning("stopping at once: requests in flight are cut off")
        hurry()
    impatience.cancel()
    await closing


class Service:
    """What goes on between the start and the end: reloads, and signs of life.

    :param reload: takes a new configuration up, or raises :class:`~gateway.errors.ConfigError` and has changed nothing.
    :param failed: told that a configuration could not be read.
    """

    def __init__(
        self,
        read: Read,
        loaded: Loaded,
        signals: Signals,
        manager: ServiceManager,
        reload: Callable[[Loaded], Coroutine[Any, Any, None]],
        failed: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._read = read
        self._loaded = loaded
        self._signals = signals
        self._manager = manager
        self._reload = reload
        self._failed = failed
        self._files = FileWatch(loaded.files)

    async def run(self, told: str) -> None:
        """Return when it is time to stop; ``told`` is what the service manager shows meanwhile."""
        life = asyncio.create_task(self._show_life())
        reloads = asyncio.create_task(self._reload_when_due(told))
        try:
            await self._signals.stopped()
        finally:
            for task in (life, reloads):
                task.cancel()
            await asyncio.gather(life, reloads, return_exceptions=True)
        delay = self._loaded.config.listen.stop_delay
        if delay:
            _log.info("no longer ready; listening for %g s more", delay)
            await self._signals.hurried(delay)

    async def _show_life(self) -> None:
        every = self._manager.watchdog
        while every is not None:
            self._manager.alive()
            await asyncio.sleep(every)

    async def _reload_when_due(self, told: str) -> None:
        while True:
            settings = self._loaded.config.reload
            try:
                async with asyncio.timeout(settings.every if settings.watch else None):
                    await self._signals.reload.wait()
                self._files.take()
            except TimeoutError:
                if not self._files.changed():
                    continue
            self._signals.reload.clear()
            await self._read_again(told)

    async def _read_again(self, told: str) -> None:
        self._manager.reloading()
        try:
            loaded = self._read()
        except ConfigError as error:
            await self._failed()
            _log.error("the configuration is not used, the one before stays: %s", error)
        else:
            try:
                await self._reload(loaded)
            except ConfigError as error:
                _log.error("the configuration is not used, the one before stays: %s", error)
            except Exception:  # noqa: BLE001 - whatever is wrong with the new one, the old one works
                _log.exception("the configuration is not used, the one before stays")
            else:
                self._loaded = loaded
                self._files.follow(loaded.files)
                _log.info("the configuration was read again and is in use")
        self._manager.ready(told)
