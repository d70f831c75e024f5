"""Slows down password guessing: failures are counted for each account and client address together.

Counting by the pair keeps a stranger from locking somebody out (their address differs) and keeps people behind one
address from locking each other out. An attempt counts before the password is looked at, so that many attempts in
parallel do not all slip through; success takes it back.
"""

from __future__ import annotations

from typing import Final

from cachetools import TTLCache

from gateway.core.client_ip import IPAddress
from gateway.core.ports import Clock
from gateway.idp.errors import WireError

MAX_FAILURES: Final = 20
"""Wrong passwords for one account from one address within :data:`WINDOW`; NIST SP 800-63B section 5.2.2 allows 100."""

WINDOW: Final = 300.0
"""Seconds from the first failure until the count starts afresh."""

MAX_TRACKED: Final = 10_000
"""Pairs remembered; beyond that the oldest are forgotten, so memory stays bounded."""


class GuessThrottle:
    """Counts failed sign-ins."""

    def __init__(self, clock: Clock) -> None:
        self._failures: TTLCache[tuple[str, str], list[int]] = TTLCache(MAX_TRACKED, WINDOW, timer=clock.monotonic)

    def attempt(self, email: str, address: IPAddress | None) -> None:
        """Count an attempt, before its password is checked.

        :raises WireError: ``TOO_MANY_ATTEMPTS_TRY_LATER``.
        """
        # A list, changed in place: storing the count anew would start its time-to-live again.
        count = self._failures.setdefault((email, str(address)), [0])
        if count[0] >= MAX_FAILURES:
            raise WireError(
                "TOO_MANY_ATTEMPTS_TRY_LATER : Access to this account has been temporarily disabled due to many failed "
                "login attempts. You can immediately restore it by resetting your password or you can try again later."
            )
        count[0] += 1

    def success(self, email: str, address: IPAddress | None) -> None:
        """Forget the failures of that pair: the password was right."""
        self._failures.pop((email, str(address)), None)

    def forget(self, email: str) -> None:
        """Forget the failures of an account from everywhere: its password was reset."""
        for pair in [pair for pair in self._failures if pair[0] == email]:
            self._failures.pop(pair, None)
