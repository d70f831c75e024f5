"""Lists of networks as text."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.adapters.address_lists import HostingList, RelayList

RELAYS = RelayList.parse(
    """# the form of Apple's list
172.224.224.0/27,GB,GB-ENG,London,
172.224.224.32/31,de,DE-BE,Berlin,

2a02:26f7:b3c0:4000::/64,FR,FR-75,Paris,
192.0.2.0/24,,,,
198.51.100.7/32
"""
)


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("172.224.224.0", "GB"),
        ("172.224.224.31", "GB"),
        ("172.224.224.33", "DE"),
        ("172.224.224.34", None),
        ("172.224.223.255", None),
        ("2a02:26f7:b3c0:4000:1:2:3:4", "FR"),
        ("2a02:26f7:b3c0:4001::", None),
        ("192.0.2.1", ""),
        ("198.51.100.7", ""),
        ("198.51.100.8", None),
    ],
)
def test_relays_have_countries(address: str, country: str | None) -> None:
    """... finds the country that a relay keeps for its users."""
    assert RELAYS.find(ipaddress.ip_address(address)) == country


HOSTING = HostingList.parse("AS64510 # a hoster\n64511\nas64512\n192.0.2.0/24\n2001:db8:9::/48\n198.51.100.7\n")


@pytest.mark.parametrize(
    ("address", "asn", "listed"),
    [
        ("203.0.113.9", 64510, True),
        ("203.0.113.9", 64511, True),
        ("203.0.113.9", 64512, True),
        ("203.0.113.9", 64513, False),
        ("203.0.113.9", None, False),
        ("192.0.2.77", None, True),
        ("198.51.100.7", 64513, True),
        ("198.51.100.8", None, False),
        ("2001:db8:9:1::1", None, True),
        ("2001:db8:a::1", None, False),
    ],
)
def test_hosting_is_known_by_operator_or_address(address: str, asn: int | None, listed: bool) -> None:
    """... takes operators and blocks from one list."""
    assert HOSTING.holds(ipaddress.ip_address(address), asn) is listed


@pytest.mark.parametrize("text", ["", "# nothing\n", "nonsense\n", "192.0.2.1/24\n", "192.0.2.0/24\nASX\n"])
def test_a_list_is_read_whole_or_not_at_all(text: str) -> None:
    """... refuses a list with a line that it does not understand, or with none."""
    for kind in (RelayList, HostingList):
        with pytest.raises(ValueError, match="line"):
            kind.parse(text)
