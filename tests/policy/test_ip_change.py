"""The ladder: address pairs through every preset, and what each level leads to."""

from __future__ import annotations

import itertools

import pytest

from gateway.core.client_ip import IPAddress, parse_address
from gateway.core.network import AddressClass, NetworkKey, Place, SessionKey, is_private, public_key
from gateway.core.session import NetworkAction as Action
from gateway.core.session import NetworkLevel as Level
from gateway.policy.baselines import origin_of
from gateway.policy.ip_change import Baseline, Preset, action_for, compare, learns, trusts, weaker, with_data
from gateway.policy.networks import NetworkJudge

SAME, MOVED, UNKNOWN = Level.SAME, Level.MOVED, Level.UNKNOWN
NEAR, ROAMED, TRAVELLED, SUSPICIOUS = Level.NEAR, Level.ROAMED, Level.TRAVELLED, Level.SUSPICIOUS

PAIRS: list[tuple[object, str | None, Level, Level]] = [
    # sign-in claim, request address, level, level when the exact address is demanded
    ("203.0.113.9", "203.0.113.9", SAME, SAME),
    ("203.0.113.9", "203.0.113.200", SAME, MOVED),
    ("203.0.113.0", "203.0.113.255", SAME, MOVED),
    ("203.0.113.9", "203.0.112.9", MOVED, MOVED),
    ("203.0.113.9", "203.0.114.9", MOVED, MOVED),
    ("203.0.113.9", "198.51.100.7", MOVED, MOVED),
    ("8.8.8.8", "1.1.1.1", MOVED, MOVED),
    ("::ffff:203.0.113.9", "203.0.113.9", SAME, SAME),
    ("::ffff:203.0.113.9", "203.0.113.10", SAME, MOVED),
    ("203.0.113.9", "::ffff:203.0.113.9", SAME, SAME),
    ("::ffff:203.0.113.9", "198.51.100.7", MOVED, MOVED),
    ("2001:db8:1:2::1", "2001:db8:1:2::1", SAME, SAME),
    ("2001:DB8:1:2:0:0:0:1", "2001:db8:1:2::1", SAME, SAME),
    ("2001:db8:1:2:aaaa::1", "2001:db8:1:2:bbbb::9", SAME, MOVED),
    ("2001:db8:1:2::", "2001:db8:1:2:ffff:ffff:ffff:ffff", SAME, MOVED),
    ("2001:db8:1:2::1", "2001:db8:1:3::1", MOVED, MOVED),
    ("2001:db8:1:2::1", "2001:db9::1", MOVED, MOVED),
    ("203.0.113.9", "2001:db8::1", UNKNOWN, UNKNOWN),
    ("2001:db8::1", "203.0.113.9", UNKNOWN, UNKNOWN),
    ("10.0.0.1", "10.0.0.1", SAME, SAME),
    ("10.0.0.1", "10.0.0.2", UNKNOWN, UNKNOWN),
    ("10.0.0.1", "203.0.113.9", UNKNOWN, UNKNOWN),
    ("203.0.113.9", "192.168.1.7", UNKNOWN, UNKNOWN),
    ("203.0.113.9", "172.16.0.1", UNKNOWN, UNKNOWN),
    ("203.0.113.9", "172.32.0.1", MOVED, MOVED),
    ("203.0.113.9", "100.64.0.1", UNKNOWN, UNKNOWN),
    ("203.0.113.9", "100.128.0.1", MOVED, MOVED),
    ("203.0.113.9", "127.0.0.1", UNKNOWN, UNKNOWN),
    ("203.0.113.9", "169.254.1.1", UNKNOWN, UNKNOWN),
    ("203.0.113.9", "0.0.0.0", UNKNOWN, UNKNOWN),
    ("203.0.113.9", "224.0.0.1", UNKNOWN, UNKNOWN),
    ("127.0.0.1", "127.0.0.1", SAME, SAME),
    ("::1", "::1", SAME, SAME),
    ("::1", "127.0.0.1", UNKNOWN, UNKNOWN),
    ("::1", "2001:db8::1", UNKNOWN, UNKNOWN),
    ("2001:db8::1", "fd00::1", UNKNOWN, UNKNOWN),
    ("2001:db8::1", "fe80::1", UNKNOWN, UNKNOWN),
    ("2001:db8::1", "fe80::1%eth0", UNKNOWN, UNKNOWN),
    ("fe80::1%eth0", "fe80::1", SAME, SAME),
    (None, "203.0.113.9", UNKNOWN, UNKNOWN),
    ("", "203.0.113.9", UNKNOWN, UNKNOWN),
    ("unknown", "203.0.113.9", UNKNOWN, UNKNOWN),
    ("203.0.113.009", "203.0.113.9", UNKNOWN, UNKNOWN),
    ("203.0.113.9 ", "203.0.113.9", UNKNOWN, UNKNOWN),
    ("203.0.113.9, 198.51.100.7", "203.0.113.9", UNKNOWN, UNKNOWN),
    ("203.0.113.9:443", "203.0.113.9", UNKNOWN, UNKNOWN),
    (["203.0.113.9"], "203.0.113.9", UNKNOWN, UNKNOWN),
    (3405803785, "203.0.113.9", UNKNOWN, UNKNOWN),
    (True, "203.0.113.9", UNKNOWN, UNKNOWN),
    ({"ip": "203.0.113.9"}, "203.0.113.9", UNKNOWN, UNKNOWN),
    ("203.0.113.9", None, UNKNOWN, UNKNOWN),
    (None, None, UNKNOWN, UNKNOWN),
    # IPv4 and IPv6 in turns
    ("2001:db8:1:2::1", "::ffff:203.0.113.9", UNKNOWN, UNKNOWN),
    ("::ffff:203.0.113.9", "2001:db8:1:2::1", UNKNOWN, UNKNOWN),
    # IPv6 privacy addresses of one link, and links of one site
    ("2001:db8:1:2:5054:ff:fe12:3456", "2001:db8:1:2:c8a3:19ff:7bd1:42e0", SAME, MOVED),
    ("2001:db8:1:200::1", "2001:db8:1:2ff::1", MOVED, MOVED),
    ("64:ff9b::203.0.113.9", "203.0.113.9", UNKNOWN, UNKNOWN),
    # carrier-grade NAT on either side
    ("100.64.0.1", "203.0.113.9", UNKNOWN, UNKNOWN),
    ("100.64.0.1", "100.64.0.1", SAME, SAME),
    ("100.64.0.1", "100.64.0.2", UNKNOWN, UNKNOWN),
    ("100.63.255.1", "100.64.0.1", UNKNOWN, UNKNOWN),
    ("100.63.255.1", "100.63.255.2", SAME, MOVED),
    # private blocks and their edges
    ("fd00::1", "fd00::1", SAME, SAME),
    ("fd00::1", "fd00::2", UNKNOWN, UNKNOWN),
    ("172.31.255.1", "172.31.255.2", UNKNOWN, UNKNOWN),
    ("192.168.1.7", "2001:db8::1", UNKNOWN, UNKNOWN),
    ("::", "::1", UNKNOWN, UNKNOWN),
    # malformed claims
    ("203.0.113.9/24", "203.0.113.9", UNKNOWN, UNKNOWN),
    ("2001:db8::1%", "2001:db8::1", UNKNOWN, UNKNOWN),
    ("[2001:db8::1]", "2001:db8::1", UNKNOWN, UNKNOWN),
    ("3405803785", "203.0.113.9", UNKNOWN, UNKNOWN),
    (203.5, "203.0.113.9", UNKNOWN, UNKNOWN),
]


def address(text: str | None) -> IPAddress | None:
    return None if text is None else parse_address(text)


@pytest.mark.parametrize(("claim", "request_address", "level", "exact"), PAIRS)
def test_address_pairs(claim: object, request_address: str | None, level: Level, exact: Level) -> None:
    """... compares networks of one family and says so where nothing can be compared."""
    assert compare(claim, address(request_address)) is level
    assert compare(claim, address(request_address), exact=True) is exact


ALLOW, LOG, LEARN, AGAIN, END = (
    Action.ALLOW,
    Action.LOG,
    Action.LEARN,
    Action.REAUTHENTICATE,
    Action.DENY_SESSION,
)

LEVELS = (SAME, NEAR, ROAMED, UNKNOWN, MOVED, TRAVELLED, SUSPICIOUS)

ACTIONS = {
    Preset.OFF: (ALLOW, ALLOW, ALLOW, ALLOW, ALLOW, ALLOW, ALLOW),
    Preset.MONITOR: (ALLOW, LOG, LOG, LOG, LOG, LOG, LOG),
    Preset.RELAXED: (ALLOW, LEARN, LEARN, LEARN, AGAIN, AGAIN, AGAIN),
    Preset.STRICT: (ALLOW, LEARN, AGAIN, AGAIN, AGAIN, AGAIN, END),
    Preset.PINNED: (ALLOW, AGAIN, AGAIN, AGAIN, AGAIN, AGAIN, AGAIN),
}


@pytest.mark.parametrize(("preset", "level"), list(itertools.product(Preset, LEVELS)))
def test_presets(preset: Preset, level: Level) -> None:
    """... maps each level to the preset's action."""
    assert action_for(level, preset) is ACTIONS[preset][LEVELS.index(level)]


@pytest.mark.parametrize("preset", list(Preset))
@pytest.mark.parametrize(("claim", "request_address", "level", "exact"), PAIRS)
def test_address_pairs_through_every_preset(
    preset: Preset, claim: object, request_address: str | None, level: Level, exact: Level
) -> None:
    """... judges every pair by every preset as the two tables say."""
    finding = NetworkJudge().weigh(SessionKey("ada", 0), origin_of(claim, None), address(request_address), preset)
    expected = exact if preset is Preset.PINNED else level
    assert (finding.level, finding.action) == (expected, ACTIONS[preset][LEVELS.index(expected)])


def test_a_route_trusts_what_it_would_have_learned() -> None:
    """... never lets a strict route trust what a relaxed one has learned."""
    assert [level for level in LEVELS if trusts(level, Preset.STRICT)] == [SAME, NEAR]
    assert [level for level in LEVELS if trusts(level, Preset.RELAXED)] == [SAME, NEAR, ROAMED, UNKNOWN]
    assert [level for level in LEVELS if trusts(level, Preset.MONITOR)] == [SAME, NEAR, ROAMED, UNKNOWN]
    assert [level for level in LEVELS if trusts(level, Preset.PINNED)] == [SAME]
    assert not learns(SAME, Preset.RELAXED)


def test_a_chain_is_as_strong_as_its_weakest_link() -> None:
    """... counts a chain of acceptances as its weakest one."""
    assert weaker(NEAR, ROAMED) is ROAMED
    assert weaker(UNKNOWN, NEAR) is UNKNOWN
    assert weaker(SAME, SAME) is SAME


# ---- the ladder, with facts as databases give them ----

HOME = Place(64496, "DE")
SAME_OPERATOR = Place(64496, "AT")
OTHER_OPERATOR = Place(64497, "DE")
ABROAD = Place(64498, "FR")
NOTHING = Place()
RELAY_DE = Place(64500, "DE", kind=AddressClass.RELAY)
RELAY_FR = Place(64500, "FR", kind=AddressClass.RELAY)
OTHER_RELAY_DE = Place(64501, "DE", kind=AddressClass.RELAY)
HOSTING = Place(64510, "DE", kind=AddressClass.HOSTING)
HOSTING_ABROAD = Place(64511, "NL", kind=AddressClass.HOSTING)
HOUR = 3600.0

LADDER: list[tuple[str, Place, Place, float, Level]] = [
    # what, place of the baseline, place of the request, seconds since the session was seen, level
    ("same operator", HOME, HOME, 0, NEAR),
    ("same operator, other country by one database", HOME, SAME_OPERATOR, 0, NEAR),
    ("other operator at home", HOME, OTHER_OPERATOR, 0, ROAMED),
    ("abroad after a night", HOME, ABROAD, 9 * HOUR, TRAVELLED),
    ("abroad after six hours and a second", HOME, ABROAD, 6 * HOUR + 1, TRAVELLED),
    ("abroad after six hours", HOME, ABROAD, 6 * HOUR, SUSPICIOUS),
    ("abroad at once", HOME, ABROAD, 0, SUSPICIOUS),
    ("no data on the request", HOME, NOTHING, 0, UNKNOWN),
    ("no data on the sign-in", NOTHING, ABROAD, 0, UNKNOWN),
    ("no data at all", NOTHING, NOTHING, 0, UNKNOWN),
    ("only countries, the same", Place(None, "DE"), Place(None, "DE"), 0, ROAMED),
    ("only countries, others", Place(None, "DE"), Place(None, "FR"), 0, UNKNOWN),
    ("other country, operator of the request not known", HOME, Place(None, "FR"), 0, UNKNOWN),
    ("other country, operator of the sign-in not known", Place(None, "DE"), ABROAD, 0, UNKNOWN),
    ("only operators, others", Place(64496), Place(64497), 0, UNKNOWN),
    ("only operators, the same", Place(64496), Place(64496), 0, NEAR),
    ("relay switched on", HOME, RELAY_DE, 0, ROAMED),
    ("relay switched off", RELAY_DE, HOME, 0, ROAMED),
    ("relay of another operator", RELAY_DE, OTHER_RELAY_DE, 0, NEAR),
    ("relay of the same operator, other country", RELAY_DE, RELAY_FR, 0, SUSPICIOUS),
    ("relay of another country after a night", HOME, RELAY_FR, 9 * HOUR, TRAVELLED),
    ("relay without a country", HOME, Place(64500, None, kind=AddressClass.RELAY), 0, UNKNOWN),
    ("VPN switched on", HOME, HOSTING, 0, SUSPICIOUS),
    ("VPN switched on after a night", HOME, HOSTING_ABROAD, 9 * HOUR, SUSPICIOUS),
    ("VPN switched off", HOSTING, HOME, 0, ROAMED),
    ("another exit of the VPN", HOSTING, HOSTING, 0, NEAR),
    ("another VPN at home", Place(64512, "DE", kind=AddressClass.HOSTING), HOSTING, 0, ROAMED),
    ("VPN, and the sign-in's operator not known", NOTHING, HOSTING, 0, UNKNOWN),
    ("a flight", Place(1, "DE", (52.5, 13.4)), Place(2, "US", (40.6, -73.8)), 8 * HOUR, TRAVELLED),
    ("no flight is so fast", Place(1, "DE", (52.5, 13.4)), Place(2, "US", (40.6, -73.8)), 6 * HOUR, SUSPICIOUS),
    ("across the border at once", Place(1, "DE", (47.6, 7.6)), Place(2, "CH", (47.5, 7.6)), 0, TRAVELLED),
]

V4, OTHER_V4 = (
    public_key(address_) for address_ in (parse_address("203.0.113.9"), parse_address("198.51.100.7")) if address_
)


def base(place: Place, *, key: NetworkKey = V4, tier: Level = SAME, private: bool = False) -> Baseline:
    return Baseline(key[0], key, private, place, tier)


@pytest.mark.parametrize(("what", "there", "here", "elapsed", "level"), LADDER)
def test_the_ladder(what: str, there: Place, here: Place, elapsed: float, level: Level) -> None:
    """... climbs to the level that the facts allow, and names them."""
    rung = with_data(OTHER_V4, here, [base(there)], previous=there, elapsed=elapsed)
    assert rung.level is level
    assert rung.why


WHY: list[tuple[Place | None, Place, float, str]] = [
    (None, HOME, 0, "no usable claim"),
    (HOME, HOME, 0, "the same operator (AS64496)"),
    (HOME, OTHER_OPERATOR, 0, "from AS64496 to AS64497 in DE"),
    (HOME, ABROAD, 9 * HOUR, "from AS64496 in DE to AS64498 in FR"),
    (HOME, ABROAD, 0, "from AS64496 in DE to AS64498 in FR, too soon"),
    (HOME, NOTHING, 0, "no data to compare"),
    (HOME, Place(None, "FR"), 0, "from DE to FR, but the operators are not known"),
    (Place(None, "DE"), OTHER_OPERATOR, 0, "from an unknown operator to AS64497 in DE"),
    (HOME, RELAY_DE, 0, "from AS64496 to a privacy relay in DE"),
    (RELAY_DE, OTHER_RELAY_DE, 0, "a privacy relay in DE, as before"),
    (HOME, HOSTING, 0, "first move to a hosting network (AS64510)"),
]


@pytest.mark.parametrize(("there", "here", "elapsed", "why"), WHY)
def test_the_evidence_is_told(there: Place | None, here: Place, elapsed: float, why: str) -> None:
    """... says in a few words what a level rests on."""
    bases = [] if there is None else [base(there)]
    rung = with_data(OTHER_V4, here, bases, previous=there or NOTHING, elapsed=elapsed)
    assert rung.why == why


@pytest.mark.parametrize(
    ("claim", "request_address", "why"),
    [
        (None, "203.0.113.9", "no usable claim"),
        ("203.0.113.9", "203.0.113.9", "the sign-in's network"),
        ("203.0.113.9", "10.0.0.1", "a private address"),
        ("10.0.0.1", "203.0.113.9", "signed in from a private address"),
        ("2001:db8::1", "203.0.113.9", "signed in over the other address family"),
        ("198.51.100.7", "203.0.113.9", "another IPv4 network"),
        ("203.0.113.9", None, "no client address"),
    ],
)
@pytest.mark.parametrize("preset", [Preset.OFF, Preset.RELAXED])
def test_the_evidence_is_told_without_data(
    preset: Preset, claim: object, request_address: str | None, why: str
) -> None:
    """... says what could not be compared, by whatever preset."""
    finding = NetworkJudge().weigh(SessionKey("ada", 0), origin_of(claim, None), address(request_address), preset)
    assert finding.why == why


@pytest.mark.parametrize(
    ("there", "here", "key", "level"),
    [
        (Place(64496), Place(64496), OTHER_V4, NEAR),
        (Place(64496), Place(64497), OTHER_V4, MOVED),
        (Place(64496), Place(64497), (6, 1), UNKNOWN),
        (Place(64496), NOTHING, OTHER_V4, UNKNOWN),
        (NOTHING, Place(64496), OTHER_V4, UNKNOWN),
    ],
)
def test_operators_alone(there: Place, here: Place, key: NetworkKey, level: Level) -> None:
    """... holds to the sign-in's operator where no country database is configured, and lets no other one pass."""
    assert with_data(key, here, [base(there)], previous=there, elapsed=0, countries=False).level is level


def test_links_of_one_site_are_near() -> None:
    """... takes another link of one IPv6 /48 for near, data or not."""
    keys = [
        public_key(found)
        for text in ("2001:db8:1:2::1", "2001:db8:1:9::1", "2001:db8:2::1")
        if (found := address(text))
    ]
    near, far = (with_data(key, NOTHING, [base(NOTHING, key=keys[0])], previous=NOTHING, elapsed=0) for key in keys[1:])
    assert (near.level, far.level) == (NEAR, UNKNOWN)
    assert near.why == "the same IPv6 /48"


def test_the_nearest_baseline_counts() -> None:
    """... compares with every network that the session may be on, and takes the best answer."""
    bases = [base(ABROAD), base(HOME, tier=ROAMED), base(NOTHING, tier=UNKNOWN)]
    rung = with_data(OTHER_V4, HOME, bases, previous=ABROAD, elapsed=0)
    assert (rung.level, rung.tier) == (NEAR, ROAMED)
    bases = [base(NOTHING), base(OTHER_OPERATOR)]
    assert with_data(OTHER_V4, Place(64499, "DE"), bases, previous=NOTHING, elapsed=0).level is ROAMED
    bases = [base(NOTHING), base(ABROAD)]
    assert with_data(OTHER_V4, HOME, bases, previous=NOTHING, elapsed=9 * HOUR).level is TRAVELLED


def test_of_two_equal_answers_the_stronger_chain_counts() -> None:
    """... learns a network by the strongest chain that leads to it."""
    rung = with_data(OTHER_V4, HOME, [base(HOME, tier=UNKNOWN), base(HOME)], previous=HOME, elapsed=0)
    assert (rung.level, rung.tier) == (NEAR, NEAR)


def test_private_baselines_say_nothing() -> None:
    """... compares with no private address."""
    rung = with_data(OTHER_V4, HOME, [base(HOME, private=True)], previous=HOME, elapsed=0)
    assert rung.level is UNKNOWN


def test_with_no_baseline_nothing_is_suspicious() -> None:
    """... has nothing against a session's first network, not even when it is a hosting operator's."""
    assert with_data(OTHER_V4, HOSTING, [], previous=NOTHING, elapsed=0).level is UNKNOWN


def test_documentation_addresses_are_ordinary() -> None:
    """... counts only addresses as private that mean something else elsewhere."""
    for text in ("203.0.113.9", "198.51.100.7", "192.0.2.1", "2001:db8::1"):
        found = parse_address(text)
        assert found is not None
        assert not is_private(found)
