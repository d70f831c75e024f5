"""The fast path: a request whose decision can be given again is passed on within ``data_received``.

The pieces are elsewhere: :mod:`gateway.proxy.plain` reads the head, :mod:`gateway.proxy.replay` finds the decision,
:mod:`gateway.proxy.direct` moves the bytes. This file puts them together and keeps account: every replay is recorded in
the audit, and counts as a request in flight while it lasts.

The fast path leans on a few private names of aiohttp's server protocol. :func:`aiohttp_fits` tries them out at the
start; where they mean something else, everything goes the ordinary way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from gateway.core.context import Headers
from gateway.core.ports import AuditSink, DecisionEvent
from gateway.errors import UpstreamError
from gateway.http.negotiate import form_of_refusal
from gateway.http.reply import Replies
from gateway.proxy.direct import Client, DirectExchange, Watch
from gateway.proxy.own import own_bytes
from gateway.proxy.plain import read_plain
from gateway.proxy.replay import Peer, ReplayTable

if TYPE_CHECKING:
    from gateway.proxy.plain import PlainRequest

_log = logging.getLogger(__name__)

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
"""Ids that a trusted peer may hand in."""
_REQUEST_ID_NAME: Final = len(b"X-Request-Id: ")
_ID_BYTES: Final = 16
_MICROS: Final = 1_000_000


def new_request_id() -> str:
    """A request id that nobody can guess or repeat: 128 random bits in hexadecimal."""
    return os.urandom(_ID_BYTES).hex()


class Passage:
    """One request on the fast path: the exchange, and what it takes to answer without it."""

    __slots__ = ("exchange", "original", "request_id", "route")

    def __init__(self, exchange: DirectExchange, original: bytes, request_id: str, route: str) -> None:
        self.exchange = exchange
        self.route = route
        self.original = original
        self.request_id = request_id


class FastPath:
    """Replays decisions for the connections of one server.

    :param enter: called when a request begins, ``leave`` when it has ended.
    :param answered: told the route's name and the status of each answer.
    :param now: wall-clock seconds since the epoch.
    """

    def __init__(
        self,
        table: ReplayTable,
        watch: Watch,
        audit: AuditSink,
        replies: Replies,
        *,
        enter: Callable[[], None],
        leave: Callable[[], bool],
        answered: Callable[[str, int], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.table = table
        self.enter = enter
        self.leave = leave
        self.answered = answered
        self.replayed = 0
        """Requests that were passed on here."""
        self._watch = watch
        self._audit = audit
        self._replies = replies
        self._now = now

    def begin(self, client: Client, peer: Peer, data: bytes) -> Passage | None:
        """Pass on the request that ``data`` is, when its decision can be given again. None: nothing has happened."""
        started = time.perf_counter()
        table = self.table
        plain = read_plain(data)
        if plain is None or not table.usable:
            return None
        now = self._now()
        found = table.find(plain, peer, now)
        if found is None:
            return None
        connection = found.way.upstream.take_idle(repeatable=True)
        if connection is None:
            return None
        request_id = _given_id(plain) if peer.trusted and plain.request_id is not None else new_request_id()
        raw_id = request_id.encode("ascii")
        decision = found.grant.decision
        exchange = DirectExchange(
            client,
            found.way.upstream,
            connection,
            self._watch,
            decision=decision,
            route=found.way.route,
            request_id=raw_id,
            head_only=found.asked.method == "HEAD",
        )
        try:
            exchange.start(found.head(peer, table, raw_id))
        except ConnectionResetError:
            return None
        self.replayed += 1
        self.enter()
        client_text = found.caller.client or peer.text
        micros = int((time.perf_counter() - started) * _MICROS)
        path = found.asked.target.path
        self._audit.record(
            DecisionEvent(now, request_id, found.asked.method, found.host, path, client_text, decision, micros)
        )
        return Passage(exchange, data, request_id, found.way.route.name)

    def failure(self, passage: Passage, error: UpstreamError) -> bytes:
        """The answer to a request that the backend could not be brought to answer."""
        _log.error("%s: %s (request %s)", error.reason.id, error, passage.request_id)
        lines = passage.original.split(b"\r\n")[1:-2]
        pairs = (line.partition(b": ") for line in lines)
        passage.exchange.status = error.reason.status
        form = form_of_refusal(Headers(tuple((name, value) for name, _, value in pairs)))
        reply = self._replies.failure(error.reason, passage.request_id, form)
        return own_bytes(reply, keep_alive=not reply.close, old=False, head_only=passage.original.startswith(b"HEAD "))


def _given_id(plain: PlainRequest) -> str:
    assert plain.request_id is not None
    given = plain.request_id[_REQUEST_ID_NAME:-1].decode("ascii")
    return given if REQUEST_ID.fullmatch(given) is not None else new_request_id()


# ---- whether this aiohttp is the one that the fast path knows ----


class _Wire(asyncio.Transport):
    """A socket for the trial: takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


_TURNS: Final = 10
"""Turns of the loop that aiohttp gets to start, answer and rest again; it needs two or three."""


async def aiohttp_fits(make: Callable[[web.Server], Any]) -> str:
    """Try aiohttp's private names out on one request. Empty when all is as the fast path expects, else what is not.

    :param make: makes a :class:`gateway.proxy.protocol.ClientProtocol` for a server.
    """
    found: list[bool] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        found.append(request.protocol.resting)  # type: ignore[attr-defined]
        return web.Response(text="ok")

    try:
        protocol = make(web.Server(handler, access_log=None))
    except (TypeError, AttributeError) as error:
        return f"its server protocol cannot be made: {error}"
    wire = _Wire()
    try:
        protocol.connection_made(wire)
        await _turns(lambda: protocol.resting)
        before = protocol.resting
        protocol._next_keepalive_close_time = 0.0  # noqa: SLF001 - this is the trial of just that
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: trial\r\n\r\n")
        await _turns(lambda: bool(found) and protocol.resting)
        if (before, found, protocol.resting) != (True, [False], True) or not wire.written.startswith(b"HTTP/1.1 200"):
            return "it does not rest between two requests as expected"
        if protocol._next_keepalive_close_time < asyncio.get_running_loop().time():  # noqa: SLF001
            return "it keeps idle connections in another way"
    except (TypeError, AttributeError) as error:
        return f"a name is missing: {error}"
    finally:
        await asyncio.sleep(0)  # so that its task has begun before it ends
        protocol.connection_lost(None)
        await asyncio.sleep(0)
    return ""


async def _turns(condition: Callable[[], bool]) -> None:
    for _ in range(_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
