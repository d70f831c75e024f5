"""What one process remembers by itself: the sessions that were signed out here.

The rules this file obeys (``threats.md`` goal 7, "a revocation of ours holds from the next request on"):

1. **A session that was ended stays ended for as long as it could come back.** Renewing a token keeps ``auth_time``, and
   Firebase's refresh tokens have no end of their own, so an entry lives as long as the configuration lets sessions
   live, or :data:`MAX_DENIAL`. An entry that is past its time may stay a little longer: what it names is over anyway.
2. **The list is bounded**, and says loudly when it has to let go of an entry that still matters. Entries that refuse
   somebody are kept longest.
3. **Asking costs one look-up in a dict**: no lock, no I/O, no clock.

The list lives and dies with the process. Whoever needs more ends the session at Firebase (``scope=everywhere``), which
every gateway hears of within ``max_staleness`` and none forgets.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.core.claims import Principal
    from gateway.core.ports import Clock

MAX_DENIAL: Final = 400 * 24 * 3600.0
"""Seconds. No browser keeps a cookie longer (RFC 6265bis section 5.6.1); a session that was left alone for as long is
over by any measure."""

DEFAULT_CAPACITY: Final = 100_000
"""Sessions remembered at once; about 300 bytes each."""

SWEEP_INTERVAL: Final = 60.0
"""Seconds at least between two searches of a full list for entries past their time."""

LOG_INTERVAL: Final = 60.0
"""Seconds between two log lines about a list that is too small."""

_log = logging.getLogger(__name__)


class MemoryDenyList:
    """Ended sessions of this process. Implements :class:`gateway.core.ports.SessionDenyList`.

    :param lifetime: seconds that an entry lives when nobody says how long; see rule 1.
    :param capacity: entries at once.
    :raises ConfigError: ``lifetime`` is out of bounds.
    """

    def __init__(self, clock: Clock, *, lifetime: float = MAX_DENIAL, capacity: int = DEFAULT_CAPACITY) -> None:
        if not 0 < lifetime <= MAX_DENIAL:
            raise ConfigError("$.session.max_age", "is out of bounds", "more than 0 and at most 400d")
        self._clock = clock
        self.lifetime = lifetime
        self.on_deny: Callable[[Principal, int, float], None] | None = None
        """Told of each session that is ended here and until when, in wall-clock seconds, its entry stands."""
        self._capacity = capacity
        # Session to the monotonic second at which it is over; the least lately denied or refused first.
        self._sessions: dict[tuple[Principal, int], float] = {}
        self._generation = 0
        self._swept_at = -math.inf
        self._logged_at = -math.inf
        self.evicted = 0

    @property
    def generation(self) -> int:
        """Grows with every session denied."""
        return self._generation

    def __len__(self) -> int:
        """Sessions on the list."""
        return len(self._sessions)

    def denied(self, principal: Principal, auth_time: int) -> bool:
        """Whether the session was ended here."""
        session = (principal, auth_time)
        if session not in self._sessions:
            return False
        self._sessions[session] = self._sessions.pop(session)
        return True

    def deny(self, principal: Principal, auth_time: int, until: float | None = None) -> None:
        """End the session, from the next request on; what is past its ``until`` already needs no entry."""
        wall = self._clock.now()
        until = wall + self.lifetime if until is None else until
        self.heard(principal, auth_time, until)
        if self.on_deny is not None and until > wall:
            self.on_deny(principal, auth_time, until)

    def heard(self, principal: Principal, auth_time: int, until: float) -> None:
        """End a session that was ended elsewhere."""
        now = self._clock.monotonic()
        # The wall clock is read at this moment and never again: stepping it later neither ends nor prolongs an entry.
        left = min(until - self._clock.now(), MAX_DENIAL)
        if left <= 0:
            return
        session = (principal, auth_time)
        ends_at = max(now + left, self._sessions.pop(session, -math.inf))
        if len(self._sessions) >= self._capacity:
            self._make_room(now)
        self._sessions[session] = ends_at
        self._generation += 1

    def _make_room(self, now: float) -> None:
        if now >= self._swept_at + SWEEP_INTERVAL:
            self._swept_at = now
            self._sessions = {session: ends_at for session, ends_at in self._sessions.items() if ends_at > now}
        if len(self._sessions) < self._capacity:
            return
        del self._sessions[next(iter(self._sessions))]
        self.evicted += 1
        if now >= self._logged_at + LOG_INTERVAL:
            self._logged_at = now
            _log.error(
                "the list of ended sessions is full (%d): %d forgotten so far, and copies of their tokens work again",
                self._capacity,
                self.evicted,
            )
