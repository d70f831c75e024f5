"""blocking-functions.md sections 1.7 to 1.10: names and types of what a function is told."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

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
    snake,
)

WHEN = dt.datetime(2019, 7, 23, 21, 10, 57, tzinfo=dt.UTC)
FACTOR = MultiFactorInfo(uid="f", factor_id="phone", display_name="mine", phone_number="+1", enrollment_time=WHEN)
USER = User(
    uid="u",
    email="a@b.test",
    email_verified=True,
    display_name="Ada",
    photo_url="https://img.test/a.png",
    phone_number="+1",
    disabled=True,
    metadata=UserMetadata(creation_time=WHEN, last_sign_in_time=WHEN),
    provider_data=(UserInfo(provider_id="google.com", uid="g", display_name="A", photo_url="https://p.test"),),
    password_hash="hash",
    password_salt="salt",
    custom_claims={"role": "user"},
    tenant_id="t1",
    tokens_valid_after_time=WHEN,
    multi_factor=MultiFactorSettings(enrolled_factors=(FACTOR,)),
)
CREDENTIAL = AuthCredential(
    claims={"a": 1}, id_token="I", access_token="A", refresh_token="R", secret="S", provider_id="google.com",
    sign_in_method="google.com", expiration_time=WHEN,
)  # fmt: skip
MORE = AdditionalUserInfo(
    provider_id="github.com", profile={"login": "ada"}, username="ada", is_new_user=True, recaptcha_score=0.5,
    email="a@b.test", phone_number="+1",
)  # fmt: skip
CONTEXT = EventContext(
    event_id="e", event_type="x", auth_type="USER", resource=Resource("projects/p"), timestamp=WHEN,
    additional_user_info=MORE, credential=CREDENTIAL, data=USER, ip_address="203.0.113.9", user_agent="UA",
    locale="fr", email_type="E", sms_type="S", sign_in_method="google.com", second_factor="phone", project_id="p",
)  # fmt: skip

DOCUMENTED: list[tuple[Any, str, str]] = [
    *[(USER, name, snake(name)) for name in (
        "emailVerified", "displayName", "photoURL", "photoUrl", "phoneNumber", "providerData", "passwordHash",
        "passwordSalt", "customClaims", "tenantId", "tokensValidAfterTime", "multiFactor",
    )],
    *[(USER.metadata, name, snake(name)) for name in ("creationTime", "lastSignInTime")],
    *[(USER.provider_data[0], name, snake(name)) for name in ("providerId", "displayName", "photoURL", "phoneNumber")],
    *[(FACTOR, name, snake(name)) for name in ("factorId", "displayName", "phoneNumber", "enrollmentTime")],
    (USER.multi_factor, "enrolledFactors", "enrolled_factors"),
    *[(CREDENTIAL, name, snake(name)) for name in (
        "idToken", "accessToken", "refreshToken", "providerId", "signInMethod", "expirationTime",
    )],
    *[(MORE, name, snake(name)) for name in ("providerId", "isNewUser", "recaptchaScore", "phoneNumber")],
    *[(CONTEXT, name, snake(name)) for name in (
        "eventId", "eventType", "authType", "additionalUserInfo", "ipAddress", "userAgent", "emailType", "smsType",
    )],
    (CONTEXT, "user", "data"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "documented", "ours"), DOCUMENTED, ids=[f"{type(v).__name__}.{name}" for v, name, _ in DOCUMENTED]
)
def test_documented_names_are_readable(value: Any, documented: str, ours: str) -> None:
    """... lets ported code read each property by its documented name."""
    assert getattr(value, documented) == getattr(value, ours)


@pytest.mark.parametrize("name", ["nothing", "emailverified", "EmailVerifiedX", "__wrapped__", "_secret"])
def test_other_names_are_errors(name: str) -> None:
    """... raises AttributeError for names that nobody documented."""
    with pytest.raises(AttributeError):
        getattr(USER, name)
    assert not hasattr(CONTEXT, name)


def test_the_resource_is_text_and_object() -> None:
    """... gives the resource as Identity Platform's text, with the parts of Firebase's object."""
    assert CONTEXT.resource == CONTEXT.resource.name == "projects/p"
    assert CONTEXT.resource.service == "identitytoolkit.googleapis.com"


def test_the_time_has_a_text() -> None:
    """... gives the time of the event as a datetime and as the HTTP date of the SDKs for Node."""
    assert CONTEXT.timestamp == WHEN
    assert CONTEXT.timestamp_text == "Tue, 23 Jul 2019 21:10:57 GMT"


def test_secrets_are_not_shown() -> None:
    """... shows neither tokens nor password hashes when an event is printed."""
    text = repr(AuthCredential(id_token="I-1", access_token="A-1", refresh_token="R-1", secret="S-1"))
    text += repr(User(uid="u", password_hash="H-1", password_salt="P-1"))
    assert not [secret for secret in ("I-1", "A-1", "R-1", "S-1", "H-1", "P-1") if secret in text]


def test_deferring_needs_somebody_to_do_it() -> None:
    """... says so when a context that nobody serves is asked to defer work."""
    with pytest.raises(RuntimeError, match="nobody"):
        CONTEXT.defer(print)
