"""The network judge: evidence in, finding out.

The rule this file obeys: *asking for a sign-in is the answer to doubt, and a sign-in answers it.* Nobody is banned; the
network from which somebody was sent to sign in, and from which they then did, belongs to the new session. What a
session was accepted on is remembered per session and family, bounded, and with the weakest level that led there, so
that a strict route never trusts what a relaxed one has learned.

Two devices that use one session in turns give themselves away by changing to and fro (:data:`INTERLEAVED`). The
sign-in's own network is never the intruder then.

The judge reads ports and takes time from a clock that is handed in; it does no I/O. On a request from a network that
is known already it costs a look-up in a dictionary.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.core.client_ip import IPAddress, IPNetwork
from gateway.core.network import (
    NOWHERE,
    AddressClass,
    NetworkKey,
    Place,
    Refusal,
    Seen,
    SessionKey,
    Trace,
    is_private_key,
    key_of,
)
from gateway.core.session import NetworkAction as Action
from gateway.core.session import NetworkLevel as Level
from gateway.policy.baselines import SIGN_IN_NETWORK_CLAIM, Origin, origin_of
from gateway.policy.ip_change import (
    AT_ORIGIN,
    PRESETS,
    PRIVATE,
    REFUSALS,
    Baseline,
    Preset,
    Rung,
    action_for,
    by_origin,
    learns,
    trusts,
    with_data,
    without_data,
)

if TYPE_CHECKING:
    from gateway.core.claims import Claims
    from gateway.core.ports import Clock, GeoLocator, NetworkMemory

MAX_LEARNED: Final = 8
"""Networks remembered for one session: home, work, mobile, each over both families, and two to spare."""

INTERLEAVED: Final = 3
"""Changes between operators of one family within :data:`WINDOW` that make two networks interleaved: there, back, and
there again. Leaving the house and coming back is one less."""

WINDOW: Final = 600.0
"""Seconds within which changes are counted."""

OBSERVE_EVERY: Final = 30.0
"""Seconds that a decision may be replayed where time is evidence: so exact is "when was this session last seen"."""

CONFIRM_WITHIN: Final = 600.0
"""Seconds between a sign-in and its session's first request, for that request to show where the sign-in was made."""

REFUSAL_LIFE: Final = 1800.0
"""Seconds that somebody may take to sign in after they were asked to."""


class Missing(enum.StrEnum):
    """What a session without a usable claim gets that has learned no network yet."""

    ALLOW = "allow"
    """It passes, and is never tied to a network."""
    LEARN = "learn"
    """The preset's answer to ``unknown``."""
    DENY = "deny"
    """It has to sign in again. For sites whose every sign-in records the address."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What operators tune beside the preset.

    ``claim_key`` opens the private form of the claim; ``countries``: a country database is configured.
    """

    missing: Missing = Missing.LEARN
    exempt: tuple[IPNetwork, ...] = ()
    exempt_asns: frozenset[int] = frozenset()
    claim_key: bytes | None = None
    countries: bool = True
    revoke_on: frozenset[Level] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """The network's part of a decision.

    ``valid_until`` is in wall-clock seconds: until then the same address gets the same answer. ``revoke``: the operator
    wants all the user's sessions ended.
    """

    level: Level
    action: Action
    why: str
    valid_until: float = math.inf
    revoke: bool = False

    @property
    def refuses(self) -> bool:
        """Whether the request may not pass."""
        return self.action in REFUSALS


_OFF: Final = Preset.OFF
_NO_CLIENT: Final = Rung(Level.UNKNOWN, "no client address", Level.UNKNOWN)
_BARRED: Final = Rung(Level.SUSPICIOUS, "in turns with another network before", Level.SUSPICIOUS)
_KNOWN: Final = {tier: Rung(tier, "a network that this session was accepted on", tier) for tier in Level}


@dataclass(slots=True)
class _Sighting:
    """One request: where it comes from and which session it shows.

    ``known``: the session was accepted on this network before. ``place`` is None until it is looked up.
    """

    session: SessionKey
    origin: Origin | None
    client: IPAddress
    key: NetworkKey
    private: bool
    at_origin: bool
    known: bool = False
    trace: Trace | None = None
    place: Place | None = None


class NetworkJudge:
    """Weighs where a request comes from.

    :param memory: what sessions have learned; None to learn nothing.
    :param locator: None without databases.
    :param clock: needed with a memory or a locator.
    """

    def __init__(
        self,
        *,
        memory: NetworkMemory | None = None,
        locator: GeoLocator | None = None,
        clock: Clock | None = None,
        settings: NetworkSettings | None = None,
    ) -> None:
        if clock is None and (memory is not None or locator is not None):
            raise ValueError("a memory or a locator needs a clock")
        self._memory = memory
        self._locator = locator
        self._clock: Clock = clock or _NoClock()
        self._settings = settings or NetworkSettings()
        self._findings: dict[tuple[Level, str, Preset, bool, bool], Finding] = {}

    def judge(self, claims: Claims, client: IPAddress | None, preset: Preset) -> Finding:
        """Judge a request of a session by its token's claims."""
        origin = origin_of(claims.sign_in_ip, claims.payload.get(SIGN_IN_NETWORK_CLAIM))
        return self.weigh(SessionKey(claims.principal, claims.auth_time), origin, client, preset)

    def weigh(self, session: SessionKey, origin: Origin | None, client: IPAddress | None, preset: Preset) -> Finding:
        """Judge a request of a session that began at ``origin``."""
        if client is None:
            return self._finding(_NO_CLIENT, origin, preset)
        if self._settings.exempt and any(client in block for block in self._settings.exempt):
            return Finding(Level.SAME, Action.ALLOW, "an exempt network")
        key = key_of(client)
        private = is_private_key(key)
        at_origin = origin is not None and origin.is_same(client, self._settings.claim_key, exact=PRESETS[preset].exact)
        if preset is _OFF or (self._memory is None and self._locator is None):
            return self._finding(by_origin(origin, key[0], same=at_origin, private=private), origin, preset)
        sighting = _Sighting(session, origin, client, key, private, at_origin)
        if self._memory is not None:
            sighting.trace = self._memory.recall(session) or self._confirmed(sighting)
        rung = self._climb(sighting, preset)
        if self._is_interleaved(sighting, rung, preset):
            rung = _bar(sighting)
        finding = self._finding(rung, origin, preset, known=sighting.known)
        if self._memory is not None:
            if finding.refuses:
                self._memory.refuse(session.person, _refusal(key, session, self._clock.now()))
            else:
                self._accept(sighting, rung, finding, preset)
        return finding

    def _finding(self, rung: Rung, origin: Origin | None, preset: Preset, *, known: bool = False) -> Finding:
        if self._locator is not None:
            return self._make_finding(rung, origin, preset, known=known)
        # Without databases there are no more than a few answers, and none of them hangs on time.
        key = (rung.level, rung.why, preset, origin is None, known)
        finding = self._findings.get(key)
        if finding is None:
            finding = self._findings[key] = self._make_finding(rung, origin, preset, known=known)
        return finding

    def _make_finding(self, rung: Rung, origin: Origin | None, preset: Preset, *, known: bool) -> Finding:
        action = action_for(rung.level, preset)
        if origin is None and rung.level is Level.UNKNOWN and action is Action.LEARN:
            # Only where the preset lets `unknown` pass: this setting loosens no stricter route.
            action = _MISSING[self._settings.missing]
        if known and action is Action.LEARN:
            action = Action.ALLOW  # nothing new to learn
        until = math.inf
        if self._locator is not None and self._memory is not None:
            until = self._clock.now() + OBSERVE_EVERY
        revoke = action in REFUSALS and rung.level in self._settings.revoke_on
        return Finding(rung.level, action, rung.why, until, revoke)

    # ---- the ladder ----

    def _climb(self, sighting: _Sighting, preset: Preset) -> Rung:
        trace = sighting.trace
        if trace is not None and sighting.key in trace.barred:
            return _BARRED
        if sighting.at_origin:
            return AT_ORIGIN
        seen = trace.seen.get(sighting.key) if trace is not None else None
        if seen is not None and not PRESETS[preset].exact and trusts(seen.tier, preset):
            sighting.known = True
            return _KNOWN[seen.tier]
        baselines = self._baselines(sighting, preset)
        if self._locator is None:
            return without_data(sighting.client.version, private=sighting.private, baselines=baselines)
        if sighting.private:
            return PRIVATE
        place = sighting.place = self._locator.locate(sighting.client)
        if self._is_exempt(place):
            return Rung(Level.NEAR, f"an exempt operator (AS{place.asn})", Level.NEAR)
        if trace is not None and trace.last_at is not None:
            previous, elapsed = trace.last_place, self._clock.monotonic() - trace.last_at
        else:
            previous = baselines[0].place if baselines else NOWHERE
            elapsed = max(0.0, self._clock.now() - sighting.session.auth_time)
        countries = self._settings.countries
        return with_data(sighting.key, place, baselines, previous=previous, elapsed=elapsed, countries=countries)

    def _baselines(self, sighting: _Sighting, preset: Preset) -> list[Baseline]:
        found: list[Baseline] = []
        origin = sighting.origin
        if origin is not None:
            place = origin.place or (NOWHERE if origin.private else self._locate(origin.probe))
            found.append(Baseline(origin.family, origin.key, origin.private, place, Level.SAME))
        if sighting.trace is not None and not PRESETS[preset].exact:
            found += [
                Baseline(key[0], key, is_private_key(key), seen.place, seen.tier)
                for key, seen in sighting.trace.seen.items()
                if trusts(seen.tier, preset)
            ]
        return found

    def _locate(self, address: IPAddress | None) -> Place:
        return NOWHERE if self._locator is None or address is None else self._locator.locate(address)

    def _is_exempt(self, place: Place | None) -> bool:
        return place is not None and place.asn is not None and place.asn in self._settings.exempt_asns

    def _is_interleaved(self, sighting: _Sighting, rung: Rung, preset: Preset) -> bool:
        trace = sighting.trace
        if trace is None or sighting.at_origin or action_for(rung.level, preset) in REFUSALS:
            return False
        if sighting.private or self._is_exempt(sighting.place) or not _changes_operator(sighting, trace):
            return False
        since = self._clock.monotonic() - WINDOW
        return sum(at >= since for at in trace.switches.get(sighting.client.version, ())) + 1 >= INTERLEAVED

    # ---- memory ----

    def _confirmed(self, sighting: _Sighting) -> Trace | None:
        """A trace with this network, when the session is the sign-in that was asked for from here.

        The first request of the new session decides: the browser that signed in makes it.
        """
        assert self._memory is not None
        session, now = sighting.session, self._clock.now()
        refusal = self._memory.answered(session)
        if refusal is None or refusal.network != sighting.key or sighting.at_origin:
            return None
        if now - refusal.last > REFUSAL_LIFE or now - session.auth_time > CONFIRM_WITHIN:
            return None
        if sighting.origin is None and self._settings.missing is Missing.DENY:
            return None
        trace = self._memory.begin(session)
        place = NOWHERE if sighting.private else self._locate(sighting.client)
        trace.seen[sighting.key] = Seen(place, Level.SAME, self._clock.monotonic())
        self._memory.learned(session, trace)
        return trace

    def _accept(self, sighting: _Sighting, rung: Rung, finding: Finding, preset: Preset) -> None:
        """Note an accepted request. Without a locator only what is learned is worth a trace."""
        assert self._memory is not None
        if sighting.private or self._is_exempt(sighting.place):
            return
        if finding.action is Action.LOG and action_for(rung.level, Preset.RELAXED) in REFUSALS:
            return  # what would have been refused is no sign of life
        learn = learns(rung.level, preset) and finding.action in _TAKES_NOTE
        trace = sighting.trace
        if trace is None:
            if self._locator is None and not learn:
                return
            trace = self._memory.begin(sighting.session)
        now = self._clock.monotonic()
        seen = trace.seen.get(sighting.key)
        if seen is not None:
            seen.at = now
        elif learn or sighting.at_origin:
            place = sighting.place or self._locate(sighting.client)
            _make_room(trace.seen)
            seen = trace.seen[sighting.key] = Seen(place, rung.tier, now)
            self._memory.learned(sighting.session, trace)
        family = sighting.client.version
        if trace.last.get(family) != sighting.key:
            if _changes_operator(sighting, trace):
                recent = [at for at in trace.switches.get(family, ()) if at >= now - WINDOW]
                trace.switches[family] = [*recent[-INTERLEAVED:], now]
            trace.last[family] = sighting.key
        trace.last_at = now
        trace.last_place = seen.place if seen is not None else sighting.place or NOWHERE


_TAKES_NOTE: Final = frozenset({Action.LEARN, Action.LOG})

_MISSING: Final = {
    Missing.ALLOW: Action.ALLOW,
    Missing.LEARN: Action.LEARN,
    Missing.DENY: Action.REAUTHENTICATE,
}


def _refusal(key: NetworkKey, session: SessionKey, now: float) -> Refusal:
    return Refusal(key, session.auth_time, at=now, last=now)


def _changes_operator(sighting: _Sighting, trace: Trace) -> bool:
    """Whether the last request of this family came over another operator, as far as is known."""
    last = trace.last.get(sighting.client.version)
    if last is None or last == sighting.key:
        return False
    before, now = trace.seen.get(last), trace.seen.get(sighting.key)
    there = before.place if before is not None else NOWHERE
    here = sighting.place or (now.place if now is not None else NOWHERE)
    if AddressClass.RELAY in {there.kind, here.kind} and there.country == here.country:
        return False
    return there.asn is None or there.asn != here.asn


def _bar(sighting: _Sighting) -> Rung:
    """Take the network for an intruder's until somebody signs in."""
    trace = sighting.trace
    assert trace is not None
    while len(trace.barred) >= MAX_LEARNED:
        del trace.barred[next(iter(trace.barred))]
    trace.barred[sighting.key] = None
    trace.seen.pop(sighting.key, None)
    return Rung(Level.SUSPICIOUS, "two networks in turns", Level.SUSPICIOUS)


def _make_room(seen: dict[NetworkKey, Seen]) -> None:
    """Forget the network that was used least lately; the sign-in's own goes last."""
    while len(seen) >= MAX_LEARNED:
        del seen[min(seen, key=lambda key: (seen[key].tier is Level.SAME, seen[key].at))]


class _NoClock:
    """Stands where nothing depends on time."""

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0
