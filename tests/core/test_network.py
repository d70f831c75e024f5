"""Networks as values."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.core.claims import Principal
from gateway.core.network import (
    Refusal,
    SessionKey,
    is_private,
    is_private_key,
    key_of,
    network_of,
    private_key,
    public_key,
    same_site,
)

ADA = Principal("acme", None, "ada")


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("0.255.255.255", True),
        ("1.0.0.0", False),
        ("9.255.255.255", False),
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("100.63.255.255", False),
        ("100.64.0.0", True),
        ("100.127.255.255", True),
        ("100.128.0.0", False),
        ("127.0.0.1", True),
        ("169.253.255.255", False),
        ("169.254.0.0", True),
        ("172.15.255.255", False),
        ("172.16.0.0", True),
        ("172.31.255.255", True),
        ("172.32.0.0", False),
        ("192.167.255.255", False),
        ("192.168.0.0", True),
        ("192.169.0.0", False),
        ("223.255.255.255", False),
        ("224.0.0.0", True),
        ("255.255.255.255", True),
        ("203.0.113.9", False),
        ("198.51.100.7", False),
        ("192.0.2.1", False),
        ("::", True),
        ("::1", True),
        ("::2", False),
        ("fbff::", False),
        ("fc00::", True),
        ("fdff:ffff::1", True),
        ("fe7f::1", False),
        ("fe80::1", True),
        ("febf::1", True),
        ("fec0::1", False),
        ("ff02::1", True),
        ("2001:db8::1", False),
    ],
)
def test_private_addresses(text: str, private: bool) -> None:
    """... takes those addresses for private that mean something else elsewhere, and documentation's for ordinary."""
    address = ipaddress.ip_address(text)
    assert is_private(address) is private
    assert key_of(address) == (private_key(address) if private else public_key(address))
    assert is_private_key(key_of(address)) is private


def test_networks() -> None:
    """... takes an IPv4 /24 or an IPv6 /64 for one network."""
    assert str(network_of(ipaddress.ip_address("203.0.113.9"))) == "203.0.113.0/24"
    assert str(network_of(ipaddress.ip_address("2001:db8:1:2:3::4"))) == "2001:db8:1:2::/64"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.0", "203.0.113.255", True),
        ("203.0.113.255", "203.0.114.0", False),
        ("2001:db8:1:2::", "2001:db8:1:2:ffff::", True),
        ("2001:db8:1:2::", "2001:db8:1:3::", False),
        ("0.1.2.3", "::102:0:0:0:0", False),
    ],
)
def test_keys_are_equal_for_one_network(one: str, other: str, same: bool) -> None:
    """... has one key for each network, and none in common between the families."""
    keys = [public_key(ipaddress.ip_address(text)) for text in (one, other)]
    assert (keys[0] == keys[1]) is same


def test_private_addresses_are_networks_of_one() -> None:
    """... never takes two private addresses for one network, nor one for a public network."""
    one, other = (private_key(ipaddress.ip_address(text)) for text in ("10.0.0.1", "10.0.0.2"))
    assert one != other
    assert is_private_key(one)
    assert not is_private_key(public_key(ipaddress.ip_address("255.255.255.255")))
    assert not is_private_key(public_key(ipaddress.ip_address("ffff:ffff:ffff:ffff::")))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::", "2001:db8:1:ffff::", True),
        ("2001:db8:1:2::", "2001:db8:2:2::", False),
        ("203.0.113.9", "203.0.113.9", False),
        ("203.0.113.9", "2001:db8::", False),
    ],
)
def test_sites(one: str, other: str, same: bool) -> None:
    """... knows sites in IPv6 only: the /48 that a subscriber is given."""
    assert same_site(*(public_key(ipaddress.ip_address(text)) for text in (one, other))) is same


@pytest.mark.parametrize(("auth_time", "answers"), [(99, False), (100, False), (199, False), (200, True), (201, True)])
def test_a_sign_in_answers_a_refusal_that_came_before_it(auth_time: int, answers: bool) -> None:
    """... counts only a sign-in after the refusal, in whole seconds as tokens do."""
    refusal = Refusal((4, 1), 100, at=200.9, last=300.0)
    assert refusal.is_answered_by(SessionKey(ADA, auth_time)) is answers


@pytest.mark.parametrize(
    ("previous", "at"),
    [
        (None, 300.0),
        (Refusal((4, 1), 100, 200.0, 250.0), 200.0),
        (Refusal((4, 2), 100, 200.0, 250.0), 300.0),
        (Refusal((4, 1), 101, 200.0, 250.0), 300.0),
    ],
)
def test_refusals_of_one_session_and_network_are_one(previous: Refusal | None, at: float) -> None:
    """... counts from the first of them, so that a page with the old token does not undo the sign-in."""
    assert Refusal((4, 1), 100, 300.0, 300.0).after(previous) == Refusal((4, 1), 100, at, 300.0)


def test_the_refused_session_itself_answers_nothing() -> None:
    """... never takes the refused session for the answer, even within one second."""
    assert not Refusal((4, 1), 200, at=200.9, last=200.9).is_answered_by(SessionKey(ADA, 200))
