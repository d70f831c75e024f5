"""Databases of addresses: their forms, their faults, and the ladder over them."""

from __future__ import annotations

import builtins
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters import geoip
from gateway.adapters.geoip import GeoFiles, GeoFilesLocator
from gateway.adapters.network_memory import InProcessNetworks
from gateway.clock import SystemClock
from gateway.core.client_ip import parse_address
from gateway.core.network import NOWHERE, AddressClass, Place, SessionKey
from gateway.core.session import NetworkAction as Action
from gateway.core.session import NetworkLevel as Level
from gateway.errors import ConfigError
from gateway.policy.baselines import origin_of
from gateway.policy.ip_change import Preset
from gateway.policy.networks import NetworkJudge
from tests.support import geo
from tests.support.clock import FakeClock, eventually

DAY = 86_400.0


def locator(tmp_path: Path, *, max_age: Any = 90 * DAY, clock: Any = None, **files: Any) -> GeoFilesLocator:
    found = GeoFilesLocator(GeoFiles(**files), clock or SystemClock(), max_age=max_age)
    found.refresh()
    return found


def place(found: GeoFilesLocator, text: str) -> Place:
    address = parse_address(text)
    assert address is not None
    return found.locate(address)


FORMS: list[tuple[str, dict[str, Any], Place]] = [
    ("MaxMind ASN", {"autonomous_system_number": 64496, "autonomous_system_organization": "x"}, Place(64496)),
    ("IPinfo ASN", {"asn": "AS64496", "name": "x"}, Place(64496)),
    ("a number", {"asn": 64496}, Place(64496)),
    ("nonsense", {"asn": "ASX"}, NOWHERE),
    ("a boolean", {"autonomous_system_number": True}, NOWHERE),
    ("nobody", {"autonomous_system_number": 0}, NOWHERE),
]
COUNTRY_FORMS: list[tuple[str, dict[str, Any], Place]] = [
    ("MaxMind country", {"country": {"iso_code": "DE"}}, Place(None, "DE")),
    (
        "MaxMind city",
        {"country": {"iso_code": "DE"}, "location": {"latitude": 52.5, "longitude": 13.25}},
        Place(None, "DE", (52.5, 13.25)),
    ),
    ("ip-location-db country", {"country_code": "de"}, Place(None, "DE")),
    (
        "ip-location-db city",
        {"country_code": "DE", "latitude": 52.5, "longitude": 13.25},
        Place(None, "DE", (52.5, 13.25)),
    ),
    ("IPinfo", {"country": "DE", "latitude": "52.5", "longitude": "13.25"}, Place(None, "DE", (52.5, 13.25))),
    ("half a location", {"country_code": "DE", "latitude": 52.5}, Place(None, "DE")),
    ("no location on Earth", {"country_code": "DE", "latitude": 52.5, "longitude": 500.0}, Place(None, "DE")),
    ("words", {"country_code": "DE", "latitude": "north", "longitude": "east"}, Place(None, "DE")),
    ("a name", {"country": "Germany"}, NOWHERE),
    ("nothing", {"x": 1}, NOWHERE),
]


@pytest.mark.parametrize(("form", "record", "expected"), FORMS)
def test_forms_of_operators(form: str, record: dict[str, Any], expected: Place, tmp_path: Path) -> None:
    """... reads operators as MaxMind, DB-IP, ip-location-db and IPinfo write them."""
    database = geo.write(tmp_path / "asn.mmdb", {"203.0.113.0/24": record})
    assert place(locator(tmp_path, asn=database), "203.0.113.9") == expected


@pytest.mark.parametrize(("form", "record", "expected"), COUNTRY_FORMS)
def test_forms_of_countries(form: str, record: dict[str, Any], expected: Place, tmp_path: Path) -> None:
    """... reads countries and locations as they all write them."""
    database = geo.write(tmp_path / "country.mmdb", {"203.0.113.0/24": record})
    assert place(locator(tmp_path, country=database), "203.0.113.9") == expected


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    relay, hosting = tmp_path / "relay.csv", tmp_path / "hosting.txt"
    relay.write_text("198.51.100.64/26,DE,DE-BE,Berlin,\n192.0.2.128/25,,,,\n")
    hosting.write_text("AS64510\n203.0.113.128/25\n")
    return {
        "asn": geo.asn_database(tmp_path / "asn.mmdb"),
        "country": geo.city_database(tmp_path / "city.mmdb"),
        "relay": relay,
        "hosting": hosting,
    }


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("203.0.113.9", Place(64496, "DE", (52.5, 13.4))),
        ("2001:db8:1:2::9", Place(64496, "DE")),
        ("198.18.0.1", Place(64510, "NL", kind=AddressClass.HOSTING)),
        ("203.0.113.200", Place(64496, "DE", (52.5, 13.4), AddressClass.HOSTING)),
        ("198.51.100.70", Place(64497, "DE", kind=AddressClass.RELAY)),
        ("192.0.2.200", Place(64498, "FR", kind=AddressClass.RELAY)),
        ("8.8.8.8", NOWHERE),
        ("10.0.0.1", NOWHERE),
        ("fd00::1", NOWHERE),
    ],
)
def test_all_files_together(address: str, expected: Place, world: dict[str, Any], tmp_path: Path) -> None:
    """... puts together what the files say of an address; of private ones they say nothing."""
    found = locator(tmp_path, **world)
    assert place(found, address) == expected
    assert place(found, address) == expected


def test_a_new_file_is_noticed(tmp_path: Path) -> None:
    """... goes on with a new file once it is there, and forgets what the old one said."""
    database = geo.write(tmp_path / "asn.mmdb", {"203.0.113.0/24": {"asn": 64496}})
    found = locator(tmp_path, asn=database)
    assert place(found, "203.0.113.9").asn == 64496
    new = geo.write(tmp_path / "new.mmdb", {"203.0.113.0/24": {"asn": 64497}})
    new.replace(database)
    found.refresh()
    assert place(found, "203.0.113.9").asn == 64497
    os.truncate(database, 10)
    assert place(found, "203.0.113.9").asn == 64497


@pytest.mark.parametrize("fault", ["missing", "broken", "empty", "directory"])
def test_faults_are_unknown_and_told_once(fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """... knows nothing where a file cannot be used, says so once, and says when it can again."""
    database = tmp_path / "asn.mmdb"
    if fault == "broken":
        database.write_bytes(b"\x00" * 4096)
    elif fault == "empty":
        database.touch()
    elif fault == "directory":
        database.mkdir()
    found = locator(tmp_path, asn=database)
    found.refresh()
    assert place(found, "203.0.113.9") is NOWHERE
    assert caplog.text.count("counts as unknown") == 1
    (status,) = found.status()
    assert status.error
    assert found.ages() == {}
    if fault == "directory":
        database.rmdir()
    geo.asn_database(database)
    found.refresh()
    assert place(found, "203.0.113.9").asn == 64496
    assert "in use again" in caplog.text
    assert found.status()[0].error is None


def test_old_data_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """... stops using a database that is older than the operator's limit, and exports the age."""
    database = geo.asn_database(tmp_path / "asn.mmdb")
    clock = FakeClock(SystemClock().now())
    found = locator(tmp_path, clock=clock, asn=database)
    clock.advance(89 * DAY)
    found.refresh()
    assert found.ages()["asn_db"] == pytest.approx(89 * DAY, abs=60)
    assert place(found, "203.0.113.9").asn == 64496
    clock.advance(2 * DAY)
    found.refresh()
    assert place(found, "203.0.113.9") is NOWHERE
    with caplog.at_level(logging.ERROR):
        assert "91 days old" in caplog.text


@pytest.mark.parametrize(("name", "text"), [("relay", "nonsense"), ("hosting", ""), ("relay", "\udcff")])
def test_faulty_lists_say_nothing(name: str, text: str, tmp_path: Path) -> None:
    """... ignores a list that it cannot read as a whole."""
    path = tmp_path / "list"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    found = locator(tmp_path, **{name: path})
    assert place(found, "203.0.113.9") is NOWHERE
    assert found.status()[0].error


def test_an_ipv4_database_knows_no_ipv6(tmp_path: Path) -> None:
    """... takes a database without IPv6 for one that does not know."""
    database = geo.write(tmp_path / "v4.mmdb", {"203.0.113.0/24": {"asn": 64496}}, family=4)
    found = locator(tmp_path, asn=database)
    assert place(found, "203.0.113.9").asn == 64496
    assert place(found, "2001:db8::1") is NOWHERE


def test_without_the_reader_a_database_is_a_fault_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """... says what to install; lists need nothing."""
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name == "maxminddb":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.delitem(sys.modules, "maxminddb", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match="maxminddb"):
        GeoFilesLocator(GeoFiles(asn=tmp_path / "x"), SystemClock(), max_age=DAY)
    GeoFilesLocator(GeoFiles(relay=tmp_path / "x"), SystemClock(), max_age=DAY)


async def test_it_looks_at_the_files_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """... loads the files at its start and looks after them until it is closed."""
    monkeypatch.setattr(geoip, "RELOAD_EVERY", 0.01)
    database = tmp_path / "asn.mmdb"
    found = GeoFilesLocator(GeoFiles(asn=database), SystemClock(), max_age=DAY)
    await found.start()
    assert found.status()[0].error
    geo.asn_database(tmp_path / "new.mmdb").replace(database)
    await eventually(lambda: found.status()[0].error is None)
    await found.close()
    await found.close()


LADDER = [
    # sign-in, request, hours since, level, relaxed, strict
    ("203.0.113.9", "203.0.113.77", 0, Level.SAME, Action.ALLOW, Action.ALLOW),
    ("203.0.113.9", "203.0.114.9", 0, Level.NEAR, Action.LEARN, Action.LEARN),
    ("203.0.113.9", "2001:db8:1:2::9", 0, Level.NEAR, Action.LEARN, Action.LEARN),
    ("2001:db8:1:2::9", "2001:db8:1:7::9", 0, Level.NEAR, Action.LEARN, Action.LEARN),
    ("203.0.113.9", "198.51.100.7", 0, Level.ROAMED, Action.LEARN, Action.REAUTHENTICATE),
    ("203.0.113.9", "2001:db8:99::7", 0, Level.ROAMED, Action.LEARN, Action.REAUTHENTICATE),
    ("203.0.113.9", "198.51.100.70", 0, Level.ROAMED, Action.LEARN, Action.REAUTHENTICATE),
    ("203.0.113.9", "192.0.2.1", 1, Level.TRAVELLED, Action.REAUTHENTICATE, Action.REAUTHENTICATE),
    ("203.0.113.9", "192.0.2.1", 0, Level.SUSPICIOUS, Action.REAUTHENTICATE, Action.DENY_SESSION),
    ("203.0.113.9", "198.19.0.1", 5, Level.SUSPICIOUS, Action.REAUTHENTICATE, Action.DENY_SESSION),
    ("203.0.113.9", "198.19.0.1", 7, Level.TRAVELLED, Action.REAUTHENTICATE, Action.REAUTHENTICATE),
    ("203.0.113.9", "198.18.0.1", 9, Level.SUSPICIOUS, Action.REAUTHENTICATE, Action.DENY_SESSION),
    ("203.0.113.9", "8.8.8.8", 0, Level.UNKNOWN, Action.LEARN, Action.REAUTHENTICATE),
    ("203.0.113.9", "192.168.1.7", 0, Level.UNKNOWN, Action.LEARN, Action.REAUTHENTICATE),
    ("8.8.8.8", "203.0.113.9", 0, Level.UNKNOWN, Action.LEARN, Action.REAUTHENTICATE),
    (None, "203.0.113.9", 0, Level.UNKNOWN, Action.LEARN, Action.REAUTHENTICATE),
]


@pytest.mark.parametrize(("sign_in", "request_", "hours", "level", "relaxed", "strict"), LADDER)
def test_the_ladder_over_synthetic_databases(
    sign_in: str | None,
    request_: str,
    hours: float,
    level: Level,
    relaxed: Action,
    strict: Action,
    world: dict[str, Any],
    tmp_path: Path,
) -> None:
    """... judges by real files as the tables say: city, operator, relay and hosting."""
    clock = FakeClock(SystemClock().now())
    found = locator(tmp_path, **world)
    session = SessionKey("ada", int(clock.now() - hours * 3600))
    monitor = Action.ALLOW if level is Level.SAME else Action.LOG
    for preset, action in ((Preset.STRICT, strict), (Preset.MONITOR, monitor), (Preset.RELAXED, relaxed)):
        judge = NetworkJudge(memory=InProcessNetworks(), locator=found, clock=clock)
        finding = judge.weigh(session, origin_of(sign_in, None), parse_address(request_), preset)
        assert (finding.level, finding.action) == (level, action)


@pytest.mark.parametrize(("sign_in", "request_"), [("203.0.113.9", "192.0.2.1"), ("203.0.113.9", "198.51.100.7")])
def test_broken_databases_refuse_nobody(sign_in: str, request_: str, tmp_path: Path) -> None:
    """... falls back to unknown, which relaxed lets pass and strict does not."""
    judge = NetworkJudge(
        memory=InProcessNetworks(), locator=locator(tmp_path, asn=tmp_path / "nowhere"), clock=FakeClock()
    )
    session = SessionKey("ada", 0)
    answers = {
        preset: judge.weigh(session, origin_of(sign_in, None), parse_address(request_), preset).action
        for preset in (Preset.STRICT, Preset.RELAXED)
    }
    assert answers == {Preset.STRICT: Action.REAUTHENTICATE, Preset.RELAXED: Action.LEARN}
