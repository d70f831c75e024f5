"""What must hold for ``[limits]``: a bound that is none, or that stops everybody, is a mistake and not a setting."""

from __future__ import annotations

from typing import Final

from gateway.config.model import Limits
from gateway.config.types import spelled
from gateway.errors import ConfigError

MAX_HEAD: Final = 60.0
"""Seconds; a head takes one or two round trips, so whoever needs a minute is holding the connection."""
MIN_HEAD: Final = 1.0
"""Seconds; a lost packet is sent again after one (RFC 6298 section 2)."""
MIN_WINDOW: Final = 5.0
"""Seconds; Kestrel's grace period. In less, a lost packet looks like a client that does not move."""


def check_limits(limits: Limits) -> None:
    """Check the table.

    :raises ConfigError: at the first value that cannot be meant.
    """
    for name in ("connections", "per_peer"):
        if getattr(limits, name) < 0:
            raise ConfigError(f"$.limits.{name}", "is less than 0", "0 takes as many as there are files for")
    if limits.connections and limits.per_peer > limits.connections:
        raise ConfigError("$.limits.per_peer", "is more than limits.connections", "lower it, or raise the other")
    if not MIN_HEAD <= limits.head <= MAX_HEAD:
        raise ConfigError(
            "$.limits.head", f"is not between {spelled(MIN_HEAD)} and {spelled(MAX_HEAD)}", 'such as "10s"'
        )
    if limits.idle <= 0:
        raise ConfigError("$.limits.idle", "is 0", "connections are kept for a while, or a browser opens one each time")
    for name in ("upload_window", "download_window"):
        if getattr(limits, name) < MIN_WINDOW:
            raise ConfigError(f"$.limits.{name}", f"is less than {spelled(MIN_WINDOW)}", 'min_rate = "0B" is no floor')
