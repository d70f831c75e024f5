"""How much a client may take: the figures, and the head's size counted while it is read.

The rule this file obeys (``threats.md`` rows 36, 37 and 46): **everything that a client can make the gateway hold has a
bound**, in time, in bytes and in number, and the bound is kept while the bytes arrive, not after. aiohttp's parser
bounds the request line, each field line and their number; together that is 4 MB of a head, so all of a head is counted
here as well.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import hdrs, http_exceptions

HEAD_DEADLINE: Final = 10.0
"""Seconds for a request's head, all of it (threats.md row 36; Apache's RequestReadTimeout is 20 s)."""
KEEP_ALIVE: Final = 75.0
"""Seconds that a kept connection may be idle: nginx's keepalive_timeout."""
MIN_RATE: Final = 240
"""Bytes a second that a body, or an answer that waits for its client, has to move at: Kestrel's MinDataRate."""
UPLOAD_WINDOW: Final = 20.0
"""Seconds over which an upload's rate is taken: Apache's RequestReadTimeout for bodies. Phones lose their network for
that long."""
DOWNLOAD_WINDOW: Final = 60.0
"""Seconds over which an answer's rate is taken: nginx's send_timeout. Players stop reading while they have enough."""

MAX_REQUEST_LINE: Final = 8_190
"""Bytes; aiohttp's and Apache's limit."""
MAX_FIELD: Final = 32_768
"""Bytes of one field line: a 16 KB token twice over. Differs from :data:`MAX_REQUEST_LINE`, which tells the two
errors apart."""
MAX_FIELDS: Final = 128
"""Field lines of one request; Apache's LimitRequestFields is 100."""
MAX_UNFINISHED_HEAD: Final = 98_304
"""Bytes of a head that is not complete: the largest request line and fields that pass, and some rest. Heads that are
complete are held to the exact bound (:data:`gateway.http.intake.MAX_HEAD_SIZE`)."""

MOST_CONNECTIONS: Final = 20_000
"""Client connections that are taken without being told: at 32 KB for one that is read from, 640 MB."""
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""How the system says that it has no file, or no memory, for another connection: what asyncio's listeners rest for."""
_RESERVED_FILES: Final = 64
"""Open files that are no connections: listeners, log, databases, calls to the account service and to be scraped."""
_FILES_PER_CLIENT: Final = 2
"""Its own connection and one to a backend."""
_PEER_SHARE: Final = 0.75
"""The part of all connections that one peer may have: others always get in."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one server. Seconds, bytes, and bytes a second; 0 is explained with each."""

    head: float = HEAD_DEADLINE
    idle: float = KEEP_ALIVE
    connections: int = 0
    """0: as many as the process may open files for, at most :data:`MOST_CONNECTIONS`."""
    per_peer: int = 0
    """0: three quarters of ``connections``."""
    body: int = 0
    """0: any size. Bodies are never held, whatever their size."""
    min_rate: int = MIN_RATE
    """0: any rate."""
    upload_window: float = UPLOAD_WINDOW
    download_window: float = DOWNLOAD_WINDOW

    def resolved(self) -> tuple[int, int]:
        """How many connections in all and of one peer, for the files that this process may open now."""
        connections = self.connections or connections_for(open_files())
        return connections, min(self.per_peer or max(int(connections * _PEER_SHARE), 1), connections)


def open_files() -> int:
    """How many files this process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_CONNECTIONS * _FILES_PER_CLIENT + _RESERVED_FILES if soft == resource.RLIM_INFINITY else soft


def connections_for(files: int) -> int:
    """Client connections that fit into so many open files, each with one to a backend; at least one."""
    return max(min((files - _RESERVED_FILES) // _FILES_PER_CLIENT, MOST_CONNECTIONS), 1)


_UPGRADE: Final = "websocket"
"""The one protocol that aiohttp's parser switches to."""


class MeasuredParser:
    """aiohttp's request parser, and how many bytes of an unfinished head it holds.

    What follows a message within the piece that completed it is not counted: at most one read of the socket.

    A request to switch to a protocol that aiohttp does not know (``Upgrade: h2c``) is the last one of its connection:
    aiohttp drops what came behind it in the same piece, so what a later piece begins with may be anything.
    """

    __slots__ = ("_last", "_last_of_all", "_parser", "_refused", "head")

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._last: Any = None
        """The body of the message read last."""
        self._last_of_all = False
        self._refused = False
        self.head = 0

    def feed_data(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        """Parse on; behind what was refused, nothing.

        :raises aiohttp.http_exceptions.HttpProcessingError: what aiohttp's parser refuses, and a head that is longer
            than :data:`MAX_UNFINISHED_HEAD` and not complete.
        """
        if self._refused or (self._last_of_all and self._last.is_eof()):
            return (), False, b""
        in_head = self._last is None or self._last.is_eof()  # asked now, for the data may be a body's last piece
        try:
            found: tuple[Sequence[Any], bool, bytes] = self._parser.feed_data(data)
        except http_exceptions.HttpProcessingError:
            self._refused = True
            raise
        if found[0]:
            message, self._last = found[0][-1]
            self.head = 0
            if message.upgrade and message.headers.get(hdrs.UPGRADE, "").lower() != _UPGRADE:
                self._last_of_all = True
                return (*found[0][:-1], (message._replace(should_close=True), self._last)), *found[1:]
        elif in_head:
            self.head += len(data)
            if self.head > MAX_UNFINISHED_HEAD:
                self._refused = True
                raise http_exceptions.LineTooLong(b"", MAX_UNFINISHED_HEAD)
        return found

    def __getattr__(self, name: str) -> Any:
        """Everything else is the parser's own."""
        return getattr(self._parser, name)
