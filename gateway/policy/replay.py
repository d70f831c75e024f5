"""What a preset would have done: the network judge over recorded requests.

A recorded session goes on although the preset would have ended it. So the replay does what its owner would: after a
refusal it signs in from where the request came, and the session begins anew there. One journey then counts once, and
the number of refusals is the number of sign-ins that people would have been asked for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.core.client_ip import IPAddress
from gateway.core.network import SessionKey, network_of
from gateway.core.session import NetworkAction, NetworkLevel
from gateway.policy.baselines import Origin, origin_at
from gateway.policy.ip_change import Preset
from gateway.policy.networks import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.policy.networks import NetworkJudge


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded request of a session. ``at`` is wall-clock seconds; ``person`` a pseudonym."""

    at: float
    person: str
    auth_time: int
    origin: Origin | None
    client: IPAddress | None


@dataclass(frozen=True, slots=True)
class Refused:
    """One sign-in that would have been asked for."""

    at: float
    person: str
    finding: Finding


class ReplayClock:
    """The time of the record."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        """Wall-clock seconds."""
        return self.at

    def monotonic(self) -> float:
        """The same: records are read in order."""
        return self.at


@dataclass(slots=True)
class Tally:
    """What came of a replay: requests by level and action, people by how often they were asked to sign in."""

    requests: int = 0
    sessions: set[tuple[str, int]] = field(default_factory=set)
    people: set[str] = field(default_factory=set)
    outcomes: Counter[tuple[NetworkLevel, NetworkAction]] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    first: float | None = None
    last: float | None = None

    @property
    def affected(self) -> Counter[str]:
        """People and how many sign-ins each would have been asked for."""
        return Counter(refusal.person for refusal in self.refused)


class Replay:
    """Feeds records, oldest first, to a judge whose time is the record's.

    :param judge: made by the caller with this replay's :attr:`clock`.
    """

    def __init__(self, make_judge: Callable[[ReplayClock], NetworkJudge], preset: Preset) -> None:
        self.clock = ReplayClock()
        self.tally = Tally()
        self._judge = make_judge(self.clock)
        self._preset = preset
        self._again: dict[tuple[str, int], tuple[int, Origin | None]] = {}

    def feed(self, record: Recorded) -> Finding:
        """Judge one record."""
        self.clock.at = max(self.clock.at, record.at)
        recorded = (record.person, record.auth_time)
        auth_time, origin = self._again.get(recorded, (record.auth_time, record.origin))
        finding = self._judge.weigh(SessionKey(record.person, auth_time), origin, record.client, self._preset)
        tally = self.tally
        tally.requests += 1
        tally.sessions.add(recorded)
        tally.people.add(record.person)
        tally.outcomes[finding.level, finding.action] += 1
        tally.first = record.at if tally.first is None else tally.first
        tally.last = record.at
        if finding.refuses:
            tally.refused.append(Refused(record.at, record.person, finding))
            here = None if record.client is None else origin_at(network_of(record.client), record.client)
            # A sign-in takes a second at least, which also tells the new session from the old one.
            self._again[recorded] = (max(int(self.clock.at), auth_time + 1), here)
        return finding
