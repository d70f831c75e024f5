"""Who is calling: one row per surprise."""

from __future__ import annotations

import ipaddress

import pytest

from gateway import reasons
from gateway.core.client_ip import MAX_HOPS, AddressResolver, ForwardedFields, _read_often, parse_address, parse_hop
from gateway.core.context import Headers
from gateway.errors import RequestError

TRUSTED = ("10.0.0.0/8", "2001:db8:1::/48")
resolver = AddressResolver(ipaddress.ip_network(block) for block in TRUSTED)


def headers(*lines: str, name: bytes = b"X-Forwarded-For") -> Headers:
    return Headers(tuple((name, line.encode("latin-1")) for line in lines))


ADDRESSES = [
    ("192.0.2.1", "192.0.2.1"),
    ("2001:db8::1", "2001:db8::1"),
    ("2001:DB8:0:0::1", "2001:db8::1"),
    ("::ffff:192.0.2.1", "192.0.2.1"),
    ("::ffff:c000:201", "192.0.2.1"),
    ("fe80::1%eth0", "fe80::1"),
    ("", None),
    ("192.0.2.01", None),
    ("192.0.2", None),
    ("0x7f.1", None),
    ("127.1", None),
    ("192.0.2.1 ", None),
    ("192.0.2.1%eth0", None),
    ("fe80::1%", None),
    ("fe80::1%a b", None),
    ("[2001:db8::1]", None),
    ("192.0.2.1:80", None),
    ("localhost", None),
    ("\uff11\uff19\uff12.0.2.1", None),
]


@pytest.mark.parametrize(("text", "expected"), ADDRESSES)
def test_addresses_have_one_form(text: str, expected: str | None) -> None:
    """... reads exactly one address in its canonical form, or none."""
    assert parse_address(text) == (None if expected is None else ipaddress.ip_address(expected))


def test_readings_are_remembered_within_bounds() -> None:
    """... reads an address once, and remembers nothing that is too long to be one."""
    assert parse_address("198.51.100.7") is parse_address("198.51.100.7")
    before = _read_often.cache_info()
    assert parse_address("2001:db8::1%" + "z" * 52) == ipaddress.ip_address("2001:db8::1")
    assert _read_often.cache_info().misses == before.misses + 1
    assert parse_address("2001:db8::1%" + "z" * 53) == ipaddress.ip_address("2001:db8::1")
    assert parse_address("1" * 65) is None
    assert _read_often.cache_info().misses == before.misses + 1
    assert before.maxsize is not None


HOPS = [
    (" 192.0.2.1\t", "192.0.2.1"),
    ("192.0.2.1:1234", "192.0.2.1"),
    ("[2001:db8::1]:1234", "2001:db8::1"),
    ("[2001:db8::1]", "2001:db8::1"),
    ("2001:db8::1", "2001:db8::1"),
    ("192.0.2.1:", None),
    ("192.0.2.1:x", None),
    ("192.0.2.1:123456", None),
    ("192.0.2.1:65535", "192.0.2.1"),
    ("[2001:db8::1]]:80", None),
    ("[2001:db8::1", None),
    ("[192.0.2.1]", None),
    ("[2001:db8::1]x", None),
    ("unknown", None),
    ("_hidden", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), HOPS)
def test_hops_may_carry_a_port(text: str, expected: str | None) -> None:
    """... reads an entry of X-Forwarded-For with or without a port."""
    assert parse_hop(text) == (None if expected is None else ipaddress.ip_address(expected))


WALKS = [
    # peer, X-Forwarded-For lines, client
    ("192.0.2.1", [], "192.0.2.1"),
    ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["203.0.113.9, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
    ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
    ("10.0.0.1", ["not an address, 198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
    ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ("2001:db8:1::5", ["2001:db8:2::6"], "2001:db8:2::6"),
    ("2001:db8:3::5", ["2001:db8:2::6"], "2001:db8:3::5"),
    ("10.0.0.1", ["[2001:db8:2::6]:99"], "2001:db8:2::6"),
    ("", ["198.51.100.1"], None),
]


@pytest.mark.parametrize(("peer", "chain", "expected"), WALKS)
def test_the_walk_stops_at_the_first_untrusted_address(peer: str, chain: list[str], expected: str | None) -> None:
    """... takes the rightmost address that no trusted proxy vouches for itself."""
    client = resolver.client(peer, headers(*chain))
    assert client == (None if expected is None else ipaddress.ip_address(expected))


@pytest.mark.parametrize("chain", ["198.51.100.1, bogus", "198.51.100.1,", "198.51.100.1, unknown", "198.51.100.01"])
def test_a_malformed_entry_that_must_be_believed_refuses(chain: str) -> None:
    """... refuses the request when its own proxies report no address."""
    with pytest.raises(RequestError) as caught:
        resolver.client("10.0.0.1", headers(chain))
    assert caught.value.reason is reasons.FORWARDED_INVALID


@pytest.mark.parametrize(("field", "entry"), [("X-Forwarded-For", "10.0.0.2"), ("Forwarded", "for=10.0.0.2")])
def test_an_endless_chain_is_refused(field: str, entry: str) -> None:
    """... reads a bounded number of entries, and says in which field there were more."""
    longest, endless = (headers(", ".join([entry] * count), name=field.encode()) for count in (MAX_HOPS, MAX_HOPS + 1))
    assert len(resolver.chain("10.0.0.1", longest)) == MAX_HOPS + 1
    with pytest.raises(RequestError, match=f"^{field} holds more"):
        resolver.client("10.0.0.1", endless)


@pytest.mark.parametrize(("field", "entry"), [("X-Forwarded-For", "bogus"), ("Forwarded", "for=bogus")])
def test_the_field_with_the_fault_is_named(field: str, entry: str) -> None:
    """... tells the operator which field of a trusted proxy is malformed."""
    with pytest.raises(RequestError, match=f"an entry of {field} from"):
        resolver.client("10.0.0.1", headers(entry, name=field.encode()))


def test_nobody_is_trusted_by_default() -> None:
    """... believes no header unless configured, loopback included."""
    assert AddressResolver().client("127.0.0.1", headers("198.51.100.1")) == ipaddress.ip_address("127.0.0.1")
    assert AddressResolver().scheme("127.0.0.1", headers("https", name=b"X-Forwarded-Proto"), "http") == "http"


@pytest.mark.parametrize(
    ("peer", "values", "expected"),
    [
        ("10.0.0.1", ["https"], "https"),
        ("10.0.0.1", ["HTTPS"], "https"),
        ("10.0.0.1", ["https", "http"], "http"),
        ("10.0.0.1", ["gopher"], "http"),
        ("192.0.2.1", ["https"], "http"),
    ],
)
def test_the_scheme_is_believed_like_the_address(peer: str, values: list[str], expected: str) -> None:
    """... takes X-Forwarded-Proto from a trusted peer only."""
    assert resolver.scheme(peer, headers(*values, name=b"X-Forwarded-Proto"), "http") == expected


FORWARDED = [
    # peer, Forwarded lines, client (None: refused)
    ("192.0.2.1", ["for=198.51.100.1"], "192.0.2.1"),
    ("10.0.0.1", ["for=198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["for=198.51.100.1;proto=https;by=10.0.0.1"], "198.51.100.1"),
    ("10.0.0.1", ["for=203.0.113.9, for=198.51.100.1, for=10.9.9.9"], "198.51.100.1"),
    ("10.0.0.1", ["for=203.0.113.9", "for=198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ['for="198.51.100.1:4711"'], "198.51.100.1"),
    ("10.0.0.1", ['for="198.51.100.1:_port"'], "198.51.100.1"),
    ("10.0.0.1", ['for="[2001:db8:2::6]"'], "2001:db8:2::6"),
    ("10.0.0.1", ['for="[2001:db8:2::6]:4711"'], "2001:db8:2::6"),
    ("10.0.0.1", ['for="[::ffff:198.51.100.1]"'], "198.51.100.1"),
    ("10.0.0.1", ["nonsense", "for=198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", ['for="2001:db8:2::6"'], None),
    ("10.0.0.1", ["for=unknown"], None),
    ("10.0.0.1", ["for=_hidden"], None),
    ("10.0.0.1", ["proto=https"], None),
    ("10.0.0.1", ["for=198.51.100.01"], None),
    ("10.0.0.1", ['for="198.51.100.1'], None),
    ("10.0.0.1", ["for=198.51.100.1,"], None),
    ("10.0.0.1", ['for=", for=198.51.100.1'], None),
    ("10.0.0.1", ["for=198.51.100.1", "nonsense"], None),
    ("10.0.0.1", [", ".join(["for=10.0.0.2"] * (MAX_HOPS + 1))], None),
]


@pytest.mark.parametrize(("peer", "lines", "expected"), FORWARDED)
def test_forwarded_is_walked_the_same_way(peer: str, lines: list[str], expected: str | None) -> None:
    """... reads RFC 7239's field like the other one, from the right and no further than it must."""
    fields = headers(*lines, name=b"Forwarded")
    if expected is None:
        with pytest.raises(RequestError) as caught:
            resolver.client(peer, fields)
        assert caught.value.reason is reasons.FORWARDED_INVALID
    else:
        assert resolver.client(peer, fields) == ipaddress.ip_address(expected)


BOTH = [
    # X-Forwarded-For, Forwarded, client by setting: auto, x-forwarded-for, forwarded (None: refused)
    ("198.51.100.1", "for=198.51.100.1", ("198.51.100.1", "198.51.100.1", "198.51.100.1")),
    ("203.0.113.9", "for=198.51.100.1", (None, "203.0.113.9", "198.51.100.1")),
    ("203.0.113.9", "nonsense", (None, "203.0.113.9", None)),
    ("nonsense", "for=198.51.100.1", (None, None, "198.51.100.1")),
    (None, "for=198.51.100.1", ("198.51.100.1", "10.0.0.1", "198.51.100.1")),
    ("203.0.113.9", None, ("203.0.113.9", "203.0.113.9", "10.0.0.1")),
]


@pytest.mark.parametrize(("old", "new", "expected"), BOTH)
def test_two_fields_must_agree(old: str | None, new: str | None, expected: tuple[str | None, ...]) -> None:
    """... refuses two fields that name different clients, unless the operator says which one is believed."""
    lines = [(b"X-Forwarded-For", old), (b"Forwarded", new)]
    fields = Headers(tuple((name, text.encode()) for name, text in lines if text is not None))
    trusted = [ipaddress.ip_network(block) for block in TRUSTED]
    for setting, client in zip(ForwardedFields, expected, strict=True):
        believer = AddressResolver(trusted, setting)
        if client is None:
            with pytest.raises(RequestError) as caught:
                believer.client("10.0.0.1", fields)
            assert caught.value.reason is reasons.FORWARDED_INVALID
        else:
            assert believer.client("10.0.0.1", fields) == ipaddress.ip_address(client)


def test_the_chain_is_what_the_walk_passed() -> None:
    """... tells the believed addresses from the client's to the peer's."""
    assert [str(hop) for hop in resolver.chain("10.0.0.1", headers("6.6.6.6, 198.51.100.1, 10.2.2.2"))] == [
        "198.51.100.1",
        "10.2.2.2",
        "10.0.0.1",
    ]
    assert [str(hop) for hop in resolver.chain("192.0.2.1", headers("198.51.100.1"))] == ["192.0.2.1"]
    assert resolver.chain("", headers("198.51.100.1")) == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ({"Forwarded": "for=1.2.3.4;proto=https"}, "https"),
        ({"Forwarded": "for=1.2.3.4;proto=https, for=10.0.0.2;proto=http"}, "http"),
        ({"Forwarded": "for=1.2.3.4"}, "http"),
        ({"Forwarded": "proto=http"}, "http"),
        ({"Forwarded": "proto=https;"}, "http"),
        ({"Forwarded": "proto=https", "X-Forwarded-Proto": "http"}, "http"),
    ],
)
def test_forwarded_tells_the_scheme(lines: dict[str, str], expected: str) -> None:
    """... takes the scheme from the nearest element of Forwarded when the other field is not there."""
    fields = Headers(tuple((name.encode(), text.encode()) for name, text in lines.items()))
    assert resolver.scheme("10.0.0.1", fields, "http") == expected
