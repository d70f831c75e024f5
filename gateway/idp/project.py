"""The project's configuration and its tenants, as administrators see them (identity-toolkit.md section 10.2).

``GET`` and ``PATCH`` of ``/v2/projects/{p}/config``, of which blocking functions are the part that other programs write
(blocking-functions.md section 1.2), and ``/v2/projects/{p}/tenants``. What is set here about the project lasts until
the provider stops; tenants are stored.

The rule this file obeys: **a tenant exists because an administrator made it**; no call makes one on the way, and a new
one lets nobody in until its ways to sign in are switched on.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final

from gateway.idp.errors import WireError, invalid_argument, not_found, not_implemented
from gateway.idp.events import EVENT_TYPES
from gateway.idp.functions import FLAGS
from gateway.idp.realm import Call, ProjectConfig, Realm
from gateway.idp.wire import Fields, camel

MOST_IN_PAGE: Final = 100
"""Tenants in a page."""

_FLAGS: Final = ("allowPasswordSignup", "enableEmailLinkSignin", "enableAnonymousUser", "disableAuth")
_STATES: Final = ("DISABLED", "ENABLED", "MANDATORY")
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{2,18}[a-z0-9]", re.ASCII)
_BLOCKING: Final = "blockingFunctions"


async def get_config(realm: Realm, _call: Call) -> dict[str, Any]:
    """``GET /v2/projects/{p}/config``."""
    return _config(realm)


async def patch_config(realm: Realm, call: Call) -> dict[str, Any]:
    """``PATCH /v2/projects/{p}/config?updateMask=...``; without a mask, all that is known here is replaced.

    :raises WireError: ``INVALID_BLOCKING_FUNCTION``, or duplicate addresses are asked for.
    """
    fields = call.fields
    masks = [mask.split(".") for mask in _masks(call)] or [[]]
    blocking = fields.child(_BLOCKING)
    triggers = _members(masks, [_BLOCKING, "triggers"], EVENT_TYPES)
    forward = _members(masks, [_BLOCKING, "forwardInboundCredentials"], FLAGS)
    state = _state(fields.child("mfa")) if _within(masks, ["mfa", "state"]) else None
    privacy = fields.child("emailPrivacyConfig") if _within(masks, ["emailPrivacyConfig"]) else None
    protected = None if privacy is None else privacy.flag("enableImprovedEmailPrivacy")
    sign_in = fields.child("signIn") if _within(masks, ["signIn", "allowDuplicateEmails"]) else None
    if sign_in is not None and sign_in.flag("allowDuplicateEmails"):
        raise not_implemented("several accounts with one address")
    realm.hooks.registry.replace(blocking, triggers=triggers, forward=forward)
    if state is not None:
        realm.config.second_factors = state != _STATES[0]
    if protected is not None:
        realm.config.email_enumeration_protection = protected
    return _config(realm)


async def create_tenant(realm: Realm, call: Call) -> dict[str, Any]:
    """``POST /v2/projects/{p}/tenants``.

    :raises WireError: ``INVALID_CONFIG``: a display name that cannot begin an id.
    """
    config = _tenant_config(call.fields)
    name = config.get("displayName", "")
    if name and not _NAME.fullmatch(name.lower()):
        raise WireError("INVALID_DISPLAY_NAME : 4 to 20 letters, digits and dashes, beginning with a letter")
    tenant = f"{name or 'tenant'}-{secrets.token_hex(3)[:5]}"
    await realm.tenants.put(tenant, config)
    return document(realm, tenant, config)


async def list_tenants(realm: Realm, call: Call) -> dict[str, Any]:
    """``GET /v2/projects/{p}/tenants``, in the order of their ids."""
    size = call.parameters.number("pageSize") or MOST_IN_PAGE
    after = call.parameters.text("pageToken") or ""
    behind = [(tenant, config) for tenant, config in realm.tenants.all().items() if tenant > after]
    page = behind[: max(1, min(size, MOST_IN_PAGE))]
    answer: dict[str, Any] = {"tenants": [document(realm, tenant, config) for tenant, config in page]}
    if len(page) < len(behind):
        answer["nextPageToken"] = page[-1][0]
    return answer


async def get_tenant(realm: Realm, call: Call) -> dict[str, Any]:
    """``GET /v2/projects/{p}/tenants/{t}``.

    :raises WireError: 404 ``TENANT_NOT_FOUND``.
    """
    tenant = _named(realm, call)
    return document(realm, tenant, realm.tenants.all()[tenant])


async def patch_tenant(realm: Realm, call: Call) -> dict[str, Any]:
    """``PATCH /v2/projects/{p}/tenants/{t}?updateMask=...``; without a mask, what is sent is set.

    :raises WireError: 404 ``TENANT_NOT_FOUND``.
    """
    tenant = _named(realm, call)
    sent = _tenant_config(call.fields)
    masks = [mask.split(".", 1)[0] for mask in _masks(call)]
    config = dict(realm.tenants.all()[tenant])
    for name in masks or list(sent):
        config.pop(name, None)
        if name in sent:
            config[name] = sent[name]
    await realm.tenants.put(tenant, config)
    return document(realm, tenant, config)


async def delete_tenant(realm: Realm, call: Call) -> dict[str, Any]:
    """``DELETE /v2/projects/{p}/tenants/{t}``, with its accounts.

    :raises WireError: 404 ``TENANT_NOT_FOUND``.
    """
    await realm.tenants.delete(_named(realm, call))
    return {}


def document(realm: Realm, tenant: str, config: dict[str, Any]) -> dict[str, Any]:
    """A tenant as it is on the wire."""
    return {"name": f"projects/{realm.project_id}/tenants/{tenant}", "tenantId": tenant, **config}


def tenant_switches(config: dict[str, Any]) -> ProjectConfig:
    """A tenant's configuration as switches: every way to sign in is off unless it was switched on."""
    privacy = config.get("emailPrivacyConfig") or {}
    return ProjectConfig(
        email_enumeration_protection=privacy.get("enableImprovedEmailPrivacy", True),
        sign_up=True,
        password_sign_in=config.get("allowPasswordSignup", False),
        email_link_sign_in=config.get("enableEmailLinkSignin", False),
        anonymous_sign_in=config.get("enableAnonymousUser", False),
        second_factors=(config.get("mfaConfig") or {}).get("state", _STATES[0]) != _STATES[0],
        disabled=config.get("disableAuth", False),
    )


def _config(realm: Realm) -> dict[str, Any]:
    return {
        "name": f"projects/{realm.project_number}/config",
        "signIn": {
            "allowDuplicateEmails": False,
            "email": {
                "enabled": realm.config.password_sign_in,
                "passwordRequired": not realm.config.email_link_sign_in,
            },
            "anonymous": {"enabled": realm.config.anonymous_sign_in},
            "phoneNumber": {"enabled": True},
        },
        "mfa": {
            "state": "ENABLED" if realm.config.second_factors else "DISABLED",
            "enabledProviders": ["PHONE_SMS"],
        },
        "emailPrivacyConfig": {"enableImprovedEmailPrivacy": realm.config.email_enumeration_protection},
        "blockingFunctions": realm.hooks.registry.document(),
    }


def _tenant_config(fields: Fields) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if (name := fields.text("displayName")) is not None:
        config["displayName"] = name
    for flag in _FLAGS:
        if (value := fields.flag(flag)) is not None:
            config[flag] = value
    if (state := _state(fields.child("mfaConfig"))) is not None:
        config["mfaConfig"] = {"state": state, "enabledProviders": ["PHONE_SMS"]}
    privacy = fields.child("emailPrivacyConfig")
    if privacy is not None and (protected := privacy.flag("enableImprovedEmailPrivacy")) is not None:
        config["emailPrivacyConfig"] = {"enableImprovedEmailPrivacy": protected}
    return config


def _state(mfa: Fields | None) -> str | None:
    state = None if mfa is None else mfa.text("state")
    if state is not None and state not in _STATES:
        raise invalid_argument("mfa.state must be DISABLED, ENABLED or MANDATORY.")
    return state


def _masks(call: Call) -> list[str]:
    """Paths of an update mask, in the spelling of the wire; clients send ``blocking_functions`` too."""
    masks = (mask.strip() for mask in (call.parameters.text("updateMask") or "").split(","))
    return [camel(mask) for mask in masks if mask]


def _within(masks: Iterable[Sequence[str]], path: Sequence[str]) -> bool:
    """Whether a mask names ``path``, something that contains it or something in it."""
    return any(all(a == b for a, b in zip(mask, path, strict=False)) for mask in masks)


def _members(masks: Iterable[Sequence[str]], path: Sequence[str], members: Iterable[str]) -> list[str]:
    """The members of the object at ``path`` that masks name: all of them when a mask stops there or before."""
    depth = len(path)
    named = [mask for mask in masks if _within([mask], path)]
    if any(len(mask) <= depth for mask in named):
        return list(members)
    return [mask[depth] for mask in named]


def _named(realm: Realm, call: Call) -> str:
    tenant = call.tenant or ""
    if tenant not in realm.tenants.all():
        raise not_found("TENANT_NOT_FOUND")
    return tenant
