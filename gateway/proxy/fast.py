"""The fast path: a plain request is passed on within ``data_received``, as far as nothing has to be waited for.

The pieces are elsewhere: :mod:`gateway.proxy.plain` reads the head, :mod:`gateway.proxy.replay` finds an earlier
decision that still holds, or else the guard makes one on the spot, and :mod:`gateway.proxy.direct` moves the bytes.
This file puts them together and keeps account: every request is recorded in the audit, and counts as one in flight
while it lasts. It decides nothing. What may not pass, and what needs more than passing on, is handed to the ordinary
way together with the guard's decision.

The fast path leans on a few private names of aiohttp's server protocol. :func:`aiohttp_fits` tries them out at the
start; where they mean something else, everything goes the ordinary way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from aiohttp import web

from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Decision
from gateway.core.ports import AuditSink, DecisionEvent
from gateway.errors import UpstreamError
from gateway.guard import SessionGuard
from gateway.http.cookies import spent_cookie
from gateway.http.enforce import REQUEST_ID, new_request_id
from gateway.http.negotiate import form_of_refusal
from gateway.http.reply import Replies, Reply
from gateway.proxy.direct import Client, DirectExchange, Watch
from gateway.proxy.known_heads import cut
from gateway.proxy.own import own_bytes
from gateway.proxy.plain import read_plain, well_formed
from gateway.proxy.replay import ReplayTable
from gateway.proxy.understood import Found, Grant, Peer

if TYPE_CHECKING:
    from gateway.proxy.fast_questions import FastQuestions
    from gateway.proxy.plain import PlainRequest
    from gateway.reasons import Reason

_log = logging.getLogger(__name__)

_REQUEST_ID_NAME: Final = len(b"X-Request-Id: ")
_MICROS: Final = 1_000_000


def _nobody(_: Decision) -> None:
    """Nobody wants to know."""


class Handed(NamedTuple):
    """What the fast path knows of a request that the ordinary way is to answer.

    ``request_id`` is the one that it was recorded under already. ``decision`` is that of ``guard``, made since
    ``started`` (seconds of :func:`time.perf_counter`). ``entered``: it counts as a request in flight.
    """

    request_id: str | None = None
    decision: Decision | None = None
    guard: SessionGuard | None = None
    started: float = 0.0
    entered: bool = False


NOTHING_KNOWN: Final = Handed()
ANSWERED: Final = Handed()
"""Nothing is left to be done about a request."""


class FastClient(Client, Protocol):
    """A client's connection, which may have to wait for a judgement."""

    def judged(self, outcome: DirectExchange | Handed) -> None:
        """The judgement is there: the request is under way, or is to go the ordinary way."""


class Judging:
    """A request whose judgement waits for something. Whatever comes from the client meanwhile waits behind it."""

    __slots__ = ("_fast", "_gone", "_task", "_understood", "original")

    receiving: Final = False

    def __init__(self, fast: FastPath, understood: _Understood) -> None:
        self.original = understood.data
        self._fast = fast
        self._understood = understood
        self._gone = False
        self._task = asyncio.ensure_future(understood.table.guard.judge(understood.context))
        self._task.add_done_callback(self._judged)

    def client_gone(self) -> None:
        """The client's connection ended: nobody wants to know any more."""
        self._gone = True
        self._task.cancel()

    def client_data(self, data: bytes) -> bytes:
        """Nothing of the request is taken yet."""
        return data

    def client_slow(self, *, slow: bool) -> None:
        """Nothing is being written yet."""

    def _judged(self, task: asyncio.Task[Decision]) -> None:
        understood = self._understood
        if self._gone:
            return
        if task.cancelled() or task.exception() is not None or self._fast.table is not understood.table:
            # The ordinary way meets the same fault and answers for it; and another configuration judges for itself.
            outcome: DirectExchange | Handed = Handed()
        else:
            outcome = self._fast.decided(understood, task.result())
        understood.client.judged(outcome._replace(entered=True) if isinstance(outcome, Handed) else outcome)


class _Understood(NamedTuple):
    """A request that has to be judged. ``until``: when its cookies are to be looked after, in wall-clock seconds."""

    client: FastClient
    peer: Peer
    found: Found
    table: ReplayTable
    context: RequestContext
    data: bytes
    until: float
    started: float


class FastPath:
    """Passes plain requests on for the connections of one server.

    :param answered: told the route's name and the status of each answer.
    :param saw: told each decision that the guard made for a request that is passed on here.
    :param most: bytes that a body may have; 0 for any.
    :param now: wall-clock seconds since the epoch.
    """

    def __init__(
        self,
        table: ReplayTable,
        watch: Watch,
        audit: AuditSink,
        replies: Replies,
        *,
        answered: Callable[[str, int], None],
        saw: Callable[[Decision], None] = _nobody,
        most: int = 0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.table = table
        self.active = 0
        """Requests under way here."""
        self.answered = answered
        self.replayed = 0
        """Requests that were passed on here by an earlier decision."""
        self.judged = 0
        """Requests that were passed on here by a decision of their own."""
        self._saw = saw
        self._most = most
        self._watch = watch
        self._audit = audit
        self.replies = replies
        self._now = now
        self.questions: FastQuestions | None = None
        """Answers proxies that only ask; None where nobody may."""

    def begin(self, client: FastClient, peer: Peer, data: bytes) -> DirectExchange | Judging | Handed | None:
        """Pass on the request that ``data`` begins with, where it is a plain one. None: nothing has happened."""
        started = time.perf_counter()
        table = self.table
        if self.questions is not None and self.questions.again(client, peer, data, started) is not None:
            return ANSWERED
        pieces = cut(data)
        if pieces is not None:
            found = table.know(pieces, peer)
            if found is not None:
                return self._go_on(client, peer, found, data, started)
        plain = read_plain(data)
        if plain is None:
            return None
        found = table.find(plain, peer)
        if found is None:
            # It is one of the gateway's own addresses, or something unusual about it.
            return None if self.questions is None else self.questions.begin(client, peer, plain, data, started)
        if self._most and plain.length is not None and plain.length > self._most:
            return None
        if pieces is not None:
            table.remember(pieces, found)
        return self._go_on(client, peer, found, data, started)

    def _go_on(
        self, client: FastClient, peer: Peer, found: Found, data: bytes, started: float
    ) -> DirectExchange | Judging | Handed | None:
        """Pass it on by an earlier decision, if there is one that holds; else have the guard judge."""
        now, table = self._now(), self.table
        grant = table.recall(found, peer, now)
        if grant is not None:
            exchange = self._pass_on(client, peer, found, grant, data, started, now)
            if exchange is not None:
                self.replayed += 1
                self.active += 1
            return exchange
        if found.authorization is not None and not well_formed(found.authorization):
            return None
        context = found.context(peer)
        until = table.rests_until(context)
        if until <= now:
            return None
        try:
            decision = table.guard.judge_at_once(context)
        except Exception:  # noqa: BLE001 - the ordinary way meets the same fault and answers for it
            return None
        understood = _Understood(client, peer, found, table, context, data, until, started)
        if decision is None:
            self.active += 1
            return Judging(self, understood)
        outcome = self.decided(understood, decision)
        if isinstance(outcome, DirectExchange):
            self.active += 1
        return outcome

    def decided(self, understood: _Understood, decision: Decision) -> DirectExchange | Handed:
        """What becomes of a request that the guard has just judged."""
        found, table = understood.found, understood.table
        if isinstance(decision, Allow) and not spent_cookie(decision):
            grant = table.learn(found, decision, understood.until, self._now())
            exchange = self._pass_on(
                understood.client,
                understood.peer,
                found,
                grant,
                understood.data,
                understood.started,
                self._now(),
            )
            if exchange is not None:
                self.judged += 1
                self._saw(decision)
                return exchange
        return Handed(None, decision, table.guard, understood.started)

    def _pass_on(
        self,
        client: FastClient,
        peer: Peer,
        found: Found,
        grant: Grant,
        data: bytes,
        started: float,
        now: float,
    ) -> DirectExchange | None:
        """Send it to the backend; None when no connection is at hand."""
        plain, way, decision = found.plain, found.way, grant.decision
        repeatable = found.repeatable
        connection = way.upstream.take_idle(repeatable=repeatable)
        if connection is None:
            return None
        request_id = _given_id(plain) if peer.trusted and plain.request_id is not None else new_request_id()
        exchange = DirectExchange(
            client,
            way.upstream,
            connection,
            self._watch,
            data,
            decision,
            way.route,
            request_id,
            head_only=found.asked.method == "HEAD",
            repeatable=repeatable,
        )
        forwarding = found.caller.forwarding.get(plain.host) or self.table.forwarding(peer, found)
        head = found.head(grant, request_id.encode("ascii"), forwarding, connection.host)
        try:
            exchange.start(head, plain.body, plain.length - len(plain.body) if plain.length else 0)
        except ConnectionResetError:
            return None
        micros = int((time.perf_counter() - started) * _MICROS)
        client_text = found.caller.client or peer.text
        asked = found.asked
        self._audit.record(
            DecisionEvent(now, request_id, asked.method, found.host, asked.target.path, client_text, decision, micros)
        )
        return exchange

    def stop(self) -> None:
        """Pass nothing on any more: what comes goes the ordinary way. Exchanges that have begun end as they would."""
        self.begin = _never  # type: ignore[method-assign,assignment]  # because asking each time would cost every request

    def failure(self, exchange: DirectExchange, error: UpstreamError, *, close: bool) -> bytes:
        """The answer to a request that the backend could not be brought to answer.

        :param close: the client's connection ends with it.
        """
        _log.error("%s: %s (request %s)", error.reason.id, error, exchange.request_id)
        head = exchange.original.partition(b"\r\n\r\n")[0]
        pairs = (line.partition(b": ") for line in head.split(b"\r\n")[1:])
        form = form_of_refusal(Headers(tuple((name, value) for name, _, value in pairs)))
        return _own(exchange, self.replies.failure(error.reason, exchange.request_id, form), close=close)

    def refusal(self, exchange: DirectExchange, reason: Reason) -> bytes:
        """The answer to a request whose body cannot be passed on; the client's connection ends with it."""
        return _own(exchange, self.replies.failure(reason, exchange.request_id), close=True)


def _own(exchange: DirectExchange, reply: Reply, *, close: bool) -> bytes:
    exchange.status = reply.status
    head_only = exchange.original.startswith(b"HEAD ")
    return own_bytes(reply, keep_alive=not (reply.close or close), old=False, head_only=head_only)


def _never(*_: object) -> None:
    """Nothing has happened."""


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

    def get_write_buffer_size(self) -> int:
        return 0

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
