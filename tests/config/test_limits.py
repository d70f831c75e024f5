"""``[limits]``: sizes and times that can be meant."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.limits import check_limits
from gateway.config.model import Limits
from gateway.config.types import Seconds, Size
from gateway.errors import ConfigError


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("connections", -1),
        ("per_peer", -1),
        ("head", Seconds(0.5)),
        ("head", Seconds(61)),
        ("idle", Seconds(0)),
        ("upload_window", Seconds(4)),
        ("download_window", Seconds(0)),
    ],
)
def test_a_limit_that_cannot_be_meant_is_named(key: str, value: Any) -> None:
    """refuses a limit that limits nothing or stops everybody, and names its key."""
    with pytest.raises(ConfigError) as caught:
        check_limits(Limits(**{key: value}))
    assert caught.value.where == f"$.limits.{key}"


def test_a_peer_cannot_have_more_than_there_are() -> None:
    """refuses a bound per peer above the bound for all, and takes one where the bound for all is found out later."""
    with pytest.raises(ConfigError, match="per_peer"):
        check_limits(Limits(connections=10, per_peer=11))
    check_limits(Limits(connections=10, per_peer=10))
    check_limits(Limits(per_peer=50))


def test_the_defaults_and_no_floor_hold() -> None:
    """starts with the defaults, and without a rate floor when it is told so."""
    check_limits(Limits())
    check_limits(Limits(min_rate=Size(0), body=Size.parse("10MB")))
