from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from gateway.idp.custom_tokens import AUDIENCE, read_custom_token
from gateway.idp.errors import WireError

NOW = 1_800_000_000
GOOD: dict[str, Any] = {
    "iss": "a@b", "sub": "a@b", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 3600, "uid": "u", "claims": {"a": 1},
}  # fmt: skip


def token(**changes: Any) -> str:
    payload = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return jwt.encode(payload, "", algorithm="none")


def test_good_tokens() -> None:
    """the provider reads uid and claims from a JWT or a bare object."""
    for text in (token(), json.dumps({"uid": "u", "claims": {"a": 1}})):
        read = read_custom_token(text, now=NOW, believed=True)
        assert (read.uid, read.claims) == ("u", {"a": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "INVALID_CUSTOM_TOKEN : Invalid assertion format"),
        ("a.b.c", "INVALID_CUSTOM_TOKEN : Invalid assertion format"),
        ("{", "INVALID_CUSTOM_TOKEN : Invalid assertion format"),
        ('{"uid": "\\ud800"}', "INVALID_CUSTOM_TOKEN : Invalid assertion format"),
        (token(aud="x"), "INVALID_CUSTOM_TOKEN : ((Invalid aud (audience) in the custom token.))"),
        (token(sub="c@d"), "INVALID_CUSTOM_TOKEN : iss and sub must be the same service account"),
        (token(iss=None, sub=None), "INVALID_CUSTOM_TOKEN : iss and sub must be the same service account"),
        (token(exp=None), "INVALID_CUSTOM_TOKEN : iat and exp are required"),
        (token(exp=float("nan")), "INVALID_CUSTOM_TOKEN : iat and exp are required"),
        (token(iat=float("inf")), "INVALID_CUSTOM_TOKEN : iat and exp are required"),
        (token(iat=NOW - 3600, exp=NOW), "INVALID_CUSTOM_TOKEN : The token has expired or lives too long"),
        (token(exp=NOW + 3601), "INVALID_CUSTOM_TOKEN : The token has expired or lives too long"),
        (token(uid=None), "MISSING_IDENTIFIER"),
        (token(uid=""), "MISSING_IDENTIFIER"),
        (token(uid=7), "INVALID_CUSTOM_TOKEN : uid must be a string"),
        (token(uid="x" * 129), "INVALID_LOCAL_ID : Must be 1 to 128 printable characters"),
        (token(tenant_id="t"), "TENANT_ID_MISMATCH"),
        (token(claims=[1]), "INVALID_CLAIMS"),
        (token(claims={"sub": "x"}), "FORBIDDEN_CLAIM : sub"),
        (token(claims={"a": "x" * 1000}), "CLAIMS_TOO_LARGE"),
        (jwt.encode(GOOD, "k" * 32, algorithm="HS256"), "INVALID_CUSTOM_TOKEN : Invalid algorithm"),
    ],
)
def test_bad_tokens(text: str, message: str) -> None:
    """the provider refuses a custom token that breaks any rule of its form."""
    with pytest.raises(WireError) as caught:
        read_custom_token(text, now=NOW, believed=True)
    assert caught.value.message == message


def test_unverifiable_token_is_worthless_elsewhere() -> None:
    """the provider refuses every custom token where unverified ones are not believed."""
    with pytest.raises(WireError, match="INVALID_CUSTOM_TOKEN"):
        read_custom_token(token(), now=NOW, believed=False)
