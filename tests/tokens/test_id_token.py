"""ID-token rules: which payloads are a session."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway.core.claims import Principal
from gateway.errors import (
    MalformedToken,
    TokenError,
    TokenExpired,
    TokenNotYetValid,
    WrongAudience,
    WrongIssuer,
    WrongKind,
    WrongSubject,
    WrongTenant,
)
from gateway.tokens.id_token import CUSTOM_AUDIENCE, DEFAULT_SKEW, IdTokenRules, read_claims
from tests.support import forge
from tests.support.clock import NOW

RULES = IdTokenRules(forge.PROJECT)


def test_a_good_payload_becomes_claims() -> None:
    """... reads every claim that later steps need."""
    payload = forge.payload(name="Ada", signInIpAddress="203.0.113.9")
    claims = read_claims(payload, RULES, NOW)
    assert claims.principal == Principal(forge.PROJECT, None, forge.UID)
    assert (claims.issued_at, claims.expires_at, claims.auth_time) == (
        payload["iat"],
        payload["exp"],
        payload["auth_time"],
    )
    assert (claims.email, claims.email_verified, claims.name) == ("ada@example.com", True, "Ada")
    assert (claims.sign_in_provider, claims.second_factor, claims.sign_in_ip) == ("password", None, "203.0.113.9")
    assert claims.payload is payload
    assert "ada@example.com" not in repr(claims.payload is None)


def test_a_second_factor_is_read() -> None:
    """... reads which second factor the sign-in took."""
    firebase = {"sign_in_provider": "password", "sign_in_second_factor": "totp"}
    claims = read_claims(forge.payload(firebase=firebase), RULES, NOW)
    assert (claims.sign_in_provider, claims.second_factor) == ("password", "totp")


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1, 1.5])
def test_a_time_may_be_any_number_from_zero_on(value: float) -> None:
    """... takes whole and broken seconds alike, and drops the fraction."""
    assert read_claims(forge.payload(auth_time=value), RULES, NOW).auth_time == int(value)


NOT_NUMBERS: list[Any] = [forge.ABSENT, None, "1800000000", True, False, [], {}, math.nan, math.inf, -math.inf, -1, ""]

ROWS: list[tuple[type[TokenError], dict[str, Any]]] = [
    (WrongIssuer, {"iss": forge.ABSENT}),
    (WrongIssuer, {"iss": forge.ISSUER + "/"}),
    (WrongIssuer, {"iss": forge.ISSUER[:-1]}),
    (WrongIssuer, {"iss": forge.ISSUER + "2"}),
    (WrongIssuer, {"iss": forge.ISSUER.replace("https", "http")}),
    (WrongIssuer, {"iss": forge.ISSUER.upper()}),
    (WrongIssuer, {"iss": [forge.ISSUER]}),
    (WrongIssuer, {"iss": "accounts.google.com"}),
    (WrongIssuer, {"iss": "https://evil.test/" + forge.ISSUER}),
    (WrongIssuer, {"iss": "https://session.firebase.google.com/other"}),
    (WrongKind, {"iss": "https://session.firebase.google.com/" + forge.PROJECT}),
    (WrongKind, {"aud": CUSTOM_AUDIENCE, "iss": "sa@x.iam.gserviceaccount.com"}),
    (WrongKind, {"aud": "https://fn.example.test/before", "event_type": "beforeSignIn"}),
    (WrongAudience, {"aud": forge.ABSENT}),
    (WrongAudience, {"aud": [forge.PROJECT]}),
    (WrongAudience, {"aud": {forge.PROJECT: 1}}),
    (WrongAudience, {"aud": forge.PROJECT + "x"}),
    (WrongAudience, {"aud": forge.PROJECT[:-1]}),
    (WrongAudience, {"aud": forge.PROJECT.upper()}),
    (WrongAudience, {"aud": ""}),
    (TokenExpired, {"exp": int(NOW)}),
    (TokenExpired, {"exp": int(NOW) - 1}),
    (TokenExpired, {"exp": 0}),
    (TokenNotYetValid, {"iat": int(NOW) + DEFAULT_SKEW + 1}),
    (TokenNotYetValid, {"auth_time": int(NOW) + DEFAULT_SKEW + 1}),
    (TokenNotYetValid, {"nbf": int(NOW) + DEFAULT_SKEW + 1}),
    (MalformedToken, {"nbf": "soon"}),
    (WrongSubject, {"sub": forge.ABSENT}),
    (WrongSubject, {"sub": ""}),
    (WrongSubject, {"sub": "a" * 129}),
    (WrongSubject, {"sub": "a\r\nb"}),
    (WrongSubject, {"sub": "a\x00"}),
    (WrongSubject, {"sub": "a b"}),
    (WrongSubject, {"sub": "ü"}),
    (WrongSubject, {"sub": ["a"]}),
    (WrongSubject, {"sub": 5}),
    (WrongSubject, {"sub": "another"}),
    (WrongSubject, {"user_id": "another"}),
    (WrongSubject, {"user_id": None}),
    (MalformedToken, {"firebase": "x"}),
    (MalformedToken, {"firebase": None}),
    (WrongTenant, {"firebase": {"tenant": "t1"}}),
    (WrongTenant, {"firebase": {"tenant": ["t1"]}}),
    (WrongTenant, {"firebase": {"tenant": ""}}),
    *((MalformedToken, {name: value}) for name in ("exp", "iat", "auth_time") for value in NOT_NUMBERS),
]


@pytest.mark.parametrize(("error", "claims"), ROWS)
def test_each_rule_refuses_alone(error: type[TokenError], claims: dict[str, Any]) -> None:
    """... refuses a payload that breaks a single rule, and names that rule."""
    with pytest.raises(TokenError) as caught:
        read_claims(forge.payload(**claims), RULES, NOW)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "claims",
    [
        {"iat": int(NOW) + DEFAULT_SKEW},
        {"auth_time": int(NOW) + DEFAULT_SKEW},
        {"nbf": int(NOW) + DEFAULT_SKEW},
        {"exp": NOW + 1.5},
        {"exp": int(NOW) + 1},
        {"sub": "a" * 128, "user_id": "a" * 128},
        {"user_id": forge.ABSENT},
        {"firebase": forge.ABSENT},
        {"email": 5, "email_verified": "true", "name": ["x"]},
    ],
)
def test_the_edges_pass(claims: dict[str, Any]) -> None:
    """... accepts what stands exactly at a limit, and ignores profile claims of a wrong type."""
    found = read_claims(forge.payload(**claims), RULES, NOW)
    if "email" in claims:
        assert (found.email, found.email_verified, found.name) == (None, False, None)


def test_skew_never_extends_a_token() -> None:
    """... refuses an expired token whatever the skew."""
    with pytest.raises(TokenExpired):
        read_claims(forge.payload(exp=int(NOW) - 1), IdTokenRules(forge.PROJECT, skew=300), NOW)


@pytest.mark.parametrize(
    ("tenants", "tenant", "good"),
    [
        ((), None, True),
        ((), "t1", False),
        (("t1",), "t1", True),
        (("t1",), None, False),
        (("t1",), "t2", False),
        (("t1",), "T1", False),
        (("t1", "t2"), "t2", True),
    ],
)
def test_tenants_are_listed_or_absent(tenants: tuple[str, ...], tenant: str | None, good: bool) -> None:
    """... takes users of the configured tenants only, and of none where none is configured."""
    firebase = {"sign_in_provider": "password"} | ({} if tenant is None else {"tenant": tenant})
    rules = IdTokenRules(forge.PROJECT, frozenset(tenants))
    if good:
        assert read_claims(forge.payload(firebase=firebase), rules, NOW).principal.tenant == tenant
    else:
        with pytest.raises(WrongTenant):
            read_claims(forge.payload(firebase=firebase), rules, NOW)
