"""One of several processes that serve: a gateway without an admin listener, which :mod:`gateway.cli.workers` leads.

It ends when its parent does, so that nobody serves who can no longer be told of a sign-out.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.cli.link import Ask, Begin, Ended, Link, Reload, Reloaded, Renewed, Revoked, State, Stop, Stopping, Up
from gateway.cli.signals import Signals
from gateway.errors import ConfigError
from gateway.wiring import Gateway

if TYPE_CHECKING:
    from gateway.config.load import Loaded

PLACE_VARIABLE: Final = "GATEWAY_WORKER"
"""Tells a process that it is a worker: ``number:link:public,public…``, the last ones descriptors that it inherits."""

_log = logging.getLogger("gateway")


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """What a worker inherits: its number, the link to its parent, and the listening sockets."""

    number: int
    link: socket.socket
    public: list[socket.socket]

    @classmethod
    def taken(cls, environment: MutableMapping[str, str]) -> WorkerPlace | None:
        """The place that this process has; None for one that nobody leads."""
        text = environment.pop(PLACE_VARIABLE, "")
        if not text:
            return None
        number, link, public = text.split(":")
        sockets = [socket.socket(fileno=int(descriptor)) for descriptor in public.split(",")]
        return cls(int(number), socket.socket(fileno=int(link)), sockets)


def place(number: int, link: int, public: list[int]) -> str:
    """The variable's value for a place."""
    return f"{number}:{link}:{','.join(map(str, public))}"


async def serve_as_worker(read: Callable[[], Loaded], loaded: Loaded, taken: WorkerPlace) -> None:
    """Serve until the parent says stop, or is gone, or SIGTERM comes.

    :raises ConfigError: the configuration cannot be carried out.
    """
    signals = Signals()
    signals.listen(interactive=False)
    link = await Link.over(taken.link)
    gateway = Gateway(loaded)
    signals.on_stop = gateway.stopping
    worker = _Worker(read, gateway, link, signals)
    listening: asyncio.Task[None] | None = None
    try:
        begin = await link.hear_parent()
        if not isinstance(begin, Begin):
            return
        for news in begin.ended:
            gateway.heard(news)
        gateway.on_news = link.tell
        await gateway.start(public=taken.public, alone=False)
        # What is here now stays, so the collector need not look at it again.
        gc.collect()
        gc.freeze()
        link.tell(Up())
        listening = asyncio.create_task(worker.listen())
        await signals.stopped()
        await worker.end_reloads()
        closing = asyncio.create_task(gateway.close())
        impatience = asyncio.create_task(signals.hurry.wait())
        await asyncio.wait({closing, impatience}, return_when=asyncio.FIRST_COMPLETED)
        gateway.hurry()
        impatience.cancel()
        await closing
    finally:
        if listening is not None:
            listening.cancel()
        await gateway.close(0)
        await link.close()


class _Worker:
    def __init__(self, read: Callable[[], Loaded], gateway: Gateway, link: Link, signals: Signals) -> None:
        self._read = read
        self._gateway = gateway
        self._link = link
        self._signals = signals
        self._one_by_one = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Do what the parent says."""
        while (message := await self._link.hear_parent()) is not None:
            if isinstance(message, Ended | Revoked | Renewed):
                self._gateway.heard(message)
            elif isinstance(message, Ask):
                self._tell_state(message)
            elif isinstance(message, Reload):
                # Beside the listening: a sign-out must not wait for keys to be fetched.
                task = asyncio.create_task(self._reload(message), name="reload")
                self._reloads.add(task)
                task.add_done_callback(self._reloads.discard)
            elif isinstance(message, Stopping):
                self._gateway.stopping()
            elif isinstance(message, Stop):
                self._end()
                if message.now:
                    self._signals.hurry.set()
        if not self._signals.stop.is_set():
            _log.error("the parent process is gone: stopping")
            self._end()

    async def end_reloads(self) -> None:
        """Stop what is being taken up."""
        for task in self._reloads:
            task.cancel()
        await asyncio.gather(*self._reloads, return_exceptions=True)

    def _end(self) -> None:
        # A service manager may have told everybody already, and a second time would mean "at once".
        if not self._signals.stop.is_set():
            self._signals.end()

    def _tell_state(self, asked: Ask) -> None:
        ready = self._gateway.ready()
        counted = self._gateway.counted() if asked.figures else []
        self._link.tell(State(asked.number, dict(ready.failing), dict(ready.degraded), counted))

    async def _reload(self, message: Reload) -> None:
        async with self._one_by_one:
            self._link.tell(Reloaded(await self._fault_of_reload(message)))

    async def _fault_of_reload(self, message: Reload) -> str:
        if not message.readable:
            await self._gateway.reload_failed()
            return "not readable"
        try:
            await self._gateway.reload(self._read())
        except ConfigError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new one, the old one works
            _log.exception("the configuration is not used, the one before stays")
            return type(error).__name__
        return ""
