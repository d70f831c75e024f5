"""The demo's make-believe network."""

from __future__ import annotations

import ipaddress

import pytest

from gateway import reasons
from gateway.core.client_ip import parse_address
from gateway.core.context import Headers
from gateway.demo.network import AWAY, HOME, DemoNetwork
from gateway.errors import RequestError

NO_HEADERS = Headers(())
OTHER = "198.51.100.77"


def forwarded(chain: str) -> Headers:
    return Headers(((b"X-Forwarded-For", chain.encode()),))


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_sits_at_home(peer: str) -> None:
    """The demo takes a visitor on this machine for one at the home address."""
    assert DemoNetwork().client(peer, NO_HEADERS) == HOME


def test_travelling_moves_loopback_until_it_goes_home() -> None:
    """The demo moves loopback visitors, and moves them back."""
    network = DemoNetwork()
    network.travel_to(AWAY)
    assert network.client("127.0.0.1", NO_HEADERS) == AWAY
    network.go_home()
    assert network.client("127.0.0.1", NO_HEADERS) == HOME


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("127.0.0.1", OTHER, OTHER),
        ("::1", f"{HOME}, {OTHER}", OTHER),
        ("127.0.0.1", f"{OTHER}, 127.0.0.1", OTHER),
        ("127.0.0.1", "127.0.0.1", str(HOME)),  # a loopback proxy that reports a loopback client
        ("127.0.0.1", "", str(HOME)),
        ("192.0.2.9", OTHER, "192.0.2.9"),  # from anybody else the header is hearsay
        ("10.0.0.5", OTHER, "10.0.0.5"),
        ("192.0.2.9", "nonsense", "192.0.2.9"),
    ],
)
def test_only_loopback_is_believed(peer: str, chain: str, client: str) -> None:
    """The demo believes X-Forwarded-For from this machine and from nobody else."""
    assert DemoNetwork().client(peer, forwarded(chain)) == parse_address(client)


def test_travelling_does_not_move_strangers() -> None:
    """The demo leaves a visitor from another machine at their own address."""
    network = DemoNetwork()
    network.travel_to(AWAY)
    assert network.client("192.0.2.9", NO_HEADERS) == parse_address("192.0.2.9")
    assert network.client("", NO_HEADERS) is None


def test_malformed_header_from_loopback_is_refused() -> None:
    """The demo refuses a pretended address that is none."""
    with pytest.raises(RequestError) as caught:
        DemoNetwork().client("127.0.0.1", forwarded("203.0.113.999"))
    assert caught.value.reason is reasons.FORWARDED_INVALID


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.1"])
def test_nobody_travels_to_places_without_people(address: str) -> None:
    """The demo refuses to put a visitor where none can be, and stays where it was."""
    network = DemoNetwork()
    with pytest.raises(ValueError, match="visitor cannot be"):
        network.travel_to(ipaddress.ip_address(address))
    assert network.current == HOME


def test_scheme_and_trust_follow_loopback() -> None:
    """The demo believes X-Forwarded-Proto from this machine only, and trusts no other address."""
    network = DemoNetwork()
    https = Headers(((b"X-Forwarded-Proto", b"https"),))
    assert network.scheme("127.0.0.1", https, "http") == "https"
    assert network.scheme("192.0.2.9", https, "http") == "http"
    assert network.trusts(parse_address("127.0.0.1"))
    assert not network.trusts(HOME)
    assert not network.trusts(None)


def test_home_and_away_are_two_networks_that_belong_to_nobody() -> None:
    """The demo uses two /24 of documentation space (RFC 5737), so that the move is a change of network."""
    home = ipaddress.ip_network(f"{HOME}/24", strict=False)
    assert AWAY not in home
    assert home == ipaddress.ip_network("203.0.113.0/24")
    assert AWAY in ipaddress.ip_network("198.51.100.0/24")


def test_journeys_are_counted() -> None:
    """counts every journey, so that nobody goes by where the visitor was before."""
    network = DemoNetwork()
    seen = [network.generation]
    network.travel_to(AWAY)
    seen.append(network.generation)
    network.go_home()
    seen.append(network.generation)
    assert seen == sorted(set(seen))
