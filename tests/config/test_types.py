"""Durations, addresses, networks and URLs as text."""

from __future__ import annotations

import pytest

from gateway.config.types import (
    HostPort,
    Network,
    OptionalHostPort,
    Seconds,
    Secret,
    Size,
    Url,
    encode,
    is_loopback_host,
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("0s", 0), ("30s", 30), ("1.5m", 90), ("12h", 43_200), ("14d", 1_209_600)]
)
def test_durations(text: str, seconds: float) -> None:
    """... reads a number with a unit."""
    assert Seconds.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "30", 30, "s", "-1s", "1 s", "1w", "1S", "1e3s", None, "٣s"])
def test_odd_durations_are_refused(text: object) -> None:
    """... refuses a duration whose unit would have to be guessed."""
    with pytest.raises(ValueError, match="a duration is"):
        Seconds.parse(text)


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [
        ("0B", 0, "0B"),
        ("240B", 240, "240B"),
        ("64KB", 64_000, "64KB"),
        ("64KiB", 65_536, "64KiB"),
        ("10MB", 10_000_000, "10MB"),
        ("1GiB", 1_073_741_824, "1GiB"),
        ("1000KB", 1_000_000, "1MB"),
        ("1025B", 1_025, "1025B"),
    ],
)
def test_sizes(text: str, size: int, shown: str) -> None:
    """... reads a number of bytes with a unit, thousands apart from 1024s, and shows it in the largest that fits."""
    assert Size.parse(text) == size
    assert encode(Size.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "30", 30, "B", "-1B", "1 B", "1.5MB", "1kb", "1TB", "1KIB", None, "٣B"])
def test_odd_sizes_are_refused(text: object) -> None:
    """... refuses a size whose unit would have to be guessed."""
    with pytest.raises(ValueError, match="a size is"):
        Size.parse(text)


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("0.0.0.0:0", "0.0.0.0", 0, False),
        ("[::1]:80", "::1", 80, True),
        ("localhost:1", "localhost", 1, True),
        ("gateway.example:443", "gateway.example", 443, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    """... reads host and port."""
    address = HostPort.parse(text)
    assert (address.host, address.port, address.is_loopback, str(address)) == (host, port, loopback, text)


@pytest.mark.parametrize(
    "text", ["", ":80", "host", "host:", "host:x", "::1:80", "host:65536", "host:-1", 80, "host:٨٠"]
)
def test_odd_addresses_are_refused(text: object) -> None:
    """... refuses what is not host:port."""
    with pytest.raises(ValueError, match="host:port"):
        HostPort.parse(text)


def test_a_listener_may_be_off() -> None:
    """... takes an address to listen on, or the word off."""
    assert OptionalHostPort.parse("off").is_off
    assert not OptionalHostPort.parse("127.0.0.1:1").is_off
    with pytest.raises(ValueError, match="host:port"):
        OptionalHostPort.parse("none")


def test_networks() -> None:
    """... takes a block or a single address."""
    assert str(Network.parse("10.0.0.0/8").block) == "10.0.0.0/8"
    assert str(Network.parse("2001:db8::1").block) == "2001:db8::1/128"
    with pytest.raises(ValueError, match="CIDR"):
        Network.parse(8)


def test_urls() -> None:
    """... takes an absolute http or https URL and drops a slash at its end."""
    assert Url.parse("http://127.0.0.1:3000/") == "http://127.0.0.1:3000"
    url = Url.parse("https://[2001:db8::1]:8443/a/b")
    assert (url.host, url.origin, url.is_private_transport) == ("2001:db8::1", "https://[2001:db8::1]:8443", True)
    assert not Url.parse("http://example.com").is_private_transport
    assert Url.parse("http://localhost:1").is_private_transport


@pytest.mark.parametrize(
    "text",
    [
        "",
        5,
        "example.com",
        "//x",
        "http://",
        "http://:80",
        "ftp://x",
        "http://x:99999",
        "http://u@x",
        "http://x?q",
        "http://x#f",
        "http://x y",
    ],
)
def test_odd_urls_are_refused(text: object) -> None:
    """... refuses what could be understood in two ways."""
    with pytest.raises(ValueError, match="URL"):
        Url.parse(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.8.9.1", True), ("::1", True), ("app.localhost", True), ("10.0.0.1", False), ("localhost.evil.test", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    """... knows this machine's own names."""
    assert is_loopback_host(host) is expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "0.25s"), (1, "1s"), (90, "90s"), (900, "15m"), (7200, "2h"), (14 * 86_400, "14d")],
)
def test_durations_are_spelled_as_in_the_file(seconds: float, text: str) -> None:
    """... writes a duration in the largest unit that leaves no rest, so that it reads back as the same."""
    assert encode(Seconds(seconds)) == text
    assert Seconds.parse(text) == seconds


def test_values_read_back() -> None:
    """... writes a value as text that reads as the same value."""
    assert encode(Seconds(90)) == "90s"
    assert encode(HostPort("h:1")) == "h:1"


def test_a_secret_is_never_shown() -> None:
    """... says of a secret only whether it is set."""
    secret = Secret.parse("s3cret")
    assert (secret, repr(secret), encode(secret), encode(Secret())) == ("s3cret", "Secret(…)", "(set)", "")
    with pytest.raises(ValueError, match=r"\$\{env:NAME\}"):
        Secret.parse(5)
