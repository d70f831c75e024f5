"""What the revocation cache remembers: one entry a user, in the order in which they were last checked.

Nothing here waits or asks. The order is what keeps look-ups few (``threats.md`` row 40): the user checked longest ago
is due first, and the batch that goes out for them takes the ninety-nine along that are due next. So every active user
comes round once a period, a hundred in a batch, however their requests fall.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.core.claims import Principal
    from gateway.core.ports import Standing

_SCAN_LIMIT: Final = 1000
"""Entries looked at to fill one batch: where nine of ten users have left, it still fills."""

_EVICTION_SAMPLE: Final = 32
"""Entries among which the one seen longest ago goes when the table is full (as Redis samples for its LRU)."""


@dataclass(frozen=True, slots=True)
class RevocationStatus:
    """How the checks stand, for readiness and metrics.

    ``staleness`` and ``down_for`` in seconds, the latter since the first of the failing tenants failed; ``error`` None
    while every tenant answers.
    """

    available: bool
    users: int
    staleness: float
    error: str | None
    down_for: float


class Entry:
    """One user. Times are monotonic seconds.

    ``waiter`` is set while a look-up of this user is queued or under way. ``floor`` is the valid-since of a revocation
    of our own, which no answer may undo; ``condemned_at`` when the entry began to be kept for being bad news.
    """

    __slots__ = ("condemned_at", "floor", "principal", "seen_at", "service", "standing", "waiter")

    def __init__(self, principal: Principal, service: Service, seen_at: float) -> None:
        self.principal = principal
        self.service = service
        self.seen_at = seen_at
        self.standing: Standing | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.floor = 0
        self.condemned_at = float("-inf")

    @property
    def checked_at(self) -> float:
        """When the standing was asked for; minus infinity before."""
        return self.standing.checked_at if self.standing is not None else float("-inf")

    @property
    def seen_since(self) -> bool:
        """Whether the user came by after the last check."""
        return self.seen_at > self.checked_at

    @property
    def bad(self) -> bool:
        """Whether the account was gone or disabled at the last check."""
        return self.standing is not None and (self.standing.disabled or not self.standing.exists)


@dataclass(slots=True, eq=False)
class Service:
    """The account service as seen by one tenant, and this tenant's users. Times are monotonic seconds.

    ``reach`` is how old a standing may be to count now. ``order`` holds users who are kept fresh, checked longest ago
    first; ``dormant`` those who were not seen in time, and ``condemned`` those of them who are kept for being bad news;
    ``queue`` those somebody waits for, not asked for yet; ``under_way`` those asked for, not answered yet.
    """

    tenant: str | None
    reach: float
    down: bool = False
    down_since: float = 0.0
    retry_at: float = 0.0
    error: str | None = None
    logged_at: float = float("-inf")
    round_trip: float = 0.0
    flights: int = 0
    first_flights: int = 0
    order: OrderedDict[Principal, Entry] = field(default_factory=OrderedDict)
    dormant: OrderedDict[Principal, Entry] = field(default_factory=OrderedDict)
    condemned: OrderedDict[Principal, Entry] = field(default_factory=OrderedDict)
    queue: OrderedDict[Principal, Entry] = field(default_factory=OrderedDict)
    under_way: dict[Principal, Entry] = field(default_factory=dict)

    def first_due(self, checked_before: float) -> Entry | None:
        """The user to check next, when their last check was before this moment; those not seen since step aside."""
        while self.order:
            entry = next(iter(self.order.values()))
            if entry.checked_at > checked_before:
                return None
            if entry.seen_since:
                return entry
            del self.order[entry.principal]
            self.dormant[entry.principal] = entry
        return None

    def take_waiting(self, count: int | None = None) -> list[Entry]:
        """Up to ``count`` of those somebody waits for, first come first served; all for None."""
        number = len(self.queue) if count is None else min(count, len(self.queue))
        return [self.queue.popitem(last=False)[1] for _ in range(number)]

    def take_oldest(self, count: int, checked_before: float) -> list[Entry]:
        """Up to ``count`` users who came by since their check, checked longest ago first."""
        taken: list[Entry] = []
        for scanned, entry in enumerate(self.order.values()):
            if len(taken) >= count or scanned >= _SCAN_LIMIT or entry.checked_at > checked_before:
                break
            if entry.seen_since:
                taken.append(entry)
        for entry in taken:
            del self.order[entry.principal]
        return taken

    def put_fresh(self, entry: Entry) -> None:
        """Give a user who was just checked the last place."""
        self.forget_place(entry)
        self.order[entry.principal] = entry

    def put_back(self, entries: list[Entry]) -> None:
        """Give users whose look-up failed their places at the front again."""
        for entry in reversed(entries):
            self.order[entry.principal] = entry
            self.order.move_to_end(entry.principal, last=False)

    def forget_place(self, entry: Entry) -> None:
        """Take a user out of all orders."""
        self.order.pop(entry.principal, None)
        self.dormant.pop(entry.principal, None)
        self.condemned.pop(entry.principal, None)

    def condemn(self, entry: Entry, now: float) -> None:
        """Keep a user for the bad news about them alone."""
        entry.condemned_at = now
        self.condemned[entry.principal] = entry

    def pop_harmless(self, condemned_before: float) -> Iterator[Entry]:
        """Users condemned before this moment, taken out one by one."""
        while self.condemned:
            entry = next(iter(self.condemned.values()))
            if entry.condemned_at >= condemned_before:
                return
            del self.condemned[entry.principal]
            yield entry

    def pop_expired(self, checked_before: float) -> Iterator[Entry]:
        """Dormant users last checked before this moment, taken out one by one."""
        while self.dormant:
            entry = next(iter(self.dormant.values()))
            if entry.checked_at >= checked_before:
                return
            del self.dormant[entry.principal]
            yield entry

    def pop_victim(self) -> Entry | None:
        """The user to forget when the table is full: a dormant one, or among the first few the one seen longest ago.

        Bad news goes last.
        """
        if self.dormant:
            return self.dormant.popitem(last=False)[1]
        sample = [entry for entry, _ in zip(self.order.values(), range(_EVICTION_SAMPLE), strict=False)]
        if not sample:
            return self.condemned.popitem(last=False)[1] if self.condemned else None
        victim = min(sample, key=lambda entry: entry.seen_at)
        del self.order[victim.principal]
        return victim

    def relied_on(self) -> Iterator[Entry]:
        """Users who came by since their check: of those kept fresh the one checked longest ago, of others all."""
        yield from (entry for entry in self.under_way.values() if entry.seen_since and entry.standing is not None)
        for entry in self.order.values():
            if entry.seen_since:
                yield entry
                break
        if self.down:
            yield from (entry for entry in self.dormant.values() if entry.seen_since)


def release(entries: list[Entry]) -> None:
    """Let whoever waits for one of these users go on."""
    for entry in entries:
        waiter, entry.waiter = entry.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
