"""Metadata services of clouds, in every spelling that reaches them."""

from __future__ import annotations

import pytest

from gateway.core.metadata import is_metadata


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fd00:ec2::254",
        "fd00:0ec2:0:0::254",
        "metadata",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "instance-data",
    ],
)
def test_metadata_services_are_known(host: str) -> None:
    """knows a metadata service by address and by name."""
    assert is_metadata(host)


@pytest.mark.parametrize("host", ["", "127.0.0.1", "10.0.0.1", "::1", "fd00::1", "app", "metadata.example"])
def test_other_hosts_are_not(host: str) -> None:
    """takes no other host for one."""
    assert not is_metadata(host)
