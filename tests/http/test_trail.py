"""The steps of a judgement, for those who may read them."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.core.trail import Trail
from gateway.http.trail import MAX_LENGTH, TrailReaders, trail_fields, trail_value

OFFICE = ipaddress.ip_network("203.0.113.0/24")
PROXY = ipaddress.ip_network("10.0.0.0/8")


def context(peer: str, *forwarded: str) -> RequestContext:
    lines = tuple((b"X-Forwarded-For", value.encode()) for value in forwarded)
    return RequestContext("GET", "http", "app.test", parse_target("/"), peer, Headers(lines))


@pytest.mark.parametrize(
    ("peer", "forwarded", "told"),
    [
        ("203.0.113.9", (), True),
        ("198.51.100.7", (), False),
        ("198.51.100.7", ("203.0.113.9",), False),
        ("10.0.0.1", ("203.0.113.9",), True),
        ("10.0.0.1", ("203.0.113.9, 198.51.100.7",), False),
        ("10.0.0.1", ("bogus",), False),
        ("", (), False),
    ],
)
def test_only_named_networks_are_told(peer: str, forwarded: tuple[str, ...], told: bool) -> None:
    """tells its reasons to clients within the operator's networks, by the address that is judged."""
    trail = TrailReaders([OFFICE]).trail_for(context(peer, *forwarded), AddressResolver([PROXY]))
    assert (trail is not None) is told


def test_nobody_is_told_by_default() -> None:
    """keeps its reasons to itself."""
    assert TrailReaders().trail_for(context("203.0.113.9"), AddressResolver()) is None
    assert trail_fields(None) == ()


def test_the_field_is_one_safe_line() -> None:
    """writes visible ASCII of bounded length, one step after the other, refusals marked."""
    trail = Trail()
    trail.add("route", "a; b\r\nSet-Cookie: x=1 ü")
    trail.add("token", "token_expired", ok=False)
    value = "route=a? b??Set-Cookie: x=1 ?; token=!token_expired"
    assert trail_value(trail) == value
    assert trail_fields(trail) == (("X-Gateway-Trail", value),)
    trail.add("long", "x" * 10_000)
    assert len(trail_value(trail)) == MAX_LENGTH
    assert trail_value(trail).endswith("x...")
