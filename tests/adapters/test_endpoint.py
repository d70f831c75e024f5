from __future__ import annotations

import pytest

from gateway.adapters.endpoint import checked_endpoint, is_loopback_host
from gateway.errors import ConfigError

WHERE = "$.firebase.endpoints.id_token_certificates"


@pytest.mark.parametrize(
    "url",
    [
        "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com",
        "https://mirror.example:8443/keys?alt=json",
        "https://10.0.0.7/keys",
        "http://127.0.0.1:9099/keys/",
        "http://127.8.9.1/keys",
        "http://[::1]:9099/keys",
        "http://localhost:9099",
        "http://idp.localhost/keys",
    ],
)
def test_endpoint_over_tls_or_on_this_machine_is_taken_as_it_stands(url: str) -> None:
    """fetches from https anywhere and from http on this machine, byte for byte the address it was given."""
    assert checked_endpoint(url, WHERE) == url


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://www.googleapis.com/keys", "plain http"),
        ("http://10.0.0.7/keys", "plain http"),
        ("http://0.0.0.0/keys", "plain http"),
        ("http://127.0.0.1.example.com/keys", "plain http"),
        ("http://localhost.example.com/keys", "plain http"),
        ("http://[::ffff:10.0.0.1]/keys", "plain http"),
        ("https://169.254.169.254/computeMetadata/v1", "link-local"),
        ("https://[fe80::1]/keys", "link-local"),
        ("https://user:secret@mirror.example/keys", "user"),
        ("https://mirror.example@evil.example/keys", "user"),
        ("https://mirror.example/keys#part", "fragment"),
        ("file:///etc/passwd", "not a URL"),
        ("ftp://mirror.example/keys", "neither"),
        ("mirror.example/keys", "not a URL"),
        ("https://", "not a URL"),
        ("https://mirror.example:99999/keys", "not a URL"),
        ("https://[::1/keys", "not a URL"),
        ("https://mirror.example/ke ys", "not a URL"),
        ("https://mirror.example/ke\nys", "not a URL"),
        ("https://mirror.example/" + "k" * 2048, "not a URL"),
        ("", "not a URL"),
    ],
)
def test_other_endpoint_is_refused_at_start(url: str, word: str) -> None:
    """refuses to start with an endpoint that others could answer for, names the key, and repeats no secret."""
    with pytest.raises(ConfigError, match=word) as caught:
        checked_endpoint(url, WHERE)
    assert caught.value.where == WHERE
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("app.localhost", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("128.0.0.1", False),
        ("::2", False),
        ("notlocalhost", False),
        ("127.1", False),
    ],
)
def test_loopback_hosts_are_told_by_definition_not_by_resolving(host: str, loopback: bool) -> None:
    """knows this machine's names without asking a resolver, which others may answer."""
    assert is_loopback_host(host) is loopback
