"""Synthetic databases: a small world of documentation and benchmarking addresses, in each form that publishers use.

Operators have numbers of documentation (RFC 5398). ``write`` makes files, as ``mmdb-writer`` does for the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mmdb_writer import MMDBWriter
from netaddr import IPSet

OPERATORS: Final = {
    "203.0.113.0/24": 64496,
    "203.0.114.0/24": 64496,
    "2001:db8:1::/48": 64496,
    "198.51.100.0/24": 64497,
    "2001:db8:99::/48": 64497,
    "192.0.2.0/24": 64498,
    "198.18.0.0/24": 64510,
    "198.19.0.0/24": 64511,
}
COUNTRIES: Final = {
    "203.0.113.0/24": "DE",
    "203.0.114.0/24": "AT",  # databases disagree about the second block of one operator
    "2001:db8:1::/48": "DE",
    "198.51.100.0/24": "DE",
    "2001:db8:99::/48": "DE",
    "192.0.2.0/24": "FR",
    "198.18.0.0/24": "NL",
    "198.19.0.0/24": "US",
}
LOCATIONS: Final = {
    "203.0.113.0/24": (52.5, 13.4),
    "192.0.2.0/24": (48.9, 2.4),
    "198.19.0.0/24": (40.7, -74.0),
}


def write(path: Path, records: Mapping[str, Any], *, family: int = 6) -> Path:
    """Make a database of records by block."""
    writer = MMDBWriter(family, "Test", languages=["en"], description="synthetic", ipv4_compatible=family == 6)
    for block, record in records.items():
        writer.insert_network(IPSet([block]), record)
    writer.to_db_file(str(path))
    return path


def asn_database(path: Path) -> Path:
    """Operators, in the form of GeoLite2-ASN, DB-IP and ip-location-db."""
    return write(path, {block: {"autonomous_system_number": asn} for block, asn in OPERATORS.items()})


def country_database(path: Path) -> Path:
    """Countries, in the form of GeoLite2-Country."""
    return write(path, {block: {"country": {"iso_code": code}} for block, code in COUNTRIES.items()})


def city_database(path: Path) -> Path:
    """Countries and, for some, locations, in the form of GeoLite2-City."""
    records: dict[str, dict[str, Any]] = {block: {"country": {"iso_code": code}} for block, code in COUNTRIES.items()}
    for block, (latitude, longitude) in LOCATIONS.items():
        records[block]["location"] = {"latitude": latitude, "longitude": longitude}
    return write(path, records)
