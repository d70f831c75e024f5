"""``identity`` of a route and ``[assertion]``: from what is written to what is done, and what can be wrong with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.errors import ConfigError
from gateway.mutators.assertion import LEAD, LEAST_LIFETIME, LINGER, MAX_LIFETIME, AssertionForm, AssertionSettings

if TYPE_CHECKING:
    from gateway.config import model

_NAME: Final = re.compile(r"X-(?:Forwarded|Gateway)(?:-[A-Za-z0-9]+)+", re.IGNORECASE)
_TAKEN: Final = frozenset(
    {
        "x-forwarded-user",
        "x-forwarded-email",
        "x-forwarded-groups",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-gateway-fetch",
        "x-gateway-trail",
        "x-gateway-jwt-assertion",
    }
)
LEAST_ROTATION: Final = LEAD + LINGER
"""Seconds; more often, and the keys that are published would pile up."""


def claim_fields(identity: model.Identity, where: str) -> tuple[tuple[str, str], ...]:
    """Pairs of a field and the claim that it tells.

    :param where: path of the table, for messages.
    :raises ConfigError: a name that a client could set as well, or that says something else already.
    """
    seen: set[str] = set()
    for name, claim in identity.claims.items():
        key = f"{where}.claims.{name}"
        if _NAME.fullmatch(name) is None:
            raise ConfigError(key, "is no field that clients are kept from setting", "begin it with X-Forwarded-")
        if name.lower() in _TAKEN or name.lower() in seen:
            raise ConfigError(key, "says something else already", "choose another name")
        if not claim:
            raise ConfigError(key, "names no claim", 'such as "department"')
        seen.add(name.lower())
    return tuple(identity.claims.items())


def check_telling(config: model.Config) -> None:
    """Check what assertions are to be like, and who may ask.

    :raises ConfigError: a lifetime or a rotation that cannot be, or proxies that may ask and are not believed.
    """
    table = config.assertion
    if not LEAST_LIFETIME <= table.lifetime <= MAX_LIFETIME:
        raise ConfigError("$.assertion.lifetime", "is not between 1m and 10m", '"10m"')
    if table.rotate_every and table.rotate_every < LEAST_ROTATION:
        raise ConfigError("$.assertion.rotate_every", f"is less than {LEAST_ROTATION} s", 'such as "30d"')
    if not table.issuer:
        raise ConfigError("$.assertion.issuer", "is empty", "the origin of your site, such as https://app.example")
    if config.forward_auth.dialects and not config.listen.trusted_proxies:
        raise ConfigError(
            "$.forward_auth.dialects",
            "lets nobody ask, because listen.trusted_proxies is empty",
            'name the proxy\'s address: trusted_proxies = ["127.0.0.1/32"]',
        )


def assertion_settings(table: model.Assertion) -> AssertionSettings:
    """What assertions say, in the words of who makes them."""
    return AssertionSettings(table.issuer, AssertionForm(table.form), int(table.lifetime), table.claims)
