"""``require`` and ``cors`` of a route: from what is written to what is judged by, and everything that can be wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from gateway.errors import ConfigError
from gateway.policy.assurance import Requirements
from gateway.policy.cross_site import Cors
from gateway.policy.expression import Expression, ExpressionUnavailable
from gateway.policy.routes import Auth

if TYPE_CHECKING:
    from gateway.config import model

USUAL_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
INSTALL_CEL: Final = "pip install 'session-gateway[cel]'"

_FIELD_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def requirements(table: model.Require | None, where: str, auth: Auth) -> Requirements | None:
    """What a route demands of a session.

    :param where: path of the table, for messages.
    :raises ConfigError: a demand that cannot be met or judged.
    """
    if table is None:
        return None
    if auth is not Auth.REQUIRED:
        raise ConfigError(where, f'means nothing on a route with auth = "{auth}"', 'use auth = "required"')
    for name in ("roles", "sign_in_provider"):
        if not all(getattr(table, name)):
            raise ConfigError(f"{where}.{name}", "holds an empty text", "leave it out, or name one")
    if table.max_auth_age is not None and table.max_auth_age < 1:
        raise ConfigError(f"{where}.max_auth_age", "is less than a second", 'such as "15m"')
    return Requirements(
        verified_email=table.verified_email,
        sign_in_providers=frozenset(table.sign_in_provider),
        roles=frozenset(table.roles),
        roles_claim=table.roles_claim,
        claims=tuple((name, _expected(value, f"{where}.claims.{name}")) for name, value in table.claims.items()),
        expression=_expression(table.expression, f"{where}.expression") if table.expression else None,
        second_factor=table.second_factor,
        max_auth_age=int(table.max_auth_age) if table.max_auth_age is not None else None,
    )


def _expected(value: Any, where: str) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, dict) and value:
        return {name: _expected(part, f"{where}.{name}") for name, part in value.items()}
    if isinstance(value, list) and value and not any(isinstance(part, list) for part in value):
        return tuple(_expected(part, f"{where}[{index}]") for index, part in enumerate(value))
    raise ConfigError(
        where, "is not something that a claim can be", "a text, number or boolean, a list or a table of these"
    )


def _expression(source: str, where: str) -> Expression:
    try:
        return Expression(source, name=where)
    except ExpressionUnavailable:
        raise ConfigError(where, "needs a library that is not installed", INSTALL_CEL) from None
    except ValueError as error:
        raise ConfigError(where, str(error), "the language is CEL: claims.role == 'admin'") from None


def cors(table: model.Cors | None, where: str, methods: Sequence[str]) -> Cors | None:
    """Which foreign pages may use a route.

    :param methods: those that the route takes; empty for any.
    :raises ConfigError: an origin that no browser would send, or one that cannot be trusted.
    """
    if table is None:
        return None
    if not table.origins:
        raise ConfigError(f"{where}.origins", "names no origin", 'such as ["https://app.example"]')
    for index, origin in enumerate(table.origins):
        _check_origin(origin, f"{where}.origins[{index}]")
    chosen = table.methods or tuple(methods) or USUAL_METHODS
    if any(method != method.upper() or not method.isalpha() for method in chosen):
        raise ConfigError(f"{where}.methods", "are written in capitals", '["GET", "POST"]')
    if methods and not set(chosen) <= set(methods):
        raise ConfigError(
            f"{where}.methods",
            "names a method that the route does not take",
            "add it to match.methods, or leave it out",
        )
    for name in ("headers", "expose"):
        if any(_FIELD_NAME.fullmatch(field) is None or field == "*" for field in getattr(table, name)):
            raise ConfigError(f"{where}.{name}", "holds something that is no header's name", "list each one")
    return Cors(
        origins=frozenset(table.origins),
        methods=frozenset(chosen),
        headers=tuple(field.lower() for field in table.headers),
        expose=tuple(field.lower() for field in table.expose),
        max_age=int(table.max_age),
        credentials=table.credentials,
    )


def _check_origin(origin: str, where: str) -> None:
    if origin == "*":
        raise ConfigError(where, "would let every page in the world use the route", "list each origin")
    if origin == "null":
        raise ConfigError(
            where, "is shared by sandboxed frames and files of everybody", "serve the page from an origin"
        )
    if _ORIGIN.fullmatch(origin) is None:
        raise ConfigError(
            where, f"{origin!r} is no origin as browsers write it", "such as https://app.example, nothing behind"
        )
    parts = urlsplit(origin)
    if parts.netloc.endswith(_DEFAULT_PORTS[parts.scheme]):
        raise ConfigError(
            where, "names the default port, which browsers leave out", f"{parts.scheme}://{parts.hostname}"
        )
