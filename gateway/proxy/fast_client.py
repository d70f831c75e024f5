"""A client's connection as the fast path sees it: which bytes it may read, and what becomes of those in between.

The rules this file obeys (``threats.md`` rows 22, 23 and 36):

* Between two requests, and only then, a plain one is passed on at once (:mod:`gateway.proxy.fast`); the parser never
  sees it. Everything else the parser sees as it came.
* Bytes belong to the request under way as far as its body goes. What comes behind it waits for the answer, and where
  the answer came first, what is left of the body is read and thrown away, but not for ever.
* A request that the fast path gives back goes the ordinary way with what is known of it: under the id that it was
  recorded with, or by the decision that the guard made.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage

from gateway.proxy.boundary import Boundary
from gateway.proxy.bounded import BoundedHandler, Bounds
from gateway.proxy.direct import DirectExchange
from gateway.proxy.fast import ANSWERED, NOTHING_KNOWN, FastPath, Handed, Judging
from gateway.proxy.plain import may_become_plain, read_plain
from gateway.proxy.trailers import TrailerWatch
from gateway.proxy.understood import Peer, context_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.context import RequestContext
    from gateway.errors import UpstreamError
    from gateway.proxy.replay import ReplayTable
    from gateway.reasons import Reason

LINGER: Final = 5.0
"""Seconds that the rest of a refused body is read and thrown away, so that the refusal arrives (nginx:
lingering_timeout)."""
TURNS: Final = 4
"""Turns of the loop that a request waits for aiohttp, which needs one to three between an answer and the next one."""
MAX_WAITING: Final = 65_536
"""Bytes that wait behind a request before the client's socket is left alone."""


class FastHandler(BoundedHandler):
    """aiohttp's protocol of one connection, bounded, with the fast path in front.

    Implements :class:`gateway.proxy.fast.FastClient`.
    """

    __slots__ = (
        "_again_due",
        "_boundary",
        "_fast",
        "_handed",
        "_last",
        "_linger",
        "_passage",
        "_peer",
        "_table",
        "_turns",
        "_unread",
        "_uploading",
        "_waiting",
        "parting",
        "trailers",
    )

    def __init__(self, manager: web.Server, *, bounds: Bounds, fast: FastPath | None, **options: Any) -> None:
        super().__init__(manager, bounds=bounds, **options)
        self.parting = False
        """Whether the next answer is this connection's last."""
        self.trailers = TrailerWatch()
        self._fast = fast
        self._boundary = Boundary()
        self._waiting = b""
        """Bytes that came behind a request, or a head of which more must come."""
        self._again_due = False
        """Whether what waits is about to be looked at."""
        self._passage: DirectExchange | Judging | None = None
        self._handed = NOTHING_KNOWN
        """Of the request that the parser reads next."""
        self._unread = 0
        """Bytes of an answered request's body that are still to come."""
        self._linger: asyncio.TimerHandle | None = None
        self._turns = 0
        """Turns of the loop that a request has waited for aiohttp."""
        self._uploading = False
        """Whether the body that comes is watched over."""
        self._last = False
        """Whether the client was told that the answer is the last."""
        self._table: ReplayTable | None = None
        self._peer = Peer("", "http", trusted=False)

    # ---- the connection ----

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop whatever goes on for this client."""
        passage = self._passage
        if passage is not None and self._fast is not None:
            self._passage = None
            passage.client_gone()
            self._fast.active -= 1
        self._stop_linger()
        self.take_handed()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass a plain request on, or parse."""
        fast = self._fast
        if fast is not None and data:
            passage = self._passage
            if passage is not None and passage.receiving:
                data = passage.client_data(data)
            elif self._unread:
                data = self._throw_away(data)
            if not data:
                return
            if self._waiting:
                data = self._waiting + data
                self._waiting = b""
            if self._passage is not None:
                self._wait(data)
                return
            resting = self._boundary.clear and self.resting
            if not resting and self._boundary.clear and not self._last and self._waits_for_aiohttp(data):
                return
            self._turns = 0
            if resting:
                if self._begin(fast, data):
                    return
                if may_become_plain(data):
                    if self._deadline is None:
                        self._start_deadline()
                    self._waiting = data
                    return
        self._parse(data)

    def _waits_for_aiohttp(self, data: bytes) -> bool:
        """Keep a request that came before aiohttp was ready for it, so that it can go on fast."""
        if self._again_due or self._handling is not None:
            # Whoever is answered by aiohttp must not stay with it for being quicker than it is.
            self._wait(data)
            return True
        if self.idle and self._turns < TURNS:
            # It has answered and is on its way to the next request, which takes a moment.
            self._turns += 1
            self._waiting = data
            self._look_again()
            return True
        return False

    def end(self) -> None:
        """The request was answered, by the ordinary way."""
        super().end()
        if self._waiting:
            self._look_again()

    def _look_again(self) -> None:
        if not self._again_due:
            self._again_due = True
            self._loop.call_soon(self._again)

    def _again(self) -> None:
        """Look once more at a request that came before aiohttp was ready for it."""
        self._again_due = False
        data, self._waiting = self._waiting, b""
        if data and self.transport is not None:
            if len(data) > MAX_WAITING:
                self._resume_transport_reading()
            self.data_received(data)

    def _parse(self, data: bytes) -> None:
        """Let aiohttp read, and watch over what it does not tell."""
        if self._deadline is None and self._handling is None and data:
            self._start_deadline()
        self._boundary.fed(data)
        self.trailers.fed(data, resting=self._handling is None)
        super().data_received(data)
        handling = self._handling
        if handling is not None and self._refused_by_parser() and not handling.content.is_eof():
            handling.content.set_exception(ConnectionResetError("the rest of the request's body is malformed"))

    def _head_begun(self) -> bool:
        return bool(self._waiting) or super()._head_begun()

    def _refused_by_parser(self) -> bool:
        # The queue is aiohttp's own; should it be gone one day, the body's idle deadline still ends the wait.
        queue: Sequence[Any] = getattr(self, "_messages", ())
        return bool(queue) and not isinstance(queue[-1][0], RawRequestMessage)

    @property
    def idle(self) -> bool:
        """Whether no request is under way, as far as its head has come."""
        return (
            self._passage is None
            and self._handling is None
            and self._current_request is None
            and not self._messages
            and not self._unread
            and not self._again_due
        )

    @property
    def resting(self) -> bool:
        """Whether aiohttp waits for the next request, has none queued, and what it wrote has left."""
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and not self._messages
            and not self._message_tail
            and not self._upgraded
            and self._payload_parser is None
            and not self._paused
            and not self._reading_paused
            and not self._close
            and not self._force_close
            and self._keepalive
            and self.transport is not None
        )

    def take_handed(self) -> Handed:
        """What the fast path knows of the request that is read now, once: from now on somebody else counts it."""
        handed = self._handed
        if handed is not NOTHING_KNOWN:
            self._handed = NOTHING_KNOWN
            if handed.entered and self._fast is not None:
                self._fast.active -= 1
        return handed

    # ---- a request begins ----

    def _begin(self, fast: FastPath, data: bytes) -> bool:
        table = fast.table
        if self._table is not table:
            # A connection remembers nothing across a change of configuration.
            self._table, self._peer = table, table.peer(*self._whereabouts())
        outcome = fast.begin(self, self._peer, data)
        if outcome is None:
            return False
        if isinstance(outcome, Handed):
            if outcome is ANSWERED:
                if self._deadline is not None:
                    self._stop_deadline()
                self.still_here()
                return True
            self._handed = outcome
            return False
        self._passage = outcome
        if self._deadline is not None:
            self._stop_deadline()
        if outcome.receiving:
            self._watch_upload()
        return True

    def _whereabouts(self) -> tuple[str, str]:
        transport = self.transport
        assert transport is not None
        scheme = "https" if transport.get_extra_info("sslcontext") is not None else "http"
        if self.announced_peer is not None:
            return self.announced_peer, scheme
        peer = transport.get_extra_info("peername")
        return (str(peer[0]) if isinstance(peer, tuple) and peer else ""), scheme

    def judged(self, outcome: DirectExchange | Handed) -> None:
        """The judgement is there: the request is under way, or is to go the ordinary way."""
        judging = self._passage
        assert isinstance(judging, Judging)
        if isinstance(outcome, Handed):
            self._hand_over(judging.original, outcome)
            return
        self._passage = outcome
        if outcome.receiving:
            self._watch_upload()
            waiting, self._waiting = self._waiting, b""
            if waiting:
                self._resume_transport_reading()
                self.data_received(waiting)

    def _wait(self, data: bytes) -> None:
        self._waiting = data
        if len(data) > MAX_WAITING and self.transport is not None:
            self._pause_transport_reading()

    # ---- a request under way ----

    def answer(self, data: bytes | memoryview) -> None:
        """Write to the client."""
        if self.transport is not None:
            self.transport.write(data)

    def last_answer(self) -> bool:
        """Whether the answer that begins is to say that it is the last."""
        self._last = self.parting
        return self._last

    def answered(self) -> None:
        """The answer is complete; the next request may come."""
        passage = self._passage
        owed = 0
        if isinstance(passage, DirectExchange) and self._fast is not None:
            owed = passage.owed
            self._fast.answered(passage.route.name, passage.status)
        self._leave()
        self.still_here()
        if owed and self._last:
            self.part()
        elif owed and self.transport is not None:
            self._unread = owed
            self._linger = asyncio.get_running_loop().call_later(LINGER, self._lingered)
        elif self._last:
            self.force_close()
        waiting = self._waiting
        if waiting:
            self._waiting = b""
            self._resume_transport_reading()
            self.data_received(waiting)

    def broken_off(self) -> None:
        """The answer is incomplete, and the client must see that."""
        self._leave()
        if self.transport is not None:
            self.transport.abort()

    def given_back(self) -> None:
        """Nothing was written: the request goes the ordinary way, under the id that it was recorded with."""
        passage = self._passage
        assert isinstance(passage, DirectExchange)
        # It stays in flight: a server that closes must not see a moment without requests and cut this one off.
        self._hand_over(passage.original, Handed(passage.request_id, entered=True))

    def _hand_over(self, original: bytes, handed: Handed) -> None:
        self._passage = None
        self._handed = handed
        waiting, self._waiting = self._waiting, b""
        if waiting:
            self._resume_transport_reading()
        self._parse(original + waiting)

    def failed(self, error: UpstreamError) -> None:
        """Nothing was written: tell the client why."""
        passage = self._passage
        assert isinstance(passage, DirectExchange)
        assert self._fast is not None
        # Behind a body that nobody reads to its end the connection ends.
        self._last = self.parting or passage.owed > 0
        self.answer(self._fast.failure(passage, error, close=self._last))
        self.answered()

    def body_stopped(self, reason: Reason) -> None:
        """Nothing was written, and the request's body does not come: tell the client so."""
        passage = self._passage
        assert isinstance(passage, DirectExchange)
        assert self._fast is not None
        self._last = True
        self.answer(self._fast.refusal(passage, reason))
        self.answered()

    def hold(self, *, held: bool) -> None:
        """The backend takes no more of the body for now, or takes more again."""
        if self.transport is None:
            return
        if held:
            self._pause_transport_reading()
        elif len(self._waiting) <= MAX_WAITING:
            self._resume_transport_reading()

    def asked(self) -> RequestContext:
        """The request under way, for whoever judges it again."""
        passage = self._passage
        assert isinstance(passage, DirectExchange)
        plain = read_plain(passage.original)
        assert plain is not None
        return context_of(plain, self._peer)

    def _process_keepalive(self) -> None:
        # aiohttp asks whether the connection was idle for too long, and sees nothing of what goes on here.
        if self._passage is not None or self._unread:
            self.still_here()
        super()._process_keepalive()

    def still_here(self) -> None:
        """Begin the time anew that the connection may be idle."""
        self._next_keepalive_close_time = monotonic() + self._keepalive_timeout

    def _leave(self) -> None:
        self._passage = None
        if self._uploading:
            self._uploading = False
            self._bounds.uploads.forget(self)
        assert self._fast is not None
        self._fast.active -= 1

    def pause_writing(self) -> None:
        """The client takes no more for now."""
        super().pause_writing()
        if self._passage is not None:
            self._passage.client_slow(slow=True)

    def resume_writing(self) -> None:
        """The client takes more again."""
        super().resume_writing()
        if self._passage is not None:
            self._passage.client_slow(slow=False)

    # ---- bodies ----

    def _watch_upload(self) -> None:
        self._uploading = True
        self._bounds.uploads.watch(self, self._uploaded, self._body_too_slow)

    def _uploaded(self) -> int | None:
        """Bytes of the body that have come; None while it is not the client who is waited for."""
        passage = self._passage
        if isinstance(passage, DirectExchange):
            return passage.received if passage.owed and not passage.held else None
        return super()._uploaded()

    def _refuse_body(self, reason: Reason, detail: str) -> None:
        passage = self._passage
        if isinstance(passage, DirectExchange):
            self._drop(reason)
            passage.body_broke_off(reason)
        else:
            super()._refuse_body(reason, detail)

    def _throw_away(self, data: bytes) -> bytes:
        """Take what is left of a body that nobody reads; give back what is behind it."""
        rest = data[self._unread :]
        self._unread = max(self._unread - len(data), 0)
        if not self._unread:
            self._stop_linger()
            self.still_here()
            if self._last:
                self.force_close()
        return rest

    def _lingered(self) -> None:
        self._linger = None
        self.force_close()

    def _stop_linger(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
