"""Ending a server's connections without losing a request.

The rules this file obeys (RFC 9112 section 9.6):

1. **Nobody is hung up on who was not told.** From the beginning of the end every answer says ``Connection: close``. An
   answer that had begun before does not, so its client may send another request on the connection, which is served.
2. A connection without a request is kept for :data:`LAME_DUCK` seconds, because one may be on its way, and then closed,
   whether the beginning of a head has come or not.
3. **Whoever is stuck does not hold up the rest**: when the grace is over, all that is left is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final, Protocol

LAME_DUCK: Final = 0.5
"""Seconds that unused connections are kept: longer than a request is on its way, and not so long that every stop takes
the whole grace because of browsers that hold on to connections."""
TICK: Final = 0.02
"""Seconds between two looks."""


class Connection(Protocol):
    """A client's connection."""

    @property
    def idle(self) -> bool:
        """Whether no request is under way on it."""

    def force_close(self) -> None:
        """Close it."""


class Connections(Protocol):
    """All of a server's connections."""

    @property
    def clients(self) -> Sequence[Connection]:
        """Those that are open."""


async def drain(server: Connections, grace: float, hurry: asyncio.Event, *, handshakes: bool = False) -> bool:
    """Wait until every connection has ended, for up to ``grace`` seconds; whether that is so.

    :param hurry: set when nobody wants to wait any more.
    :param handshakes: a connection is not among the server's before its handshake is done, so there may be more.
    """
    loop = asyncio.get_running_loop()
    now = loop.time()
    unused_until, end = now + min(LAME_DUCK, grace), now + grace
    while True:
        # Before the first look too: what was accepted a moment ago shows up in the next turns of the loop.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(TICK, grace)):
                await hurry.wait()
        clients, now = server.clients, loop.time()
        if now >= end or hurry.is_set():
            # Whoever is idle at the end has not been cut off.
            return all(client.idle for client in clients)
        if now >= unused_until:
            for client in clients:
                if client.idle:
                    client.force_close()
        elif handshakes:
            continue
        if not clients:
            return True
