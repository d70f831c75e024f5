"""Address pairs: what counts as the same network, another one, or no telling."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.core.client_ip import parse_address
from gateway.core.session import NetworkLevel
from gateway.policy.ip_change import Action, Preset, action_for, compare, is_private, network_of

SAME, MOVED, UNKNOWN = NetworkLevel.SAME, NetworkLevel.MOVED, NetworkLevel.UNKNOWN

PAIRS: list[tuple[object, str | None, NetworkLevel, NetworkLevel]] = [
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
]


def address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    return None if text is None else parse_address(text)


@pytest.mark.parametrize(("claim", "request_address", "level", "exact"), PAIRS)
def test_address_pairs(claim: object, request_address: str | None, level: NetworkLevel, exact: NetworkLevel) -> None:
    """... compares networks of one family and says so where nothing can be compared."""
    assert compare(claim, address(request_address)) is level
    assert compare(claim, address(request_address), exact=True) is exact


ACTIONS = {
    Preset.OFF: (Action.ALLOW, Action.ALLOW, Action.ALLOW),
    Preset.MONITOR: (Action.ALLOW, Action.LOG, Action.LOG),
    Preset.RELAXED: (Action.ALLOW, Action.REAUTHENTICATE, Action.ALLOW),
    Preset.STRICT: (Action.ALLOW, Action.REAUTHENTICATE, Action.REAUTHENTICATE),
    Preset.PINNED: (Action.ALLOW, Action.REAUTHENTICATE, Action.REAUTHENTICATE),
}


@pytest.mark.parametrize("preset", list(Preset))
def test_presets(preset: Preset) -> None:
    """... maps each level to the preset's action."""
    assert tuple(action_for(level, preset) for level in (SAME, MOVED, UNKNOWN)) == ACTIONS[preset]


def test_documentation_addresses_are_ordinary() -> None:
    """... counts only addresses as private that mean something else elsewhere."""
    for text in ("203.0.113.9", "198.51.100.7", "192.0.2.1", "2001:db8::1"):
        assert not is_private(ipaddress.ip_address(text))


def test_networks() -> None:
    """... takes an IPv4 /24 or an IPv6 /64 for one network."""
    assert str(network_of(ipaddress.ip_address("203.0.113.9"))) == "203.0.113.0/24"
    assert str(network_of(ipaddress.ip_address("2001:db8:1:2:3::4"))) == "2001:db8:1:2::/64"
