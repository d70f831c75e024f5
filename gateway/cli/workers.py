"""Several processes behind one listener: a parent that starts them, leads them and speaks for them.

The rules this file obeys:

1. **A sign-out holds in every process.** Whatever ends a session in one of them is passed on to the others at once, and
   a process that is started later is told of all of it before it serves.
2. **No connection depends on one process.** Each has a listening socket of its own on the same address
   (``SO_REUSEPORT``), so that the kernel spreads connections evenly; the parent holds on to the sockets, so that what
   waits in one is served by the process that takes the place of the one before. While a place stays empty for longer,
   its socket is closed, and the kernel uses the others.
3. Each process is the command anew, and nothing is shared with it but these sockets: no state that a fork would copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

from gateway.adapters.systemd import ServiceManager, handed_over
from gateway.cli.link import (
    Ask,
    Begin,
    Ended,
    Link,
    Reload,
    Reloaded,
    Renewed,
    Revoked,
    State,
    Stop,
    Stopping,
    ToWorker,
    Up,
)
from gateway.cli.signals import Signals
from gateway.cli.worker import PLACE_VARIABLE, place
from gateway.errors import ConfigError
from gateway.observe.gathered import can_write, write
from gateway.observe.health import Readiness, admin_application, listen
from gateway.observe.life import worker_figures
from gateway.proxy.listener import adopt, bind
from gateway.proxy.redirect import RedirectServer

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.config.load import Loaded

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds before a worker is started again that keeps ending soon; doubling from the first to the second figure."""
LASTED: Final = 30.0
"""Seconds after which a worker's end is an accident and no pattern: it is started again at once, as after the first
end of all."""
PATIENCE: Final = 2.0
"""Seconds that a worker may take to say how it is."""
LOOK_EVERY: Final = 5.0
"""Seconds between two questions to each process whether it still answers."""
MOST_MISSED: Final = 5
"""Questions in a row without an answer in time, after which a process is taken for hung: about half a minute."""
RELOAD_TIME: Final = 60.0
"""Seconds that a worker may take to go over to another configuration: it may have to fetch keys."""
EXTRA_GRACE: Final = 5.0
"""Seconds beyond ``listen.grace`` after which a worker that has not ended is killed."""
MAX_ENDED: Final = 100_000
"""Sessions that new workers are told of: as many as one remembers."""
_CONFIG_FAULT: Final = 2
"""Exit status of a process whose configuration cannot be carried out."""

_log = logging.getLogger("gateway")


class Worker:
    """One place, and the process that has it now. ``sockets`` are what it listens on."""

    def __init__(self, number: int, sockets: list[socket.socket]) -> None:
        self.number = number
        self.sockets = sockets
        self.link: Link | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.up = False
        self.restarts = 0
        self.answers: dict[int, asyncio.Future[State]] = {}
        self.reloaded: asyncio.Future[str] | None = None

    def tell(self, message: ToWorker) -> None:
        """Send, if somebody is there."""
        if self.link is not None:
            self.link.tell(message)


class Workers:
    """All places.

    :param words: the command line of each process, behind ``python -m gateway``.
    :param shared: sockets that all processes use, where somebody else opened them; else each gets its own.
    """

    def __init__(self, loaded: Loaded, words: Sequence[str], shared: list[socket.socket]) -> None:
        self.loaded = loaded
        self._words = list(words)
        self._shared = shared
        self._ended: dict[tuple[str, str | None, str, int], Ended] = {}
        self._numbers = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.failed = asyncio.Event()
        """Set when a worker cannot serve at all, for a reason that it has told."""
        self.up = asyncio.Event()
        """Set when all of them serve for the first time."""
        host, port = loaded.config.listen.public.host, loaded.config.listen.public.port
        self.places: list[Worker] = []
        for number in range(loaded.config.listen.workers):
            sockets = shared or bind(host, port, shared=True)
            port = sockets[0].getsockname()[1]
            self.places.append(Worker(number, sockets))
        self.port = int(port)

    # ---- life ----

    def start(self) -> None:
        """Start every process."""
        self._tasks = [
            asyncio.create_task(self._keep(worker), name=f"worker {worker.number}") for worker in self.places
        ]

    def ending(self) -> bool:
        """Whether no process is to be started any more."""
        return self._stopping

    def stopping(self) -> None:
        """Be no longer ready."""
        self._stopping = True
        for worker in self.places:
            worker.tell(Stopping())

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let every process finish its requests, and end."""
        self._stopping = True
        # Theirs are the last ones then, and end when they have accepted whoever waits.
        for worker in self.places:
            _close(worker.sockets)
            worker.tell(Stop(now=False))
        ends = asyncio.gather(*self._tasks, return_exceptions=True)
        waiting = asyncio.ensure_future(hurry.wait())
        allowed = self.loaded.config.listen.grace + EXTRA_GRACE
        both: set[asyncio.Future[Any]] = {ends, waiting}
        await asyncio.wait(both, timeout=allowed, return_when=asyncio.FIRST_COMPLETED)
        if not ends.done():
            for worker in self.places:
                worker.tell(Stop(now=True))
            await asyncio.wait({ends}, timeout=EXTRA_GRACE)
        for worker in self.places:
            if worker.process is not None and worker.process.returncode is None:
                _log.error("worker %d did not end and is killed", worker.number)
                worker.process.kill()
        waiting.cancel()
        await ends

    async def _keep(self, worker: Worker) -> None:
        """Have a process in this place, as long as there are to be any."""
        pause, short_lives = 0.0, 0
        while not self.ending():
            if pause:
                if not self._shared:
                    _close(worker.sockets)
                await asyncio.sleep(pause)
                if self.ending():
                    return
            if not worker.sockets:
                try:
                    worker.sockets = bind(self.loaded.config.listen.public.host, self.port, shared=True)
                except ConfigError as error:
                    _log.error("worker %d: %s", worker.number, error)
                    pause = LONGEST_PAUSE
                    continue
            began = time.monotonic()
            served, status = await self._run(worker)
            if self.ending():
                return
            if status == _CONFIG_FAULT and not served and not self.up.is_set():
                self.failed.set()
                return
            short_lives = 0 if time.monotonic() - began >= LASTED else short_lives + 1
            pause = min(FIRST_PAUSE * 2 ** (short_lives - 2), LONGEST_PAUSE) if short_lives > 1 else 0.0
            worker.restarts += 1
            _log.error("worker %d ended with status %s; another is started in %g s", worker.number, status, pause)

    async def _run(self, worker: Worker) -> tuple[bool, int]:
        """One process from its start to its end: whether it ever served, and its exit status."""
        ours, theirs = socket.socketpair()
        descriptors = [one.fileno() for one in worker.sockets]
        environment = os.environ | {PLACE_VARIABLE: place(worker.number, theirs.fileno(), descriptors)}
        with theirs:
            process = worker.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gateway",
                *self._words,
                env=environment,
                pass_fds=(theirs.fileno(), *descriptors),
            )
        link = await Link.over(ours)
        link.tell(Begin(self._known()))
        worker.link = link
        if self._stopping:
            link.tell(Stop(now=False))
        served = False
        minding = asyncio.create_task(self._mind(worker, process))
        try:
            while (message := await link.hear_worker()) is not None:
                served = served or isinstance(message, Up)
                self._heard(worker, message)
        finally:
            minding.cancel()
            worker.up, worker.link = False, None
            for answer in (*worker.answers.values(), worker.reloaded):
                if answer is not None and not answer.done():
                    answer.cancel()
            worker.answers.clear()
            worker.reloaded = None
            await link.close()
        return served, await process.wait()

    async def _mind(self, worker: Worker, process: asyncio.subprocess.Process) -> None:
        """Kill a process that serves but answers nobody any more: another can take its place, and its socket."""
        missed = 0
        while missed < MOST_MISSED:
            await asyncio.sleep(LOOK_EVERY)
            _, state = await self._ask(worker, figures=False)
            missed = missed + 1 if worker.up and state is None else 0
        _log.error("worker %d does not answer and is killed", worker.number)
        process.kill()

    # ---- what they tell ----

    def _heard(self, worker: Worker, message: object) -> None:
        if isinstance(message, Ended | Revoked | Renewed):
            if isinstance(message, Ended):
                self._remember(message)
            for other in self.places:
                if other is not worker:
                    other.tell(message)
        elif isinstance(message, Up):
            worker.up = True
            if all(one.up for one in self.places):
                self.up.set()
        elif isinstance(message, State):
            answer = worker.answers.pop(message.number, None)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif isinstance(message, Reloaded) and worker.reloaded is not None and not worker.reloaded.done():
            worker.reloaded.set_result(message.error)

    def _remember(self, news: Ended) -> None:
        key = (news.project, news.tenant, news.uid, news.auth_time)
        before = self._ended.pop(key, None)
        self._ended[key] = news if before is None or news.until > before.until else before
        if len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    def _known(self) -> list[Ended]:
        now = time.time()
        self._ended = {key: news for key, news in self._ended.items() if news.until > now}
        return list(self._ended.values())

    # ---- what they are asked ----

    async def states(self, *, figures: bool) -> dict[int, State]:
        """How each process is, by its number; those that do not say so in time are missing."""
        asked = await asyncio.gather(*(self._ask(worker, figures=figures) for worker in self.places))
        return {number: state for number, state in asked if state is not None}

    async def _ask(self, worker: Worker, *, figures: bool) -> tuple[int, State | None]:
        if not worker.up:
            return worker.number, None
        self._numbers += 1
        number = self._numbers
        answer = worker.answers[number] = asyncio.get_running_loop().create_future()
        worker.tell(Ask(number, figures))
        done, _ = await asyncio.wait({answer}, timeout=PATIENCE)
        worker.answers.pop(number, None)
        return worker.number, answer.result() if done and not answer.cancelled() else None

    async def ready(self) -> Readiness:
        """Whether traffic should come here: every process that serves is ready, and there is one."""
        if self._stopping:
            return Readiness({"stopping": "the gateway is stopping"}, {})
        states = await self.states(figures=False)
        failing: dict[str, str] = {}
        degraded: dict[str, str] = {}
        for number, state in states.items():
            failing |= {f"{name} (worker {number})": fault for name, fault in state.failing.items()}
            degraded |= {f"{name} (worker {number})": fault for name, fault in state.degraded.items()}
        missing = len(self.places) - len(states)
        if missing:
            (degraded if states else failing)["workers"] = f"{missing} of {len(self.places)} do not serve"
        return Readiness(failing, degraded)

    async def reload(self, loaded: Loaded) -> None:
        """Have every process go over to the configuration that is there now.

        :raises ConfigError: not all of them could.
        """
        for number, answer in (await self._tell_all(Reload(readable=True))).items():
            told = "it did not answer" if not answer.done() or answer.cancelled() else answer.result()
            if told:
                raise ConfigError(f"worker {number}", told)
        self.loaded = loaded

    async def reload_failed(self) -> None:
        """The configuration cannot be read, which each process shows when this returns."""
        await self._tell_all(Reload(readable=False))

    async def _tell_all(self, message: Reload) -> dict[int, asyncio.Future[str]]:
        """What every process that serves answers, by its number, for as long as it may take."""
        # Each answer is waited for, the expected one too: a late one would be taken for the next reload's.
        waiting: dict[int, asyncio.Future[str]] = {}
        for worker in self.places:
            if worker.up:
                waiting[worker.number] = worker.reloaded = asyncio.get_running_loop().create_future()
                worker.tell(message)
        if waiting:
            await asyncio.wait(waiting.values(), timeout=RELOAD_TIME)
        return waiting

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics of all."""
        states = await self.states(figures=True)
        return write(
            accept, {str(number): state.families for number, state in states.items()}, worker_figures(self.places)
        )


async def serve_with_workers(
    read: Callable[[], Loaded],
    loaded: Loaded,
    words: Sequence[str],
    beside: AbstractAsyncContextManager[None],
) -> None:
    """Serve with several processes until SIGINT or SIGTERM.

    :param beside: what runs in the parent meanwhile.
    :raises ConfigError: the address cannot be listened on, or a process cannot carry the configuration out.
    """
    from gateway.cli.serve import Service

    manager, handed, signals = ServiceManager(os.environ), handed_over(os.environ), Signals()
    listening = loaded.config.listen
    async with beside, contextlib.AsyncExitStack() as stack:
        workers = Workers(loaded, words, adopt(handed.public, "LISTEN_FDS"))
        signals.on_stop = workers.stopping
        signals.listen()
        workers.start()
        stack.callback(manager.close)
        stack.push_async_callback(workers.stop, signals.hurry)
        if handed.admin is not None or not listening.admin.is_off:
            page = workers.page if can_write() else None
            admin: web.AppRunner = await listen(
                admin_application(workers.ready, page), listening.admin.host, listening.admin.port, handed.admin
            )
            stack.push_async_callback(admin.cleanup)
        if listening.redirect is not None:
            redirect = RedirectServer(workers.port)
            await redirect.start(listening.redirect.host, listening.redirect.port)
            stack.callback(redirect.close)
        if not await _all_up(workers, signals):
            return
        scheme = "https" if listening.tls is not None else "http"
        told = (
            f"serving {scheme}://{listening.public.rpartition(':')[0]}:{workers.port} with {listening.workers} workers"
        )
        _log.info("%s for project %s", told, loaded.config.firebase.project_id)
        manager.ready(told)
        await Service(read, loaded, signals, manager, workers.reload, workers.reload_failed).run(told)
        _log.info("stopping: no new connections, requests in flight may finish")
        manager.stopping()


async def _all_up(workers: Workers, signals: Signals) -> bool:
    """Wait until every process serves; False when it is time to stop before.

    :raises ConfigError: one of them cannot.
    """
    waits: set[asyncio.Task[Any]] = {
        asyncio.create_task(event.wait()) for event in (workers.up, workers.failed, signals.stop)
    }
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if workers.failed.is_set():
        raise ConfigError("listen.workers", "a worker cannot serve", "what it wrote above says why")
    return not signals.stop.is_set()


def _close(sockets: list[socket.socket]) -> None:
    while sockets:
        sockets.pop().close()
