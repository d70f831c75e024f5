"""One address of a backend: its open connections, and whether it should get requests.

The rules this file obeys (``threats.md`` rows 24 and 42): a connection is used again only when its last answer was read
to the end and not a byte more; an address that keeps failing is left alone for a while, each time for longer, and given
another chance after that.

Connections are taken last in, first out, so that in quiet times few of them stay warm and the others grow old.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.proxy.address import Address
    from gateway.proxy.connection import UpstreamConnection

_log = logging.getLogger(__name__)

MAX_IDLE: Final = 64
"""Idle connections kept per address."""
MAX_IDLE_TIME: Final = 15.0
"""Seconds that an idle connection is kept."""
FRESH_ENOUGH: Final = 1.0
"""Seconds after its last answer within which a connection is used for a request that must not be sent twice. Servers
close idle connections after 2 s (gunicorn), 5 s (Node, uvicorn) or more, and a request that crosses such a close is
lost."""
FAULTS_ALLOWED: Final = 3
"""Broken answers in a row after which an address is left alone (HAProxy: ``observe`` with an error limit of 10, Envoy:
5 in a row). A refused connection weighs as much as all of them: nobody is there."""
FIRST_PAUSE: Final = 1.0
"""Seconds that an address is left alone the first time; then twice as long each time it fails again."""
LONGEST_PAUSE: Final = 60.0
"""Seconds; Envoy's ``base_ejection_time`` is 30 s and grows to 300 s."""


class Pool:
    """The connections to one address, and how it stands.

    ``opened`` counts all of them, ``connecting`` those that are being made. ``sound`` is the word of the health checks.
    Times are those of :func:`time.monotonic`.
    """

    __slots__ = (
        "address",
        "connecting",
        "fault_total",
        "faults",
        "idle",
        "opened",
        "out_until",
        "pauses",
        "sound",
        "upstream",
        "why",
    )

    def __init__(self, upstream: str, address: Address) -> None:
        self.upstream = upstream
        self.address = address
        self.idle: deque[UpstreamConnection] = deque()
        self.opened = 0
        self.connecting = 0
        self.sound = True
        self.faults = 0
        """Faults since the last whole answer."""
        self.fault_total = 0
        self.pauses = 0
        """How often it was left alone since the last whole answer."""
        self.out_until = 0.0
        self.why = ""
        """What was wrong last; empty after a whole answer."""

    @property
    def busy(self) -> int:
        """Requests under way, those that wait for their connection included."""
        return self.opened + self.connecting - len(self.idle)

    def available(self, now: float) -> bool:
        """Whether requests should go here while others could take them."""
        return self.sound and self.out_until <= now

    @property
    def well(self) -> bool:
        """Whether nothing speaks against it: a pause that is over proves nothing yet."""
        return self.sound and self.faults < FAULTS_ALLOWED

    # ---- connections ----

    def take(self, now: float, *, repeatable: bool) -> UpstreamConnection | None:
        """The idle connection that was given back last, if it may carry this request."""
        idle = self.idle
        while idle and now - idle[0].parked_at > MAX_IDLE_TIME:
            idle.popleft().close()
        while idle:
            connection = idle[-1]
            if not repeatable and now - connection.parked_at > FRESH_ENOUGH:
                return None
            idle.pop()
            if connection.usable:
                connection.answered = False
                return connection
            connection.close()
        return None

    def give(self, connection: UpstreamConnection, now: float) -> None:
        """Take a connection back whose answer was read to the end."""
        if not connection.usable or len(self.idle) >= MAX_IDLE:
            connection.close()
            return
        connection.parked_at = now
        self.idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection has ended."""
        self.opened -= 1
        if connection in self.idle:
            self.idle.remove(connection)

    def drop_idle(self) -> None:
        """Close what is idle."""
        while self.idle:
            self.idle.pop().close()

    # ---- standing ----

    def fault(self, now: float, why: str, *, weight: int = 1) -> None:
        """Something went wrong that is the server's fault.

        :param why: a few words without anything of the request in them.
        """
        self.fault_total += 1
        self.faults += weight
        self.why = why
        if self.faults < FAULTS_ALLOWED or self.out_until > now:
            return
        pause = min(FIRST_PAUSE * 2**self.pauses, LONGEST_PAUSE)
        self.pauses = min(self.pauses + 1, 16)  # far beyond the longest pause
        self.out_until = now + pause
        _log.warning("upstream %s: %s is left alone for %g s: %s", self.upstream, self.address, pause, why)

    def succeeded(self) -> None:
        """A whole answer came: all is forgiven."""
        if self.pauses:
            _log.warning("upstream %s: %s answers again", self.upstream, self.address)
        self.faults = self.pauses = 0
        self.out_until = 0.0
        self.why = ""
