"""Addresses of backends, and the papers that are shown and looked at."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.proxy.address import Address, BackendTls
from tests.support.authority import Authority


@pytest.mark.parametrize(
    ("url", "address", "text", "authority"),
    [
        ("http://127.0.0.1:3000", Address("127.0.0.1", 3000, tls=False), "127.0.0.1:3000", "127.0.0.1:3000"),
        ("http://app", Address("app", 80, tls=False), "app:80", "app"),
        ("https://app/", Address("app", 443, tls=True), "app:443", "app"),
        ("https://app:80", Address("app", 80, tls=True), "app:80", "app:80"),
        ("http://[::1]:8080", Address("::1", 8080, tls=False), "[::1]:8080", "[::1]:8080"),
        ("unix:/run/app.sock", Address("", 0, tls=False, path="/run/app.sock"), "unix:/run/app.sock", "localhost"),
    ],
)
def test_an_address_is_scheme_host_and_port_or_a_socket(url: str, address: Address, text: str, authority: str) -> None:
    """reads http and https addresses with their usual ports, and unix sockets."""
    assert Address.parse(url, "x") == address
    assert str(address) == text
    assert address.authority == authority


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.2", True),
        ("http://[::1]", True),
        ("http://localhost", True),
        ("http://app.localhost", True),
        ("unix:/run/app.sock", True),
        ("http://10.0.0.1", False),
        ("http://app", False),
    ],
)
def test_this_machine_is_known(url: str, local: bool) -> None:
    """knows which addresses stay on this machine."""
    assert Address.parse(url, "x").local is local


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app:3000",
        "ftp://app",
        "http://",
        "http://app:port",
        "http://app:99999",
        "http://app/base",
        "http://app?x=1",
        "http://user:secret@app",
        "http://a..b",
        "http://" + "x" * 64,
        "http://169.254.169.254",
        "http://[::ffff:169.254.169.254]",
        "http://[fe80::1]",
        "http://metadata.google.internal",
        "http://METADATA.google.internal.",
        "unix:",
        "unix:///run/app.sock",
        "unix:/" + "x" * 107,
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    """refuses what is no plain address, and metadata services of clouds, without repeating a password."""
    with pytest.raises(ConfigError) as caught:
        Address.parse(url, "x")
    assert "secret" not in str(caught.value)


def test_tls_is_strict_unless_told_otherwise() -> None:
    """checks certificates and names, and speaks TLS 1.2 or newer and HTTP/1.1 only."""
    context = BackendTls().context("upstream app.tls")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_not_checking_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    """warns when a backend's certificate is not looked at."""
    context = BackendTls(verify=False).context("upstream app.tls")
    assert context.verify_mode is ssl.CERT_NONE
    assert ["upstream app.tls.verify is off" in record.getMessage() for record in caplog.records] == [True]


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """says which file is no certificate, has a passphrase or belongs to another key, and asks nobody for the phrase."""
    authority = Authority(tmp_path)
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("not a certificate")
    good, other, locked = authority.issue("app"), authority.issue("other"), authority.issue("locked", passphrase=b"x")
    cases = [
        (BackendTls(authorities=nothing), "ca_file"),
        (BackendTls(authorities=tmp_path / "missing.pem"), "ca_file"),
        (BackendTls(certificate=nothing, key=good.key), "cert_file"),
        (BackendTls(certificate=good.certificate, key=tmp_path / "missing.key"), "cert_file"),
        (BackendTls(certificate=good.certificate, key=other.key), "cert_file"),
        (BackendTls(certificate=locked.certificate, key=locked.key), "cert_file"),
    ]
    for tls, where in cases:
        with pytest.raises(ConfigError, match=rf"upstream app\.tls\.{where}"):
            tls.context("upstream app.tls")
