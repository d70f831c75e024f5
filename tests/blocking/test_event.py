"""blocking-functions.md sections 1.6 to 1.10: from claims to what a function is told, case by case."""

from __future__ import annotations

import datetime as dt
from operator import attrgetter
from typing import Any

import pytest

from gateway.blocking.event import BROKEN_FACTOR, BROKEN_USER, Event, read_context, read_user
from gateway.blocking.https_error import HttpsError
from gateway.blocking.model import EventContext
from tests.support import events
from tests.support.clock import NOW
from tests.support.events import ABSENT

PREFIX = "providers/cloud.auth/eventTypes/user."


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def context(event_type: Any = "beforeSignIn", *, top: Any = None, **user: Any) -> EventContext:
    return read_context(events.claims(event_type, top=top, **user), events.PROJECT, NOW)


CONTEXT_CASES: list[tuple[str, Any, dict[str, Any], str, Any]] = [
    ("create", "beforeCreate", {}, "event_type", PREFIX + "beforeCreate:password"),
    ("sign-in", "beforeSignIn", {"sign_in_method": "google.com"}, "event_type", PREFIX + "beforeSignIn:google.com"),
    ("sms", "beforeSendSms", {}, "event_type", PREFIX + "beforeSendSms"),
    ("email", "beforeSendEmail", {}, "event_type", PREFIX + "beforeSendEmail"),
    ("unknown type", "beforeTea", {}, "event_type", "beforeTea"),
    ("unknown type, method", "beforeTea", {"sign_in_method": "x"}, "event_type", "beforeTea:x"),
    ("no method", "beforeCreate", {"sign_in_method": ABSENT}, "event_type", PREFIX + "beforeCreate"),
    ("user", "beforeCreate", {}, "auth_type", "USER"),
    ("no user", "beforeSendSms", {}, "auth_type", "UNAUTHENTICATED"),
    ("project", "beforeCreate", {}, "resource", "projects/demo-project"),
    ("tenant", "beforeCreate", {"tenant_id": "t1"}, "resource", "projects/demo-project/tenants/t1"),
    ("tenant id", "beforeCreate", {"tenant_id": "t1"}, "tenant_id", "t1"),
    ("time", "beforeCreate", {"iat": 1_563_916_257}, "timestamp_text", "Tue, 23 Jul 2019 21:10:57 GMT"),
    ("locale", "beforeCreate", {"locale": "sv-SE"}, "locale", "sv-SE"),
    ("no locale", "beforeCreate", {"locale": ABSENT}, "locale", None),
    ("address", "beforeCreate", {}, "ip_address", "203.0.113.9"),
    ("agent", "beforeCreate", {"user_agent": None}, "user_agent", None),
    ("id", "beforeCreate", {"event_id": "rWsyPtolplG2TBFoOkkgyg"}, "event_id", "rWsyPtolplG2TBFoOkkgyg"),
    ("email type", "beforeSendEmail", {"email_type": "PASSWORD_RESET"}, "email_type", "PASSWORD_RESET"),
    ("unknown email type", "beforeSendEmail", {"email_type": "RESET_PASSWORD"}, "email_type", "RESET_PASSWORD"),
    ("sms type", "beforeSendSms", {"sms_type": "MULTI_FACTOR_SIGN_IN"}, "sms_type", "MULTI_FACTOR_SIGN_IN"),
    ("second factor", "beforeSignIn", {"sign_in_second_factor": "phone"}, "second_factor", "phone"),
    ("params", "beforeSignIn", {}, "params", {}),
    ("unknown claim", "beforeSignIn", {"brand_new": {"a": 1}}, "event_id", ...),
    ("provider", "beforeSignIn", {}, "additional_user_info.provider_id", "password"),
    ("email link", "beforeSignIn", {"sign_in_method": "emailLink"}, "additional_user_info.provider_id", "password"),
    ("no provider", "beforeSignIn", {"sign_in_method": ABSENT}, "additional_user_info.provider_id", None),
    ("profile", "beforeSignIn", {"raw_user_info": '{"name":"Ada"}'}, "additional_user_info.profile", {"name": "Ada"}),
    ("bad profile", "beforeSignIn", {"raw_user_info": "{"}, "additional_user_info.profile", None),
    ("deep profile", "beforeSignIn", {"raw_user_info": "[" * 9000}, "additional_user_info.profile", None),
    ("list profile", "beforeSignIn", {"raw_user_info": "[1]"}, "additional_user_info.profile", None),
    ("object profile", "beforeSignIn", {"raw_user_info": {"a": 1}}, "additional_user_info.profile", {"a": 1}),
    ("number profile", "beforeSignIn", {"raw_user_info": 7}, "additional_user_info.profile", None),
    (
        "github name",
        "beforeSignIn",
        {"sign_in_method": "github.com", "raw_user_info": '{"login":"ada","screen_name":"x"}'},
        "additional_user_info.username",
        "ada",
    ),
    (
        "twitter name",
        "beforeSignIn",
        {"sign_in_method": "twitter.com", "raw_user_info": '{"login":"x","screen_name":"ada"}'},
        "additional_user_info.username",
        "ada",
    ),
    (
        "google has none",
        "beforeSignIn",
        {"sign_in_method": "google.com", "raw_user_info": '{"login":"ada"}'},
        "additional_user_info.username",
        None,
    ),
    ("name without profile", "beforeSignIn", {"sign_in_method": "github.com"}, "additional_user_info.username", None),
    ("new", "beforeCreate", {}, "additional_user_info.is_new_user", True),
    ("not new", "beforeSignIn", {}, "additional_user_info.is_new_user", False),
    ("score", "beforeSendSms", {"recaptcha_score": 0.9}, "additional_user_info.recaptcha_score", 0.9),
    ("score 0", "beforeSendSms", {"recaptcha_score": 0}, "additional_user_info.recaptcha_score", 0),
    ("score text", "beforeSendSms", {"recaptcha_score": "0.3"}, "additional_user_info.recaptcha_score", 0.3),
    ("score true", "beforeSendSms", {"recaptcha_score": True}, "additional_user_info.recaptcha_score", None),
    ("no score", "beforeSendSms", {}, "additional_user_info.recaptcha_score", None),
    ("mail to", "beforeSendEmail", {"email": "a@b.test"}, "additional_user_info.email", "a@b.test"),
    ("sms to", "beforeSendSms", {"phone_number": "+15550100"}, "additional_user_info.phone_number", "+15550100"),
    ("no credential", "beforeSignIn", {}, "credential", None),
    ("secret alone", "beforeSignIn", {"oauth_token_secret": "s"}, "credential", None),
    ("expiry alone", "beforeSignIn", {"oauth_expires_in": 3599}, "credential", None),
    ("id token", "beforeSignIn", {"oauth_id_token": "I"}, "credential.id_token", "I"),
    ("access token", "beforeSignIn", {"oauth_access_token": "A"}, "credential.access_token", "A"),
    ("refresh token", "beforeSignIn", {"oauth_refresh_token": "R"}, "credential.refresh_token", "R"),
    (
        "secret",
        "beforeSignIn",
        {"oauth_access_token": "A", "oauth_token_secret": "S"},
        "credential.secret",
        "S",
    ),
    ("method", "beforeSignIn", {"oauth_id_token": "I"}, "credential.sign_in_method", "password"),
    (
        "credential of a link",
        "beforeSignIn",
        {"oauth_id_token": "I", "sign_in_method": "emailLink"},
        "credential.provider_id",
        "password",
    ),
    ("attributes", "beforeSignIn", {"sign_in_attributes": {"role": "eng"}}, "credential.claims", {"role": "eng"}),
    ("attributes as text", "beforeSignIn", {"sign_in_attributes": '{"r":1}'}, "credential.claims", {"r": 1}),
    ("attributes broken", "beforeSignIn", {"sign_in_attributes": "{"}, "credential.claims", {}),
    ("no attributes", "beforeSignIn", {"oauth_id_token": "I"}, "credential.claims", None),
    (
        "expiry",
        "beforeSignIn",
        {"oauth_access_token": "A", "oauth_expires_in": 3599},
        "credential.expiration_time",
        at(NOW + 3599),
    ),
    (
        "expiry as text",
        "beforeSignIn",
        {"oauth_access_token": "A", "oauth_expires_in": "3599"},
        "credential.expiration_time",
        at(NOW + 3599),
    ),
    (
        "expiry unreadable",
        "beforeSignIn",
        {"oauth_access_token": "A", "oauth_expires_in": "soon"},
        "credential.expiration_time",
        None,
    ),
    (
        "expiry beyond time",
        "beforeSignIn",
        {"oauth_access_token": "A", "oauth_expires_in": 10**300},
        "credential.expiration_time",
        None,
    ),
]


@pytest.mark.parametrize(
    ("event_type", "top", "path", "expected"),
    [case[1:] for case in CONTEXT_CASES],
    ids=[case[0] for case in CONTEXT_CASES],
)
def test_the_context_says(event_type: Any, top: dict[str, Any], path: str, expected: Any) -> None:
    """... tells the function this about the event."""
    value = attrgetter(path)(context(event_type, top=top))
    assert isinstance(value, str) if expected is ... else value == expected


USER_CASES: list[tuple[str, dict[str, Any], str, Any]] = [
    ("uid", {}, "uid", "u1"),
    ("email", {}, "email", "ada@example.com"),
    ("no email", {"email": ABSENT}, "email", None),
    ("null email", {"email": None}, "email", None),
    ("verified", {"email_verified": True}, "email_verified", True),
    ("verified absent", {"email_verified": ABSENT}, "email_verified", False),
    ("disabled absent", {"disabled": ABSENT}, "disabled", False),
    ("disabled null", {"disabled": None}, "disabled", False),
    ("name", {"display_name": "Ada"}, "display_name", "Ada"),
    ("photo", {"photo_url": "https://img.test/a.png"}, "photo_url", "https://img.test/a.png"),
    ("phone", {"phone_number": "+15550100"}, "phone_number", "+15550100"),
    ("created, ms", {}, "metadata.creation_time", at(1_700_000_000)),
    ("signed in, ms", {}, "metadata.last_sign_in_time", at(1_700_000_099)),
    ("ms kept", {"metadata": {"creation_time": 1_700_000_000_123}}, "metadata.creation_time.microsecond", 123_000),
    ("created 0", {"metadata": {"creation_time": 0}}, "metadata.creation_time", None),
    ("created as text", {"metadata": {"creation_time": "1700000000000"}}, "metadata.creation_time", at(1.7e9)),
    ("created nonsense", {"metadata": {"creation_time": "now"}}, "metadata.creation_time", None),
    ("created negative", {"metadata": {"creation_time": -1}}, "metadata.creation_time", None),
    ("created beyond time", {"metadata": {"creation_time": 10**18}}, "metadata.creation_time", None),
    ("no last sign-in", {"metadata": {"creation_time": 1}}, "metadata.last_sign_in_time", None),
    ("no metadata", {"metadata": ABSENT}, "metadata.creation_time", None),
    ("metadata null", {"metadata": None}, "metadata.creation_time", None),
    ("metadata list", {"metadata": []}, "metadata.last_sign_in_time", None),
    ("valid after, s", {"tokens_valid_after_time": 1_600_000_000}, "tokens_valid_after_time", at(1_600_000_000)),
    ("valid after absent", {}, "tokens_valid_after_time", None),
    ("valid after in ms", {"tokens_valid_after_time": 10**17}, "tokens_valid_after_time", None),
    ("providers absent", {"provider_data": ABSENT}, "provider_data", ()),
    ("providers empty", {"provider_data": []}, "provider_data", ()),
    ("claims", {"custom_claims": {"role": "user"}}, "custom_claims", {"role": "user"}),
    ("claims keep their names", {"custom_claims": {"some_claim": 1}}, "custom_claims", {"some_claim": 1}),
    ("claims absent", {}, "custom_claims", None),
    ("tenant", {"tenant_id": "t1"}, "tenant_id", "t1"),
    ("hash", {"password_hash": "aGFzaA=="}, "password_hash", "aGFzaA=="),
    ("salt", {"password_salt": "c2FsdA=="}, "password_salt", "c2FsdA=="),
    ("factors absent", {}, "multi_factor", None),
    ("factors empty", {"multi_factor": {"enrolled_factors": []}}, "multi_factor", None),
    ("factors empty object", {"multi_factor": {}}, "multi_factor", None),
    ("unknown field", {"shoe_size": 43}, "uid", "u1"),
]


@pytest.mark.parametrize(
    ("fields", "path", "expected"), [case[1:] for case in USER_CASES], ids=[case[0] for case in USER_CASES]
)
def test_the_user_has(fields: dict[str, Any], path: str, expected: Any) -> None:
    """... tells the function this about the user."""
    user = context(**fields).data
    assert user is not None
    assert attrgetter(path)(user) == expected


def test_providers_are_renamed() -> None:
    """... tells of every identity provider of the account."""
    entry = {
        "provider_id": "google.com", "uid": "g-1", "display_name": "A", "email": "a@b.test", "photo_url": "https://p.test",
        "phone_number": "+1",
    }  # fmt: skip
    user = read_user(events.claims(provider_data=[entry]))
    assert user is not None
    (info,) = user.provider_data
    assert {name: getattr(info, name) for name in entry} == entry


FACTOR_CASES: list[tuple[str, dict[str, Any], str, Any]] = [
    ("given id", {"factor_id": "totp"}, "factor_id", "totp"),
    ("given id beside a number", {"factor_id": "other", "phone_number": "+1"}, "factor_id", "other"),
    ("from the number", {"phone_number": "+1"}, "factor_id", "phone"),
    ("none", {}, "factor_id", None),
    ("name", {"display_name": "mine"}, "display_name", "mine"),
    ("time", {"enrollment_time": "2023-11-14T22:13:20Z"}, "enrollment_time", at(1_700_000_000)),
    ("ms", {"enrollment_time": "2023-11-14T22:13:20.250Z"}, "enrollment_time", at(1_700_000_000.25)),
    ("ns", {"enrollment_time": "2023-11-14T22:13:20.250000999Z"}, "enrollment_time", at(1_700_000_000.25)),
    ("zone", {"enrollment_time": "2023-11-14T23:13:20+01:00"}, "enrollment_time", at(1_700_000_000)),
    ("no zone", {"enrollment_time": "2023-11-14T22:13:20"}, "enrollment_time", None),
    ("no such day", {"enrollment_time": "2023-02-30T22:13:20Z"}, "enrollment_time", None),
    ("before time", {"enrollment_time": "0001-01-01T00:00:00+23:59"}, "enrollment_time", None),
    ("a number", {"enrollment_time": 1_700_000_000}, "enrollment_time", None),
]


@pytest.mark.parametrize(
    ("fields", "name", "expected"), [case[1:] for case in FACTOR_CASES], ids=[case[0] for case in FACTOR_CASES]
)
def test_a_second_factor_has(fields: dict[str, Any], name: str, expected: Any) -> None:
    """... tells the function this about a second factor."""
    user = read_user(events.claims(multi_factor={"enrolled_factors": [{"uid": "mf1"} | fields]}))
    assert user is not None
    assert user.multi_factor is not None
    assert getattr(user.multi_factor.enrolled_factors[0], name) == expected


MALFORMED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("email a list", {}, {"email": ["a@b.test"]}),
    ("verified a text", {}, {"email_verified": "true"}),
    ("disabled a number", {}, {"disabled": 1}),
    ("providers an object", {}, {"provider_data": {}}),
    ("provider a text", {}, {"provider_data": ["google.com"]}),
    ("claims a text", {}, {"custom_claims": "{}"}),
    ("factors a list", {}, {"multi_factor": [1]}),
    ("factor a text", {}, {"multi_factor": {"enrolled_factors": ["x"]}}),
    ("address a number", {"ip_address": 1}, {}),
    ("method an object", {"sign_in_method": {}}, {}),
    ("tenant a list", {"tenant_id": ["t1"]}, {}),
    ("token an object", {"oauth_refresh_token": {}}, {}),
    ("record a text", {"user_record": "u1"}, {}),
    ("record a list", {"user_record": [{}]}, {}),
]


@pytest.mark.parametrize(("top", "fields"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_what_decides_is_read_strictly(top: dict[str, Any], fields: dict[str, Any]) -> None:
    """... refuses an event whose facts have the wrong type, rather than taking them for absent."""
    with pytest.raises(HttpsError) as raised:
        context(top=top, **fields)
    assert raised.value.status == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"uid": ABSENT}, BROKEN_USER),
        ({"uid": ""}, BROKEN_USER),
        ({"multi_factor": {"enrolled_factors": [{"phone_number": "+1"}]}}, BROKEN_FACTOR),
    ],
)
def test_a_record_without_its_id_is_the_services_fault(fields: dict[str, Any], message: str) -> None:
    """... answers a record without an id as the SDKs do."""
    with pytest.raises(HttpsError) as raised:
        context(**fields)
    assert (raised.value.http_status, raised.value.status, raised.value.message) == (500, "INTERNAL", message)


def test_an_event_without_a_user_has_none() -> None:
    """... tells of no user where the event names none."""
    assert context(top={"user_record": ABSENT}).data is None
    assert [event for event in Event if event.has_user] == [Event.BEFORE_CREATE, Event.BEFORE_SIGN_IN]
