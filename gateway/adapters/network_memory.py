"""What this process remembers of sessions' networks: bounded, and gone when it ends.

Two generations of traces: new and recently used ones are in the young, and when it is full it becomes the old and the
former old is forgotten. That keeps what is in use without touching an order on each request. Losing a trace costs an
honest person one sign-in at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from gateway.core.network import Refusal, SessionKey, Trace

if TYPE_CHECKING:
    from gateway.core.claims import Principal

MAX_SESSIONS: Final = 50_000
"""Sessions in one generation; two of them take about 130 MB when every session has learned three networks."""

MAX_REFUSALS: Final = 10_000
"""People who were asked to sign in and have not yet. A refusal needs a good token, so nobody can flood this."""


class InProcessNetworks:
    """Implements :class:`gateway.core.ports.NetworkMemory` for one process."""

    def __init__(self, max_sessions: int = MAX_SESSIONS, max_refusals: int = MAX_REFUSALS) -> None:
        self._limit = max_sessions
        self._young: dict[SessionKey, Trace] = {}
        self._old: dict[SessionKey, Trace] = {}
        self._refusals: LRUCache[Principal | str, Refusal] = LRUCache(max_refusals)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def recall(self, session: SessionKey) -> Trace | None:
        """The session's trace."""
        trace = self._young.get(session)
        if trace is None and self._old:
            trace = self._old.pop(session, None)
            if trace is not None:
                self._keep(session, trace)
        return trace

    def begin(self, session: SessionKey) -> Trace:
        """An empty trace."""
        trace = Trace()
        self._keep(session, trace)
        return trace

    def learned(self, session: SessionKey, trace: Trace) -> None:
        """Nothing to do: nobody shares this memory."""

    def refuse(self, person: Principal | str, refusal: Refusal) -> None:
        """Remember where somebody was asked to sign in again."""
        self._refusals[person] = refusal.after(self._refusals.get(person))

    def answered(self, session: SessionKey) -> Refusal | None:
        """The refusal that the session's sign-in answers, once."""
        if not self._refusals:
            return None
        refusal = self._refusals.get(session.person)
        if refusal is None or not refusal.is_answered_by(session):
            return None
        del self._refusals[session.person]
        return refusal

    def _keep(self, session: SessionKey, trace: Trace) -> None:
        if len(self._young) >= self._limit:
            self._old = self._young
            self._young = {}
        self._young[session] = trace
