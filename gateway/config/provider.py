"""``[provider.functions]``: what the embedded identity provider calls, and how."""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import urlsplit

from gateway.config.table import Table
from gateway.config.types import Seconds
from gateway.errors import ConfigError

MAX_DEADLINE: Final = 60.0
"""Longest time for a function, seconds: the official emulator's."""


class ProviderFunctions(Table, frozen=True):
    """Blocking functions that the embedded provider calls, until `gateway functions register` names others."""

    before_create: str = ""
    """Address of the function that is asked before an account is created. Empty: none is."""
    before_sign_in: str = ""
    """Address of the function that is asked before somebody gets tokens."""
    before_email: str = ""
    """Address of the function that is asked before a sign-in or password link is mailed."""
    before_sms: str = ""
    """Address of the function that is asked before a code is texted."""
    forward: tuple[Literal["id-token", "access-token", "refresh-token"], ...] = ()
    """Credentials of other providers that functions get."""
    error_format: Literal["documented", "raw", "emulator"] = "documented"
    """How a function's refusal is written for the client: Google's documented text, the text that production was seen
    to send, or the official emulator's."""
    deadline: Seconds = Seconds(7)
    """How long a function may take, at most 1m. The service waits seven seconds."""
    unsigned: bool = False
    """Send events without a signature, as the official emulator does, to functions that run in emulator mode."""
    any_success: bool = False
    """Take every 2xx for a success, as the emulator does; otherwise 200 alone is one."""
    commit_new_user: Literal["after_before_create", "after_before_sign_in"] = "after_before_create"
    """When a new account is stored: before `before_sign_in` is asked, or once that agreed too."""


def check_provider_functions(functions: ProviderFunctions) -> None:
    """Check what a single key cannot show.

    :raises ConfigError: an address that cannot be called, or a deadline out of range.
    """
    for name in ("before_create", "before_sign_in", "before_email", "before_sms"):
        address = getattr(functions, name)
        if address and not _is_absolute(address):
            raise ConfigError(
                f"$.provider.functions.{name}", "is no address of a function", "such as http://127.0.0.1:8081/"
            )
    if not 0 < functions.deadline <= MAX_DEADLINE:
        raise ConfigError(
            "$.provider.functions.deadline", f"is not between 0 and {MAX_DEADLINE:g} seconds", 'such as "7s"'
        )


def _is_absolute(address: str) -> bool:
    """Whether the provider would take it (:func:`gateway.idp.functions.is_absolute`)."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and "@" not in parts.netloc and address.isprintable()
