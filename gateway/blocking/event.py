"""From the claims of an event to what a function is told (blocking-functions.md sections 1.6 to 1.10). Pure.

The rules this file obeys: **what decides is read strictly**: an address, a flag or an id of the wrong type refuses the
event, because a function that takes it for "absent" could let somebody in. **What only informs is read leniently**: a
profile, a time or a score that cannot be read is absent. Unknown claims and unknown values of enumerations pass.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.blocking.https_error import ErrorCode, HttpsError
from gateway.blocking.model import (
    AdditionalUserInfo,
    AuthCredential,
    EventContext,
    MultiFactorInfo,
    MultiFactorSettings,
    Resource,
    User,
    UserInfo,
    UserMetadata,
)


class Event(enum.StrEnum):
    """The four events, as ``event_type`` and the keys of a registration spell them."""

    BEFORE_CREATE = "beforeCreate"
    BEFORE_SIGN_IN = "beforeSignIn"
    BEFORE_SEND_EMAIL = "beforeSendEmail"
    BEFORE_SEND_SMS = "beforeSendSms"

    @property
    def has_user(self) -> bool:
        """Whether the event is about an account; the two send events are not."""
        return self in {Event.BEFORE_CREATE, Event.BEFORE_SIGN_IN}


EVENT_NAMES: Final[Mapping[str, Event]] = {
    **{event.value: event for event in Event},
    "beforeUserCreated": Event.BEFORE_CREATE,
    "beforeUserSignedIn": Event.BEFORE_SIGN_IN,
    "beforeEmail": Event.BEFORE_SEND_EMAIL,
    "beforeEmailSent": Event.BEFORE_SEND_EMAIL,
    "beforeSms": Event.BEFORE_SEND_SMS,
    "beforeSmsSent": Event.BEFORE_SEND_SMS,
    "before_create": Event.BEFORE_CREATE,
    "before_sign_in": Event.BEFORE_SIGN_IN,
    "before_email": Event.BEFORE_SEND_EMAIL,
    "before_sms": Event.BEFORE_SEND_SMS,
}
"""What people call the events: the wire, the SDKs and this package."""

EVENT_TYPE_PREFIX: Final = "providers/cloud.auth/eventTypes/user."

BROKEN_USER: Final = "INTERNAL ASSERT FAILED: Invalid user response"
BROKEN_FACTOR: Final = "INTERNAL ASSERT FAILED: Invalid multi-factor info response"
"""Texts of the SDKs for a record without its id (section 1.8). Only the service itself could cause them."""

_MAX_MILLISECONDS: Final = 253_402_300_799_999
"""The last moment of the year 9999, which is the last that a datetime holds."""

_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_MICROSECONDS: Final = 6
"""Digits of a second that a datetime holds; the service writes up to nine."""

_NUMBER: Final = re.compile(r"\d{1,15}(\.\d{1,9})?", re.ASCII)


def read_context(claims: Mapping[str, Any], project_id: str, now: float) -> EventContext:
    """What a function is told, its user included; the claims must have been verified.

    :param project_id: the function's own project, which ``resource`` names.
    :param now: wall-clock seconds since the epoch; a credential's expiry counts from here (section 1.10).
    :raises HttpsError: ``invalid-argument`` for a malformed event, ``internal`` for a record without its id.
    """
    event_type = _text(claims, "event_type") or ""
    method = _text(claims, "sign_in_method")
    tenant = _text(claims, "tenant_id")
    user = read_user(claims)
    return EventContext(
        event_id=_text(claims, "event_id"),
        event_type=_event_type(event_type, method),
        auth_type="USER" if user is not None else "UNAUTHENTICATED",
        resource=Resource(f"projects/{project_id}" + (f"/tenants/{tenant}" if tenant else "")),
        timestamp=_moment(_number(claims.get("iat"))) or dt.datetime.fromtimestamp(0, dt.UTC),
        additional_user_info=_additional(claims, event_type, method),
        data=user,
        credential=_credential(claims, method, now),
        ip_address=_text(claims, "ip_address"),
        user_agent=_text(claims, "user_agent"),
        locale=_text(claims, "locale"),
        email_type=_text(claims, "email_type"),
        sms_type=_text(claims, "sms_type"),
        sign_in_method=method,
        second_factor=_text(claims, "sign_in_second_factor"),
        project_id=project_id,
        tenant_id=tenant,
    )


def read_user(claims: Mapping[str, Any]) -> User | None:
    """The user of an event; None where it names none.

    :raises HttpsError: see :func:`read_context`.
    """
    if claims.get("user_record") is None:
        return None
    record = _object(claims, "user_record")
    uid = _text(record, "uid")
    if not uid:
        raise HttpsError(ErrorCode.INTERNAL, BROKEN_USER)
    metadata = _lenient_object(record.get("metadata"))
    custom_claims = record.get("custom_claims")
    return User(
        uid=uid,
        email=_text(record, "email"),
        email_verified=_flag(record, "email_verified"),
        display_name=_text(record, "display_name"),
        photo_url=_text(record, "photo_url"),
        phone_number=_text(record, "phone_number"),
        disabled=_flag(record, "disabled"),
        metadata=UserMetadata(
            creation_time=_moment(_number(metadata.get("creation_time")), per_second=1000),
            last_sign_in_time=_moment(_number(metadata.get("last_sign_in_time")), per_second=1000),
        ),
        provider_data=tuple(_provider(entry) for entry in _list(record, "provider_data")),
        password_hash=_text(record, "password_hash"),
        password_salt=_text(record, "password_salt"),
        custom_claims=None if custom_claims is None else _object(record, "custom_claims"),
        tenant_id=_text(record, "tenant_id"),
        tokens_valid_after_time=_moment(_number(record.get("tokens_valid_after_time"))),
        multi_factor=_multi_factor(record),
    )


def _event_type(event_type: str, method: str | None) -> str:
    known = event_type in Event.__members__.values()
    return (EVENT_TYPE_PREFIX if known else "") + event_type + (f":{method}" if method else "")


def _provider(entry: object) -> UserInfo:
    if not isinstance(entry, Mapping):
        raise _malformed("provider_data")
    return UserInfo(
        provider_id=_text(entry, "provider_id") or "",
        uid=_text(entry, "uid"),
        display_name=_text(entry, "display_name"),
        email=_text(entry, "email"),
        photo_url=_text(entry, "photo_url"),
        phone_number=_text(entry, "phone_number"),
    )


def _multi_factor(record: Mapping[str, Any]) -> MultiFactorSettings | None:
    if record.get("multi_factor") is None:
        return None
    factors = tuple(_factor(entry) for entry in _list(_object(record, "multi_factor"), "enrolled_factors"))
    return MultiFactorSettings(enrolled_factors=factors) if factors else None


def _factor(entry: object) -> MultiFactorInfo:
    if not isinstance(entry, Mapping):
        raise _malformed("enrolled_factors")
    uid, phone_number = _text(entry, "uid"), _text(entry, "phone_number")
    if not uid:
        raise HttpsError(ErrorCode.INTERNAL, BROKEN_FACTOR)
    return MultiFactorInfo(
        uid=uid,
        display_name=_text(entry, "display_name"),
        factor_id=_text(entry, "factor_id") or ("phone" if phone_number else None),
        phone_number=phone_number,
        enrollment_time=_rfc3339(entry.get("enrollment_time")),
    )


def _additional(claims: Mapping[str, Any], event_type: str, method: str | None) -> AdditionalUserInfo:
    raw = claims.get("raw_user_info")
    profile = raw if isinstance(raw, Mapping) else _parsed(raw)
    name = {"github.com": "login", "twitter.com": "screen_name"}.get(method or "")
    username = profile.get(name) if profile is not None and name is not None else None
    return AdditionalUserInfo(
        provider_id=_provider_id(method),
        profile=profile,
        username=username if isinstance(username, str) else None,
        is_new_user=event_type == Event.BEFORE_CREATE,
        recaptcha_score=_number(claims.get("recaptcha_score")),
        email=_text(claims, "email"),
        phone_number=_text(claims, "phone_number"),
    )


def _credential(claims: Mapping[str, Any], method: str | None, now: float) -> AuthCredential | None:
    attributes = claims.get("sign_in_attributes")
    tokens = [_text(claims, f"oauth_{name}_token") for name in ("id", "access", "refresh")]
    if attributes is None and tokens == [None, None, None]:
        return None
    lifetime = _number(claims.get("oauth_expires_in"))
    parsed = attributes if isinstance(attributes, Mapping) else _parsed(attributes)
    id_token, access_token, refresh_token = tokens
    return AuthCredential(
        claims=None if attributes is None else (parsed or {}),
        id_token=id_token,
        access_token=access_token,
        refresh_token=refresh_token,
        secret=_text(claims, "oauth_token_secret"),
        provider_id=_provider_id(method),
        sign_in_method=method,
        expiration_time=None if lifetime is None else _moment(now + lifetime),
    )


def _provider_id(method: str | None) -> str | None:
    return "password" if method == "emailLink" else method


# ---- strict: what decides --------------------------------------------------------------------------------------------


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise _malformed(name)
    return value


def _flag(members: Mapping[str, Any], name: str) -> bool:
    value = members.get(name)
    if value is not None and not isinstance(value, bool):
        raise _malformed(name)
    return value is True


def _object(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = members.get(name)
    if not isinstance(value, Mapping):
        raise _malformed(name)
    return value


def _list(members: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = members.get(name)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise _malformed(name)
    return value


def _malformed(name: str) -> HttpsError:
    return HttpsError(ErrorCode.INVALID_ARGUMENT, f'Event has an invalid "{name}".')


# ---- lenient: what informs -------------------------------------------------------------------------------------------


def _lenient_object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _parsed(text: object) -> Mapping[str, Any] | None:
    """The JSON object in a text; None when there is none."""
    if not isinstance(text, str):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _number(value: object) -> float | None:
    """A finite number that is not negative, also one written as text, as the official emulator writes some."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _MAX_MILLISECONDS and math.isfinite(value) else None


def _moment(count: float | None, *, per_second: int = 1) -> dt.datetime | None:
    """The moment ``count`` units after the epoch; None for none, for 0 and beyond the year 9999."""
    if not count or count / per_second > _MAX_MILLISECONDS / 1000:
        return None
    # Of whole milliseconds, so that no digit is lost to a binary fraction.
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=count * 1000 // per_second)


def _rfc3339(text: object) -> dt.datetime | None:
    """A moment as RFC 3339 section 5.6 writes it; digits beyond microseconds are cut off."""
    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    date, time, fraction, zone = match.groups()
    digits = (fraction or "")[:_MICROSECONDS].ljust(_MICROSECONDS, "0")
    try:
        return dt.datetime.fromisoformat(f"{date}T{time}.{digits}{zone.upper()}").astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
