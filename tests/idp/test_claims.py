from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.idp import claims
from gateway.idp.errors import WireError
from gateway.idp.records import Account, Link, SessionRecord

ACCOUNT = Account(uid="u", created_at_ms=0, valid_since=0)


def payload(account: Account, provider: str = "custom", **session: Any) -> dict[str, Any]:
    started = SessionRecord(
        token_hash="h",
        uid=account.uid,
        sign_in_provider=provider,
        auth_time=5,
        session_claims=session,
        created_at=5,
        last_used_at=5,
    )
    return claims.id_token_payload(account, started, project_id="demo-p", now=10)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"a":"' + "x" * 992 + '"}', None),
        ('{"a":"' + "x" * 993 + '"}', "CLAIMS_TOO_LARGE"),
        ('{"a":"' + "é" * 992 + '"}', None),
        ('{"a":"' + "😀" * 496 + '"}', None),
        ('{"a":"' + "😀" * 497 + '"}', "CLAIMS_TOO_LARGE"),
        ("[1]", "INVALID_CLAIMS"),
        ("null", "INVALID_CLAIMS"),
        ("{", "INVALID_CLAIMS"),
        ('{"a": "\\ud800"}', "INVALID_CLAIMS"),
        ("[" * 900, "INVALID_CLAIMS"),
        ('{"firebase": {}}', "FORBIDDEN_CLAIM : firebase"),
        ('{"c_hash": 1, "iss": 2}', "FORBIDDEN_CLAIM : iss"),
    ],
)
def test_custom_attributes(text: str, error: str | None) -> None:
    """the provider counts custom claims in UTF-16 units of their JSON, 1000 at most, and refuses reserved names."""
    if error is None:
        assert claims.check_custom_attributes(text) == text
        return
    with pytest.raises(WireError) as caught:
        claims.check_custom_attributes(text)
    assert caught.value.message == error


def test_sixteen_names_are_reserved() -> None:
    """the provider reserves the sixteen names of the service."""
    assert len(set(claims.RESERVED_CLAIMS)) == 16
    assert "sub" in claims.RESERVED_CLAIMS


def test_protocol_claims_cannot_be_overridden() -> None:
    """the provider lets custom and session claims hide name and picture, and no claim of the protocol."""
    names = ["name", "email", "email_verified", "phone_number", "user_id", "provider_id"]
    forged = dict.fromkeys(names, "forged")
    account = Account(uid="u", created_at_ms=0, valid_since=0, display_name="Ada", custom_attributes=json.dumps(forged))
    made = payload(account, **forged)
    assert made["name"] == "forged"
    assert made["user_id"] == "u"
    assert [name for name in names if made.get(name) == "forged"] == ["name"]


def test_session_claims_hide_custom_claims() -> None:
    """the provider lets a session claim win over a custom claim of the same name."""
    account = Account(uid="u", created_at_ms=0, valid_since=0, custom_attributes='{"a":1,"b":1}')
    made = payload(account, a=2)
    assert (made["a"], made["b"]) == (2, 1)


def test_identities_list_everything_but_the_password() -> None:
    """the provider lists address, number and federated identities."""
    account = Account(
        uid="u",
        created_at_ms=0,
        valid_since=0,
        email="a@b",
        phone_number="+1555",
        password_hash="x",
        links=(Link(provider_id="google.com", raw_id="g"),),
    )
    made = payload(account, "password")
    assert made["firebase"] == {
        "identities": {"email": ["a@b"], "phone": ["+1555"], "google.com": ["g"]},
        "sign_in_provider": "password",
    }
    assert made["phone_number"] == "+1555"
    assert (made["iat"], made["exp"], made["auth_time"]) == (10, 3610, 5)


def test_claims_must_fit_together() -> None:
    """the provider refuses session claims that do not fit beside the custom ones, and counts a hidden claim once."""
    account = Account(uid="u", created_at_ms=0, valid_since=0, custom_attributes=json.dumps({"a": "x" * 600}))
    claims.check_combined(account, {"a": "y" * 900})
    with pytest.raises(WireError, match="CLAIMS_TOO_LARGE"):
        claims.check_combined(account, {"b": "y" * 600})
