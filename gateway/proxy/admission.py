"""Who gets in: so many connections in all, so many of one peer, and a short answer for the rest.

The rules this file obeys (``threats.md`` rows 36 and 46):

* A connection above the bound is answered with a small 503 and closed. It never gets a parser, a task or a place in a
  queue; those whom even the answer would cost too much are reset.
* One peer never gets all connections. An IPv6 peer is its /64, since it has all addresses in there (RFC 4291 section
  2.5.4). Trusted proxies bring many clients and are held to the bound for all only.
* Out of files, the listener rests for a second and goes on (asyncio does so); that is said once in a while, not a
  hundred times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable
from typing import Any, Final, cast

from gateway import reasons
from gateway.proxy.limits import EXHAUSTED, Limits
from gateway.proxy.pace import reset
from gateway.reasons import Reason

_log = logging.getLogger(__name__)

MAX_TURNED_AWAY: Final = 32
"""Connections that are being answered with a 503; more are reset. Files for them are among those set aside."""
TURN_AWAY_TIME: Final = 2.0
"""Seconds for a client to send what it is sending and take the answer (nginx: lingering_timeout, 5 s)."""
SAY_AGAIN: Final = 10.0
"""Seconds between two lines in the log about the same shortage."""
_LINK: Final = 8
"""Bytes of an IPv6 address that tell its link."""

OnDropped = Callable[[Reason, str], str]
"""Told why a connection without a request was ended and whose it was; gives the request id for the answer."""


class Admission:
    """Counts connections.

    :param exempt: whether a peer's address is that of a trusted proxy.
    :param answer: the whole answer for a reason and a request id, ending the connection.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        exempt: Callable[[str], bool],
        on_dropped: OnDropped,
        answer: Callable[[Reason, str], bytes],
    ) -> None:
        self.most, self.per_peer = limits.resolved()
        self.open = 0
        """Connections that got in and are open."""
        self.exhausted = 0
        """Times that the process had no file left for a connection."""
        self._exempt = exempt
        self._on_dropped = on_dropped
        self._answer = answer
        self._peers: dict[bytes | str, int] = {}
        self._turned_away: set[Parting] = set()
        self._parting: set[Parting] = set()
        self._said = float("-inf")

    def enter(self, peer: str) -> Reason | None:
        """Let a connection from ``peer`` (a socket's address; "" for none) in, or say why not."""
        if self.open >= self.most:
            return reasons.TOO_MANY_CONNECTIONS
        refusal = self.claim(peer)
        if refusal is None:
            self.open += 1
        return refusal

    def leave(self, peer: str) -> None:
        """A connection that got in has ended."""
        self.open -= 1
        self.release(peer)

    def claim(self, peer: str) -> Reason | None:
        """Count a connection as this peer's, or say why not."""
        if not peer:
            return None
        key = _key(peer)
        count = self._peers.get(key, 0)
        if count >= self.per_peer and not self._exempt(peer):
            return reasons.TOO_MANY_PEER_CONNECTIONS
        self._peers[key] = count + 1
        return None

    def release(self, peer: str) -> None:
        """Count a connection as this peer's no longer."""
        if not peer:
            return
        key = _key(peer)
        count = self._peers.get(key, 0)
        if count > 1:
            self._peers[key] = count - 1
        else:
            self._peers.pop(key, None)

    def turn_away(self, transport: asyncio.BaseTransport, reason: Reason, peer: str, data: bytes = b"") -> None:
        """Answer a connection that does not get in, and end it. ``data``: what came of its request already."""
        transport = cast("asyncio.Transport", transport)  # uvloop's are not of that class
        self._say(f"connections are turned away ({reason.id}): {self.open} of {self.most} are open")
        request_id = self._on_dropped(reason, peer)
        if len(self._turned_away) >= MAX_TURNED_AWAY:
            reset(transport)
            return
        protocol = Parting(self._answer(reason, request_id), self._turned_away)
        protocol.take(transport)
        if data:
            protocol.data_received(data)

    def part(self, transport: asyncio.Transport, lost: Callable[[Exception | None], None]) -> None:
        """End a connection whose answer was written while its client may still be sending. It counts as open till then.

        :param lost: told when it has ended.
        """
        Parting(b"", self._parting, lost).take(transport)

    def close(self) -> None:
        """End the connections that are about to end by themselves."""
        for protocol in (*self._turned_away, *self._parting):
            protocol.end()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell of a lack of files now and then, instead of with each attempt to accept."""
        before = loop.get_exception_handler()

        def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if isinstance(error, OSError) and error.errno in EXHAUSTED and "accept" in context.get("message", ""):
                self.exhausted += 1
                self._say(f"no connection can be accepted for now: {error.strerror}")
            elif before is not None:
                before(loop, context)
            else:
                loop.default_exception_handler(context)

        loop.set_exception_handler(handler)

    def _say(self, text: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said >= SAY_AGAIN:
            self._said = now
            _log.warning(text)


class Parting(asyncio.Protocol):
    """A connection that ends behind an answer while its client may still be sending.

    What comes is thrown away for a while: closing on bytes that nobody read resets the connection, and the answer with
    it (RFC 9112 section 9.6).

    :param answer: sent to the first bytes that come, since clients take an answer only behind a request; ``b""`` when
        it was sent already.
    :param others: holds this one while it lasts.
    :param lost: told when the connection has ended.
    """

    def __init__(
        self, answer: bytes, others: set[Parting], lost: Callable[[Exception | None], None] | None = None
    ) -> None:
        self._answer = answer
        self._others = others
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def take(self, transport: asyncio.Transport) -> None:
        """Take a connection over from another protocol."""
        transport.set_protocol(self)
        self.connection_made(transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's end, but not for long."""
        self._transport = cast("asyncio.Transport", transport)
        self._others.add(self)
        self._timer = asyncio.get_running_loop().call_later(TURN_AWAY_TIME, self.end)
        if not self._answer:
            with contextlib.suppress(RuntimeError):  # it was not paused
                self._transport.resume_reading()
            self._say_goodbye()

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is
        """Answer once."""
        if self._answer and self._transport is not None:
            self._transport.write(self._answer)
            self._answer = b""
            self._say_goodbye()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._others.discard(self)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lost is not None:
            self._lost(exc)

    def end(self) -> None:
        """Close."""
        if self._transport is not None:
            self._transport.abort()

    def _say_goodbye(self) -> None:
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()


def _key(peer: str) -> bytes | str:
    """What counts as one peer: an IPv4 address as it stands, the /64 of an IPv6 address."""
    if ":" not in peer:
        return peer
    try:
        address = ipaddress.IPv6Address(peer)
    except ValueError:
        return peer
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else address.packed[:_LINK]
