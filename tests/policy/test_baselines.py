"""Where a session began: the two forms of the claim, and how the log keeps them."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest

from gateway.core.network import Place
from gateway.policy.baselines import network_claim, network_digest, origin_of, read_record, recorded

KEY = b"0123456789abcdef"
V4, V6 = ipaddress.ip_address("203.0.113.9"), ipaddress.ip_address("2001:db8:1:2::9")


@pytest.mark.parametrize("address", [V4, V6])
def test_the_private_form_recognises_its_network_and_no_other(address: Any) -> None:
    """... knows the sign-in's network by a keyed hash of it."""
    origin = origin_of(None, network_claim(address, KEY, None))
    assert origin is not None
    assert origin.is_same(address, KEY, exact=False)
    assert origin.is_same(address + 1, KEY, exact=False)
    assert not origin.is_same(address + 1, KEY, exact=True)
    assert not origin.is_same(address, b"another key of 16", exact=False)
    assert not origin.is_same(address, None, exact=False)
    assert not origin.is_same(address + 2**70 if address.version == 6 else address + 256, KEY, exact=False)
    assert not origin.is_same(V4 if address is V6 else V6, KEY, exact=False)


def test_the_private_form_tells_no_address() -> None:
    """... writes nothing into the token that names the network, and fits the budget for claims."""
    claim = network_claim(V6, KEY, Place(2**32 - 1, "DE"))
    text = json.dumps(claim, separators=(",", ":"))
    assert "2001" not in text
    assert len(text) <= 85
    assert network_digest(V4, KEY) != network_digest(V4, KEY[::-1])


def test_the_private_form_carries_operator_and_country() -> None:
    """... takes operator and country from the claim, so that the sign-in's address need not be known."""
    origin = origin_of(None, network_claim(V4, KEY, Place(64496, "DE")))
    assert origin is not None
    assert origin.place == Place(64496, "DE")


def test_a_short_key_is_refused() -> None:
    """... hashes with no key that could be guessed."""
    with pytest.raises(ValueError, match="16 bytes"):
        network_claim(V4, KEY[:-1], None)


GOOD = network_claim(V4, KEY, Place(64496, "DE"))


@pytest.mark.parametrize(
    "claim",
    [
        None,
        "text",
        [],
        {},
        GOOD | {"family": 5},
        GOOD | {"family": True},
        GOOD | {"family": "4"},
        GOOD | {"network": 7},
        GOOD | {"network": GOOD["network"][:-1]},
        GOOD | {"network": "é" * 22},
        {"network": GOOD["network"]},
        {"family": 4},
    ],
)
def test_a_malformed_private_claim_is_no_claim(claim: object) -> None:
    """... reads the private form exactly or not at all."""
    assert origin_of(None, claim) is None


@pytest.mark.parametrize("changes", [{"asn": True}, {"asn": "1"}, {"asn": 0}, {"asn": 2**32}])
def test_a_malformed_operator_is_not_known(changes: dict[str, Any]) -> None:
    """... reads what is malformed beside the hash as not known."""
    origin = origin_of(None, GOOD | changes)
    assert origin is not None
    assert origin.place == Place(None, "DE")


@pytest.mark.parametrize("country", [7, "DEU", "", "éé"])
def test_a_malformed_country_is_not_known(country: object) -> None:
    """... knows countries by two letters only."""
    origin = origin_of(None, GOOD | {"country": country})
    assert origin is not None
    assert origin.place == Place(64496, None)


def test_the_plain_form_wins() -> None:
    """... believes the address where there are both, and the hash where the address is malformed."""
    origin = origin_of("198.51.100.7", GOOD)
    assert origin is not None
    assert str(origin.address) == "198.51.100.7"
    fallback = origin_of("nonsense", GOOD)
    assert fallback is not None
    assert fallback.digest == GOOD["network"]


@pytest.mark.parametrize(
    ("plain", "hashed", "record"),
    [
        ("203.0.113.9", None, "203.0.113.0/24"),
        ("2001:db8:1:2::9", None, "2001:db8:1:2::/64"),
        ("10.0.0.1", None, "10.0.0.1/32"),
        ("fd00::1", None, "fd00::1/128"),
        (None, GOOD, GOOD),
        (None, network_claim(V4, KEY, None), network_claim(V4, KEY, None)),
        (None, None, None),
    ],
)
def test_the_log_keeps_networks(plain: object, hashed: object, record: object) -> None:
    """... records a sign-in's network and never the whole of a public address."""
    origin = origin_of(plain, hashed)
    assert recorded(origin) == record
    again = read_record(record, None, exact=False)
    assert recorded(again) == record


@pytest.mark.parametrize("private", ["10.0.0.1", "fd00::1"])
def test_a_recorded_private_address_is_itself_only(private: str) -> None:
    """... compares a recorded private address with nothing but itself."""
    origin = read_record(recorded(origin_of(private, None)), None, exact=False)
    assert origin is not None
    assert origin.is_same(ipaddress.ip_address(private), None, exact=True)
    assert not origin.is_same(ipaddress.ip_address(private) + 1, None, exact=False)


def test_a_record_knows_whether_it_was_the_very_address() -> None:
    """... lets a record be judged by the very address where the log says that it was that."""
    exact = read_record("203.0.113.0/24", V4, exact=True)
    loose = read_record("203.0.113.0/24", V4, exact=False)
    assert exact is not None
    assert loose is not None
    assert exact.is_same(V4, None, exact=True)
    assert not loose.is_same(V4, None, exact=True)
    assert loose.is_same(V4, None, exact=False)


@pytest.mark.parametrize("record", [7, "nonsense", "203.0.0.0/16", "2001:db8::/48", True, []])
def test_a_malformed_record_is_none(record: object) -> None:
    """... reads no record that the gateway would not have written."""
    assert read_record(record, V4, exact=False) is None
