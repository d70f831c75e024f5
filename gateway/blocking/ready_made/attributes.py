"""What is copied into the account (blocking-functions.md scenarios 4.6 and 4.11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.blocking.model import EventContext, User
from gateway.blocking.outcome import RESERVED_CLAIMS
from gateway.blocking.ready_made.addresses import Function
from gateway.errors import ConfigError


def map_claims(
    provider_id: str, *, custom: Mapping[str, str] | None = None, session: Mapping[str, str] | None = None
) -> Function:
    """Copy what an identity provider says of its user into claims (beforeCreate and beforeSignIn).

    An attribute that the provider leaves out is left out, never null. Custom claims of other names that the account
    has are kept, although the service replaces them all by what a function returns; those of a mapped name go when
    their attribute goes.

    :param provider_id: ``saml.…`` or ``oidc.…``; other sign-ins are left alone.
    :param custom: claim to attribute; stored with the account, so in every later token too.
    :param session: claim to attribute; in the tokens of this session only. Not at beforeCreate, which knows no session.
    :raises ConfigError: nothing to map, a provider that sends no attributes, or a claim of the protocol.
    """
    stored, passing = dict(custom or {}), dict(session or {})
    if not provider_id or not (stored or passing):
        raise ConfigError("map_claims", "maps nothing", 'custom = { eid = "employeeid" }')
    if not provider_id.startswith(("saml.", "oidc.")):
        raise ConfigError(
            "map_claims", f"{provider_id!r} sends no attributes", '"saml.my-provider" or "oidc.my-provider"'
        )
    reserved = [name for name in RESERVED_CLAIMS if name in {*stored, *passing}]
    if reserved:
        raise ConfigError("map_claims", f"{', '.join(reserved)} cannot be set: the protocol's own", "another name")

    async def copy(user: User, context: EventContext) -> Mapping[str, Any] | None:
        credential = context.credential
        if credential is None or credential.provider_id != provider_id or credential.claims is None:
            return None
        answer: dict[str, Any] = {}
        found = _mapped(stored, credential.claims)
        before = user.custom_claims or {}
        if found or before.keys() & stored.keys():
            answer["custom_claims"] = {name: value for name, value in before.items() if name not in stored} | found
        here = _mapped(passing, credential.claims)
        if here and not context.additional_user_info.is_new_user:
            answer["session_claims"] = here
        return answer

    return copy


def default_display_name(name: str = "Guest") -> Function:
    """Give accounts without a name this one (beforeCreate).

    :raises ConfigError: no name.
    """
    if not name.strip():
        raise ConfigError("default_display_name", "is empty")

    async def give_name(user: User, context: EventContext) -> Mapping[str, Any]:  # noqa: ARG001 - the signature of functions
        return {"display_name": user.display_name or name}

    return give_name


def _mapped(mapping: Mapping[str, str], attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {claim: value for claim, name in mapping.items() if (value := attributes.get(name)) is not None}
