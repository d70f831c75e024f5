"""The ladder: how a request's network stands to those of its session, and what each preset does about it.

The rule this file obeys (``signInIpAddress`` as Google's blocking-functions page proposes it, with the published
sample's inverted condition put right): a session that shows up on another network than the one it was begun on is asked
to sign in again. Since honest people move, change address families and sit behind address translation, five things are
settled:

1. *Networks are compared, not addresses*, and private addresses not at all (:mod:`gateway.core.network`).
2. *Prefixes are never compared across families.* The same device alternates between IPv4 and IPv6 (RFC 8305), and
   Google may have seen the one where we see the other. There is one baseline for each family; across families only the
   operator (autonomous system) and the country say something.
3. *The nearest baseline counts.* A session stands at the network of its sign-in and at those it was accepted on since.
4. *A country by itself refuses nobody.* Country databases disagree about one address in fourteen (IPv4) to one in five
   (IPv6 ranges); only together with a change of operator does another country count.
5. *Missing data is* ``unknown``, never ``suspicious``.

Without a database there are three levels: ``same``, ``moved`` (another network of the same family) and ``unknown``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.client_ip import IPAddress
from gateway.core.network import NOWHERE, AddressClass, NetworkKey, Place, is_private, same_site
from gateway.core.session import NetworkAction as Action
from gateway.core.session import NetworkLevel as Level
from gateway.policy.baselines import Origin, origin_of
from gateway.policy.travel import is_plausible


class Preset(enum.StrEnum):
    """Named policies; :data:`PRESETS` has their tables."""

    OFF = "off"
    MONITOR = "monitor"
    RELAXED = "relaxed"
    STRICT = "strict"
    PINNED = "pinned"


@dataclass(frozen=True, slots=True)
class NetworkRules:
    """What each level leads to. ``exact``: only the very address of the sign-in counts as the same network."""

    near: Action
    roamed: Action
    travelled: Action
    suspicious: Action
    moved: Action
    unknown: Action
    exact: bool = False


PRESETS: Final[dict[Preset, NetworkRules]] = {
    # Nothing is compared.
    Preset.OFF: NetworkRules(*6 * (Action.ALLOW,)),
    # For the weeks before enforcing: decisions are logged with the level that `relaxed` would see, and all pass.
    Preset.MONITOR: NetworkRules(*6 * (Action.LOG,)),
    # The default: whoever can have moved there passes, and what is certainly elsewhere asks for a sign-in.
    Preset.RELAXED: NetworkRules(
        near=Action.LEARN,
        roamed=Action.LEARN,
        travelled=Action.REAUTHENTICATE,
        suspicious=Action.REAUTHENTICATE,
        moved=Action.REAUTHENTICATE,
        unknown=Action.LEARN,
    ),
    # For routes worth a sign-in more: one operator, and what cannot be compared is not trusted either.
    Preset.STRICT: NetworkRules(
        near=Action.LEARN,
        roamed=Action.REAUTHENTICATE,
        travelled=Action.REAUTHENTICATE,
        suspicious=Action.DENY_SESSION,
        moved=Action.REAUTHENTICATE,
        unknown=Action.REAUTHENTICATE,
    ),
    # For clients with a fixed address: the very address of the sign-in, as Teleport's pinning does it.
    Preset.PINNED: NetworkRules(*6 * (Action.REAUTHENTICATE,), exact=True),
}

_ACTIONS: Final[dict[Preset, dict[Level, Action]]] = {
    preset: {level: Action.ALLOW if level is Level.SAME else getattr(rules, level) for level in Level}
    for preset, rules in PRESETS.items()
}

REFUSALS: Final = frozenset({Action.REAUTHENTICATE, Action.DENY_SESSION})

_RANK: Final = {
    level: rank
    for rank, level in enumerate(
        (Level.SAME, Level.NEAR, Level.ROAMED, Level.UNKNOWN, Level.MOVED, Level.TRAVELLED, Level.SUSPICIOUS)
    )
}


def action_for(level: Level, preset: Preset) -> Action:
    """What a preset does about a level."""
    return _ACTIONS[preset][level]


def learns(level: Level, preset: Preset) -> bool:
    """Whether a network of this level is remembered for the session. ``monitor`` learns what ``relaxed`` would."""
    return action_for(level, Preset.RELAXED if preset is Preset.MONITOR else preset) is Action.LEARN


def trusts(tier: Level, preset: Preset) -> bool:
    """Whether a network that was accepted at ``tier`` is a baseline here: a route trusts what it would have learned."""
    return tier is Level.SAME or learns(tier, preset)


def weaker(one: Level, other: Level) -> Level:
    """The one of two levels that says less for the session: the strength of a chain of acceptances."""
    return one if _RANK[one] >= _RANK[other] else other


@dataclass(frozen=True, slots=True)
class Baseline:
    """A network that the session may be on; ``key`` is None where only a hash of it is known."""

    family: int
    key: NetworkKey | None
    private: bool
    place: Place
    tier: Level


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder: a level, its evidence in a few words, and the tier at which the network is learned."""

    level: Level
    why: str
    tier: Level


AT_ORIGIN: Final = Rung(Level.SAME, "the sign-in's network", Level.SAME)
PRIVATE: Final = Rung(Level.UNKNOWN, "a private address", Level.UNKNOWN)
_NO_CLAIM: Final = Rung(Level.UNKNOWN, "no usable claim", Level.UNKNOWN)


def without_data(family: int, *, private: bool, baselines: Iterable[Baseline]) -> Rung:
    """The ladder when there is no database: for a network that is none of the baselines."""
    if private:
        return PRIVATE
    known = list(baselines)
    if not known:
        return _NO_CLAIM
    if any(base.family == family and not base.private for base in known):
        return Rung(Level.MOVED, f"another IPv{family} network", Level.MOVED)
    other = any(not base.private for base in known)
    why = "signed in over the other address family" if other else "signed in from a private address"
    return Rung(Level.UNKNOWN, why, Level.UNKNOWN)


def with_data(
    key: NetworkKey,
    place: Place,
    baselines: Sequence[Baseline],
    *,
    previous: Place,
    elapsed: float,
    countries: bool = True,
) -> Rung:
    """The ladder when databases are configured: for a public network that is none of the baselines.

    :param previous: where the session was last, ``elapsed`` seconds ago.
    :param countries: a country database is configured. Where there is none, another operator of the same family is
        ``moved``, as without any database; where there is one and it does not know, the answer is ``unknown``.
    """
    best = Rung(Level.UNKNOWN, "no usable claim" if not baselines else "no data to compare", Level.UNKNOWN)
    found: list[Rung] = []
    for base in baselines:
        if not base.private:
            level, why = _against(key, place, base, countries=countries)
            found.append(Rung(level, why, weaker(level, base.tier)))
    if found:
        # `unknown` against one baseline says nothing about the others.
        telling = [rung for rung in found if rung.level is not Level.UNKNOWN]
        best = min(telling or found, key=lambda rung: (_RANK[rung.level], _RANK[rung.tier]))
    if best.level is Level.NEAR:
        return best
    if _first_hosting(place, baselines):
        return Rung(Level.SUSPICIOUS, f"first move to a hosting network ({_operator(place)})", Level.SUSPICIOUS)
    if best.level is Level.TRAVELLED and not is_plausible(previous.location, place.location, elapsed):
        return Rung(Level.SUSPICIOUS, f"{best.why}, too soon", Level.SUSPICIOUS)
    return best


def _against(key: NetworkKey, place: Place, base: Baseline, *, countries: bool) -> tuple[Level, str]:
    if base.key is not None and same_site(key, base.key):
        return Level.NEAR, "the same IPv6 /48"
    here, there = place.country, base.place.country
    relays = (place.kind is AddressClass.RELAY) + (base.place.kind is AddressClass.RELAY)
    # A relay's operator says nothing about its user's; its country does, because relays are made to keep it.
    if not relays and place.asn is not None and place.asn == base.place.asn:
        return Level.NEAR, f"the same operator ({_operator(place)})"
    if not countries and key[0] == base.family and place.asn is not None and base.place.asn is not None:
        return Level.MOVED, f"from {_operator(base.place)} to {_operator(place)}"
    if here is None or there is None:
        return Level.UNKNOWN, "no data to compare"
    if here == there:
        if relays == 2:  # noqa: PLR2004 - both
            return Level.NEAR, f"a privacy relay in {here}, as before"
        return Level.ROAMED, f"from {_operator(base.place)} to {_operator(place)} in {here}"
    if not relays and (place.asn is None or base.place.asn is None):
        return Level.UNKNOWN, f"from {there} to {here}, but the operators are not known"
    return Level.TRAVELLED, f"from {_operator(base.place)} in {there} to {_operator(place)} in {here}"


def _first_hosting(place: Place, baselines: Sequence[Baseline]) -> bool:
    return (
        place.kind is AddressClass.HOSTING
        and any(base.place.asn is not None for base in baselines)
        and all(base.place.kind is not AddressClass.HOSTING for base in baselines)
    )


def _operator(place: Place) -> str:
    if place.kind is AddressClass.RELAY:
        return "a privacy relay"
    return f"AS{place.asn}" if place.asn is not None else "an unknown operator"


def by_origin(origin: Origin | None, family: int, *, same: bool, private: bool) -> Rung:
    """The ladder by the sign-in alone, with no database and nothing learned.

    :param family: of the address that the request comes from, as is ``private``.
    :param same: it is on the sign-in's network.
    """
    if same:
        return AT_ORIGIN
    bases = [] if origin is None else [Baseline(origin.family, origin.key, origin.private, NOWHERE, Level.SAME)]
    return without_data(family, private=private, baselines=bases)


def compare(sign_in: object, request: IPAddress | None, *, exact: bool = False) -> Level:
    """How the request's address stands to the sign-in's alone, with no database and nothing learned.

    :param sign_in: the ``signInIpAddress`` claim as the token has it; anything that is not exactly one address is
        ``unknown``, like an absent claim: the claim is in a signed token, so it is malformed by mistake, not by
        forgery.
    :param exact: the very same address is demanded (``pinned``), private ones included.
    """
    origin = origin_of(sign_in, None)
    if request is None:
        return Level.UNKNOWN
    same = origin is not None and origin.is_same(request, None, exact=exact)
    return by_origin(origin, request.version, same=same, private=is_private(request)).level
