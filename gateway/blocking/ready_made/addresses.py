"""Who may register and sign in, by e-mail address (blocking-functions.md scenarios 4.1 to 4.4).

The rules this file obeys: a domain is **the part after the last @, compared whole**, in ASCII without regard to case;
a provider is trusted by its exact id. The published samples search for a piece of text instead, and let
``x@example.com.evil.test`` in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from gateway.blocking.https_error import ErrorCode, HttpsError
from gateway.blocking.model import EventContext, User
from gateway.errors import ConfigError

NO_EMAIL: Final = "An e-mail address of an allowed domain is needed."

Function = Callable[[User, EventContext], Awaitable[Mapping[str, Any] | None]]
"""A function of beforeCreate or beforeSignIn."""


def allow_domains(*domains: str) -> Function:
    """Refuse accounts whose e-mail address is of none of these domains, or that have none (beforeCreate).

    :param domains: whole names, ``example.com``; a subdomain is another domain.
    :raises ConfigError: none, or not a domain.
    """
    allowed = frozenset(_domain(domain) for domain in domains)
    if not allowed:
        raise ConfigError("allow_domains", "names no domain, so nobody could register", '"example.com"')

    async def only_these_domains(user: User, context: EventContext) -> None:  # noqa: ARG001 - the signature of functions
        if not user.email:
            raise HttpsError(ErrorCode.INVALID_ARGUMENT, NO_EMAIL)
        local, at, domain = user.email.rpartition("@")
        # Lower-casing turns some letters that only look Latin into Latin ones, so it is for ASCII alone.
        spelled = domain.lower() if domain.isascii() else domain
        if not local or not at or spelled not in allowed:
            raise HttpsError(ErrorCode.INVALID_ARGUMENT, f'Unauthorized email "{user.email}"')

    return only_these_domains


def refuse_unverified_email() -> Function:
    """Refuse accounts with an e-mail address that nobody has verified (beforeCreate).

    Every new account with a password is one: it makes sense where people come from identity providers.
    """

    async def refuse_unverified(user: User, context: EventContext) -> None:  # noqa: ARG001 - the signature of functions
        if user.email and not user.email_verified:
            raise HttpsError(ErrorCode.INVALID_ARGUMENT, f'Unverified email "{user.email}"')

    return refuse_unverified


def demand_verified_email() -> Function:
    """Let nobody sign in whose e-mail address is not verified (beforeSignIn)."""

    async def demand_verified(user: User, context: EventContext) -> None:  # noqa: ARG001 - the signature of functions
        if user.email and not user.email_verified:
            message = f'"{user.email}" needs to be verified before access is granted.'
            raise HttpsError(ErrorCode.INVALID_ARGUMENT, message)

    return demand_verified


def trust_providers(*providers: str) -> Function:
    """Take the e-mail addresses that these identity providers report as verified (beforeCreate).

    :param providers: ids such as ``facebook.com``. Only those that verify addresses themselves.
    :raises ConfigError: none, or one whose addresses nobody has verified.
    """
    if not providers:
        raise ConfigError("trust_providers", "names no provider", '"facebook.com"')
    for provider in providers:
        # The ids of all providers that could say anything of an address have a dot; methods of our own have none.
        if "." not in provider:
            raise ConfigError("trust_providers", f"{provider!r} verifies no address", '"facebook.com"')
    trusted = frozenset(providers)

    async def trust(user: User, context: EventContext) -> Mapping[str, Any] | None:
        if user.email and not user.email_verified and context.sign_in_method in trusted:
            return {"email_verified": True}
        return None

    return trust


def _domain(text: str) -> str:
    name = text.removeprefix("@").lower()
    labels = name.split(".")
    if not all(label and all(character.isalnum() or character == "-" for character in label) for label in labels):
        raise ConfigError(
            "allow_domains", f"{text!r} is no domain", '"example.com"; a subdomain is a domain of its own'
        )
    return name
