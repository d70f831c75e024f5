"""blocking-functions.md sections 1.6, 1.8 and 3.8: what events say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.idp.events import (
    EVENT_LIFETIME,
    Circumstances,
    Foreign,
    Forward,
    about_email,
    about_sms,
    about_user,
    addressed,
    user_record,
)
from gateway.idp.records import Account, Factor

ACCOUNT = Account(uid="u1", created_at_ms=1_700_000_000_000, valid_since=1_600_000_000, email="ada@example.com")
FOREIGN = Foreign(
    profile='{"name":"Ada"}',
    attributes={"role": "eng"},
    id_token="IDT",
    access_token="AT",
    token_secret="TS",
    refresh_token="RT",
    expires_in=3599,
)
ALL = Forward(id_token=True, access_token=True, refresh_token=True)
NAMES = {
    "oauth_id_token": "i",
    "oauth_access_token": "a",
    "oauth_expires_in": "e",
    "oauth_token_secret": "s",
    "oauth_refresh_token": "r",
}


def forwarded(provider: str, forward: Forward) -> str:
    """The credentials in an event, a letter each."""
    event = about_user("beforeCreate", ACCOUNT, Circumstances(method=provider, foreign=FOREIGN), forward=forward)
    assert event["raw_user_info"] == '{"name":"Ada"}'
    assert event["sign_in_attributes"] == {"role": "eng"}
    return "".join(letter for name, letter in NAMES.items() if name in event)


@pytest.mark.parametrize(
    ("provider", "has"),
    [
        ("google.com", "iaer"),
        ("facebook.com", "ae"),
        ("twitter.com", "as"),
        ("github.com", "a"),
        ("microsoft.com", "iaer"),
        ("linkedin.com", "ae"),
        ("yahoo.com", "iaer"),
        ("apple.com", "iaer"),
        ("saml.x", ""),
        ("oidc.x", "iaer"),
        ("playgames.google.com", ""),
    ],
)
def test_credentials_that_a_provider_has(provider: str, has: str) -> None:
    """the provider forwards what the other provider can supply, as the documented table says."""
    assert forwarded(provider, ALL) == has
    assert forwarded(provider, Forward()) == ""


@pytest.mark.parametrize(
    ("forward", "gets"),
    [(Forward(id_token=True), "i"), (Forward(access_token=True), "ae"), (Forward(refresh_token=True), "r")],
)
def test_each_flag_gates_its_own(forward: Forward, gets: str) -> None:
    """the provider forwards with each flag what belongs to it and nothing else."""
    assert forwarded("google.com", forward) == gets


def test_send_events_are_about_nobody() -> None:
    """the provider names no subject in the two send events."""
    around = Circumstances(locale="fr", user_agent="UA/1", score=0.3)
    mail = about_email("ada@example.com", "PASSWORD_RESET", around, tenant="t1")
    assert mail == {
        "event_type": "beforeSendEmail",
        "user_agent": "UA/1",
        "locale": "fr",
        "recaptcha_score": 0.3,
        "tenant_id": "t1",
        "email": "ada@example.com",
        "email_type": "PASSWORD_RESET",
    }
    sms = about_sms("+15550100", "SIGN_IN_OR_SIGN_UP", Circumstances(), tenant=None)
    assert sms == {"event_type": "beforeSendSms", "phone_number": "+15550100", "sms_type": "SIGN_IN_OR_SIGN_UP"}


def test_registered_claims() -> None:
    """the provider puts issuer, audience and times around an event; each has an id of its own."""
    first, second = (addressed({"x": 1}, project_id="demo", audience="https://f.test/", now=7) for _ in range(2))
    assert first["event_id"] != second["event_id"]
    assert first["iss"] == "https://securetoken.google.com/demo"
    assert (first["aud"], first["iat"], first["exp"], first["x"]) == ("https://f.test/", 7, 7 + EVENT_LIFETIME, 1)


def test_record_with_factors_and_tenant() -> None:
    """the provider writes second factors with the time of their enrolment, in RFC 3339, and the tenant."""
    phone = Factor(factor_id="f1", enrolled_at_ms=1_700_000_000_000, phone_number="+15550111", display_name="mine")
    app = Factor(factor_id="f2", enrolled_at_ms=0, totp_secret="S")
    account: dict[str, Any] = user_record(
        Account(uid="u", created_at_ms=1, valid_since=1, factors=(phone, app), tenant="t1")
    )
    assert account["tenant_id"] == "t1"
    assert account["multi_factor"]["enrolled_factors"] == [
        {
            "uid": "f1",
            "display_name": "mine",
            "factor_id": "phone",
            "phone_number": "+15550111",
            "enrollment_time": "2023-11-14T22:13:20.000Z",
        },
        {"uid": "f2", "factor_id": "totp", "enrollment_time": "1970-01-01T00:00:00.000Z"},
    ]
    assert "S" not in json.dumps(account)
