"""One client connection within its bounds: aiohttp's server protocol, and what keeps a client from taking more.

The rules this file obeys (``threats.md`` rows 36 and 37):

* A connection gets in or is turned away before it has a parser's memory or a task (:mod:`gateway.proxy.admission`).
* A request's head has to be there within ``limits.head`` seconds *in total*, from the connection's start or from its
  first byte on a kept connection. aiohttp has no such deadline, so a thousand slow clients could hold a thousand
  connections for ever.
* A body that is read and an answer that is written have to move (:mod:`gateway.proxy.pace`), the last bytes of a
  connection that ends included: closing a socket waits for them without end.
* A body that becomes larger than it may ends its request while it arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import hdrs, web

from gateway import reasons
from gateway.errors import RequestError
from gateway.proxy.admission import Admission, OnDropped
from gateway.proxy.limits import Limits, MeasuredParser
from gateway.proxy.pace import Floor, Outflow, reset
from gateway.reasons import Reason


class Bounds:
    """The bounds of all connections of one server. The parameters are those of :class:`Admission`."""

    def __init__(
        self,
        limits: Limits,
        *,
        exempt: Callable[[str], bool],
        on_dropped: OnDropped,
        answer: Callable[[Reason, str], bytes],
    ) -> None:
        self.limits = limits
        self.admission = Admission(limits, exempt=exempt, on_dropped=on_dropped, answer=answer)
        self.uploads = Floor(limits.min_rate, limits.upload_window)
        self.downloads = Floor(limits.min_rate, limits.download_window)
        self.on_dropped = on_dropped

    def close(self) -> None:
        """Stop watching, and end what is being turned away."""
        self.admission.close()
        self.uploads.close()
        self.downloads.close()


class BoundedHandler(web.RequestHandler):
    """aiohttp's protocol of one connection, bounded."""

    __slots__ = ("_admitted_as", "_bounds", "_deadline", "_handling", "_measured", "_wire", "announced_peer")

    def __init__(self, manager: web.Server, *, bounds: Bounds, **options: Any) -> None:
        super().__init__(manager, **options)
        self.announced_peer: str | None = None
        self._bounds = bounds
        self._measured = MeasuredParser(self._parser)
        self._parser = self._measured  # type: ignore[assignment]  # because it is one to all who call it
        self._deadline: asyncio.TimerHandle | None = None
        self._handling: web.BaseRequest | None = None
        self._wire: asyncio.Transport | None = None
        """The socket's transport, which aiohttp forgets when it begins to close it. None: no connection."""
        self._admitted_as = ""

    # ---- the connection ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Get in and start the clock for the first head, or be turned away: then ``_wire`` stays None."""
        peer = transport.get_extra_info("peername")
        text = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        refusal = self._bounds.admission.enter(text)
        if refusal is not None:
            self._bounds.admission.turn_away(transport, refusal, text)
            return
        transport = cast("asyncio.Transport", transport)  # uvloop's are not of that class
        self._admitted_as = text
        self._wire = transport
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop every clock."""
        self._stop_deadline()
        bounds = self._bounds
        if self._wire is not None:
            self._wire = None
            bounds.admission.leave(self._admitted_as)
            if self.announced_peer is not None:
                bounds.admission.release(self.announced_peer)
        bounds.uploads.forget(self)
        bounds.downloads.forget(self)
        super().connection_lost(exc)

    def announce(self, peer: str, rest: bytes) -> bool:
        """Take note of whom the connection is really from, or turn it away: then it is no longer this protocol's.

        :param rest: what came behind the announcement.
        """
        admission, wire = self._bounds.admission, self._wire
        refusal = admission.claim(peer)
        if refusal is None or wire is None:
            self.announced_peer = peer
            return True
        self.transport = None  # or aiohttp would close it
        self.connection_lost(None)
        admission.turn_away(wire, refusal, peer, rest)
        return False

    def part(self) -> None:
        """End the connection behind an answer that was written before its request had come to its end."""
        wire = self._wire
        if wire is not None and not wire.is_closing() and not self._force_close:
            # To aiohttp it is as if it had closed the connection.
            self._force_close = True
            self.transport = None
            if self._waiter is not None:
                self._waiter.cancel()
            self._stop_deadline()
            self._bounds.admission.part(wire, self.connection_lost)

    async def start(self) -> None:
        """Serve, then see to it that the last bytes leave or are given up."""
        try:
            await super().start()
        finally:
            wire = self._wire
            if wire is not None and wire.get_write_buffer_size():
                self._bounds.downloads.watch(self, Outflow(wire).moved, self._answer_too_slow)

    # ---- the head's deadline ----

    def begin(self, request: web.BaseRequest) -> None:
        """A head is complete and its request is being handled."""
        self._stop_deadline()
        self._handling = request
        if not request.content.is_eof():
            self._bounds.uploads.watch(self, self._uploaded, self._body_too_slow)
        self._check_size(request)

    def end(self) -> None:
        """The request was answered."""
        self._handling = None
        self._bounds.uploads.forget(self)
        if self._measured.head and self._deadline is None:
            self._start_deadline()

    def _start_deadline(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._bounds.limits.head, self._too_slow)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._head_begun():  # browsers open connections ahead and leave them unused: nothing to tell of
            self._drop(reasons.HEAD_TOO_SLOW)
        self.force_close()

    def _head_begun(self) -> bool:
        return self._measured.head > 0

    # ---- what has to move, and how much may come ----

    def data_received(self, data: bytes) -> None:
        """Parse, and count."""
        super().data_received(data)
        handling = self._handling
        if handling is not None:
            self._check_size(handling)

    def _check_size(self, request: web.BaseRequest) -> None:
        # A body whose length was announced was measured by that, before its request was routed.
        most = self._bounds.limits.body
        if most and request.content.total_bytes > most and hdrs.CONTENT_LENGTH not in request.headers:
            self._refuse_body(reasons.BODY_TOO_LARGE, f"the body is larger than {most} bytes")

    def _uploaded(self) -> int | None:
        """Bytes of the body that have come; None while it is not the client who is waited for."""
        handling = self._handling
        if handling is None or self._reading_paused or self._buffer_paused:
            return None
        content = handling.content
        if content.is_eof() or (not content.total_bytes and hdrs.EXPECT in handling.headers):
            return None
        return content.total_bytes

    def _body_too_slow(self) -> None:
        self._refuse_body(reasons.BODY_TOO_SLOW, "the body hardly moves")

    def _refuse_body(self, reason: Reason, detail: str) -> None:
        handling = self._handling
        if handling is not None and handling.content.exception() is None:
            self._drop(reason)
            handling.content.set_exception(RequestError(reason, detail))

    def pause_writing(self) -> None:
        """The client takes no more for now."""
        super().pause_writing()
        if self._wire is not None:
            self._bounds.downloads.watch(self, Outflow(self._wire).moved, self._answer_too_slow)

    def resume_writing(self) -> None:
        """The client takes more again."""
        super().resume_writing()
        if self._wire is not None and not self._wire.is_closing():
            self._bounds.downloads.forget(self)

    def _answer_too_slow(self) -> None:
        self._drop(reasons.ANSWER_TOO_SLOW)
        if self._wire is not None:
            reset(self._wire)

    def _drop(self, reason: Reason) -> None:
        self._bounds.on_dropped(reason, self.announced_peer or self._admitted_as)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Keep quiet of a body that was broken off: whoever reads the rest of it meets the same error again."""
        if not isinstance(kw.get("exc_info"), RequestError | ConnectionError):
            super().log_exception(*args, **kw)
