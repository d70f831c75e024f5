"""Events: what a blocking function is told (blocking-functions.md sections 1.4 to 1.10, 3.3 and 3.8).

The rules this file obeys: **credentials of other providers are forwarded only where the project switched that on**, and
only those that the provider has at all. Everything else in an event is what this provider knows: address, language and
browser of the person are real here, where the official emulator sends constants.

Pure: values in, claims out.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.core.client_ip import IPAddress
from gateway.idp.claims import ID_TOKEN_ISSUER, custom_claims
from gateway.idp.records import PASSWORD, PHONE, Account, Factor

BEFORE_CREATE: Final = "beforeCreate"
BEFORE_SIGN_IN: Final = "beforeSignIn"
BEFORE_EMAIL: Final = "beforeSendEmail"
BEFORE_SMS: Final = "beforeSendSms"

EVENT_TYPES: Final = (BEFORE_CREATE, BEFORE_SIGN_IN, BEFORE_EMAIL, BEFORE_SMS)
"""Trigger keys, which are also values of ``event_type`` (section 1.1)."""

EVENT_LIFETIME: Final = 600
"""``exp`` - ``iat`` of an event, seconds, as the emulator's."""

_EVENT_ID_BYTES: Final = 12
"""Random bytes of an ``event_id``: 16 characters, as the emulator's."""

_NONE: Final[frozenset[str]] = frozenset()
_CREDENTIALS: Final[Mapping[str, frozenset[str]]] = {
    "google.com": frozenset({"id", "access", "expires", "refresh"}),
    "facebook.com": frozenset({"access", "expires"}),
    "twitter.com": frozenset({"access", "secret"}),
    "github.com": frozenset({"access"}),
    "microsoft.com": frozenset({"id", "access", "expires", "refresh"}),
    "linkedin.com": frozenset({"access", "expires"}),
    "yahoo.com": frozenset({"id", "access", "expires", "refresh"}),
    "apple.com": frozenset({"id", "access", "expires", "refresh"}),
}
"""What each provider can supply (section 3.8)."""

_OIDC: Final = frozenset({"id", "access", "expires", "refresh"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """What a federated provider handed over at this sign-in. ``profile`` is JSON text, ``expires_in`` seconds."""

    profile: str | None = field(default=None, repr=False)
    attributes: Mapping[str, Any] | None = field(default=None, repr=False)
    id_token: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    token_secret: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_in: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """How somebody signs in, or has a message sent: ``sign_in_method``, and what their client told us.

    ``score`` is reCAPTCHA's, 0.0 to 1.0. ``second_factor`` is set once one was used.
    """

    method: str | None = None
    address: IPAddress | None = None
    user_agent: str | None = None
    locale: str | None = None
    score: float | None = None
    foreign: Foreign | None = None
    second_factor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """``forwardInboundCredentials``: which credentials of other providers functions get. None, unless switched on."""

    id_token: bool = False
    access_token: bool = False
    refresh_token: bool = False


def about_user(event_type: str, account: Account, circumstances: Circumstances, *, forward: Forward) -> dict[str, Any]:
    """The claims of a beforeCreate or beforeSignIn event that are about the person."""
    claims = {
        "sub": account.uid,
        **_common(event_type, circumstances),
        "tenant_id": account.tenant,
        "sign_in_method": circumstances.method,
        "sign_in_second_factor": circumstances.second_factor,
        "user_record": user_record(account),
        **_foreign(circumstances, forward),
    }
    return _present(claims)


def about_email(email: str, email_type: str, circumstances: Circumstances, *, tenant: str | None) -> dict[str, Any]:
    """The claims of a beforeSendEmail event: no ``sub``, for the address may be nobody's."""
    claims = {**_common(BEFORE_EMAIL, circumstances), "tenant_id": tenant, "email": email, "email_type": email_type}
    return _present(claims)


def about_sms(number: str, sms_type: str, circumstances: Circumstances, *, tenant: str | None) -> dict[str, Any]:
    """The claims of a beforeSendSms event."""
    claims = {**_common(BEFORE_SMS, circumstances), "tenant_id": tenant, "phone_number": number, "sms_type": sms_type}
    return _present(claims)


def addressed(claims: Mapping[str, Any], *, project_id: str, audience: str, now: int) -> dict[str, Any]:
    """The payload of an event JWT: ``claims`` with issuer, audience and times.

    :param audience: the function's URL, exactly as registered.
    :param now: seconds since the epoch.
    """
    return {
        "iss": ID_TOKEN_ISSUER + project_id,
        "aud": audience,
        "iat": now,
        "exp": now + EVENT_LIFETIME,
        "event_id": secrets.token_urlsafe(_EVENT_ID_BYTES),
        **claims,
    }


def user_record(account: Account) -> dict[str, Any]:
    """``user_record`` of an event (section 1.8): metadata in ms, valid-since in s, enrolment as RFC 3339 text."""
    metadata = {"creation_time": account.created_at_ms}
    if account.last_login_at_ms is not None:
        metadata["last_sign_in_time"] = account.last_login_at_ms
    record: dict[str, Any] = {
        "uid": account.uid,
        "email_verified": account.email_verified,
        "disabled": account.disabled,
        "metadata": metadata,
        "provider_data": _provider_data(account),
        "custom_claims": custom_claims(account),
        "tokens_valid_after_time": account.valid_since,
        "email": account.email,
        "display_name": account.display_name,
        "photo_url": account.photo_url,
        "phone_number": account.phone_number,
        "tenant_id": account.tenant,
    }
    if account.factors:
        record["multi_factor"] = {"enrolled_factors": [_factor(factor) for factor in account.factors]}
    return _present(record)


def enrolled_at(factor: Factor) -> str:
    """When a factor was enrolled, as RFC 3339 text in UTC."""
    moment = dt.datetime.fromtimestamp(factor.enrolled_at_ms / 1_000, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _common(event_type: str, circumstances: Circumstances) -> dict[str, Any]:
    return {
        "event_type": event_type,
        "ip_address": None if circumstances.address is None else str(circumstances.address),
        "user_agent": circumstances.user_agent,
        "locale": circumstances.locale,
        "recaptcha_score": circumstances.score,
    }


def _foreign(circumstances: Circumstances, forward: Forward) -> dict[str, Any]:
    foreign = circumstances.foreign
    if foreign is None:
        return {}
    method = circumstances.method or ""
    has = _OIDC if method.startswith("oidc.") else _CREDENTIALS.get(method, _NONE)
    access = forward.access_token and "access" in has
    return {
        "raw_user_info": foreign.profile,
        "sign_in_attributes": foreign.attributes,
        "oauth_id_token": foreign.id_token if forward.id_token and "id" in has else None,
        "oauth_access_token": foreign.access_token if access else None,
        "oauth_token_secret": foreign.token_secret if access and "secret" in has else None,
        "oauth_expires_in": foreign.expires_in if access and "expires" in has else None,
        "oauth_refresh_token": foreign.refresh_token if forward.refresh_token and "refresh" in has else None,
    }


def _factor(factor: Factor) -> dict[str, Any]:
    return _present(
        {
            "uid": factor.factor_id,
            "display_name": factor.display_name,
            "factor_id": factor.kind,
            "phone_number": factor.phone_number,
            "enrollment_time": enrolled_at(factor),
        }
    )


def _provider_data(account: Account) -> list[dict[str, Any]]:
    entries: list[dict[str, str | None]] = []
    if account.email and (account.password_hash or account.email_link_sign_in):
        entries.append(
            {
                "provider_id": PASSWORD,
                "uid": account.email,
                "email": account.email,
                "display_name": account.display_name,
                "photo_url": account.photo_url,
            }
        )
    if account.phone_number:
        entries.append({"provider_id": PHONE, "uid": account.phone_number, "phone_number": account.phone_number})
    entries += [
        {
            "provider_id": link.provider_id,
            "uid": link.raw_id,
            "email": link.email,
            "display_name": link.display_name,
            "photo_url": link.photo_url,
        }
        for link in account.links
    ]
    return [_present(entry) for entry in entries]


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
