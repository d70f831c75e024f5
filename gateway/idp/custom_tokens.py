"""Custom tokens as they come in (identity-toolkit.md section 4.3).

The rule this file obeys: **a token whose signature cannot be checked is worth no more than the place it comes from.**
The provider knows no service account, and the Admin SDKs send unsigned tokens to an emulator, so these are believed
exactly where the emulator's administrator credential would be, and nowhere else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import jwt

from gateway.idp.accounts import check_uid
from gateway.idp.claims import check_claims
from gateway.idp.errors import WireError

AUDIENCE: Final = "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"
MAX_LIFETIME: Final = 3_600
"""Seconds between ``iat`` and ``exp`` (https://firebase.google.com/docs/auth/admin/create-custom-tokens)."""


@dataclass(frozen=True, slots=True)
class CustomToken:
    """Who signs in, with which session claims."""

    uid: str
    claims: Mapping[str, Any]


def read_custom_token(text: str, *, now: float, believed: bool, tenant: str | None = None) -> CustomToken:
    """Read a custom token: a JWT, or the bare JSON object that an emulator takes too.

    :param now: wall-clock seconds.
    :param tenant: the tenant that the token must be for.
    :param believed: whether unverified tokens are believed here.
    :raises WireError: ``INVALID_CUSTOM_TOKEN : ...``, ``MISSING_IDENTIFIER``, ``TENANT_ID_MISMATCH``,
        ``INVALID_CLAIMS``, ``FORBIDDEN_CLAIM : ...`` or ``CLAIMS_TOO_LARGE``.
    """
    if not believed:
        raise WireError("INVALID_CUSTOM_TOKEN : The token's signature cannot be verified by this provider")
    payload = _bare(text) if text.lstrip().startswith("{") else _of_jwt(text, now)
    uid = payload.get("uid", payload.get("user_id"))
    if uid is None or uid == "":
        raise WireError("MISSING_IDENTIFIER")
    if not isinstance(uid, str):
        raise WireError("INVALID_CUSTOM_TOKEN : uid must be a string")
    if payload.get("tenant_id") != tenant:
        raise WireError("TENANT_ID_MISMATCH")
    return CustomToken(check_uid(uid), check_claims(payload.get("claims") or {}))


def _bare(text: str) -> Mapping[str, Any]:
    try:
        payload = json.loads(text)
        text.encode("utf-8")
        json.dumps(payload, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise WireError("INVALID_CUSTOM_TOKEN : Invalid assertion format") from None
    if not isinstance(payload, dict):
        raise WireError("INVALID_CUSTOM_TOKEN : Invalid assertion format")
    return payload


def _of_jwt(text: str, now: float) -> Mapping[str, Any]:
    try:
        decoded = jwt.api_jwt.decode_complete(text, options={"verify_signature": False})
        payload: dict[str, Any] = decoded["payload"]
        json.dumps(payload, ensure_ascii=False).encode("utf-8")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise WireError("INVALID_CUSTOM_TOKEN : Invalid assertion format") from None
    if decoded["header"].get("alg") not in {"none", "RS256"}:
        raise WireError("INVALID_CUSTOM_TOKEN : Invalid algorithm")
    if payload.get("aud") != AUDIENCE:
        raise WireError("INVALID_CUSTOM_TOKEN : ((Invalid aud (audience) in the custom token.))")
    issuer = payload.get("iss")
    if not isinstance(issuer, str) or not issuer or issuer != payload.get("sub"):
        raise WireError("INVALID_CUSTOM_TOKEN : iss and sub must be the same service account")
    issued, expires = payload.get("iat"), payload.get("exp")
    if not _moment(issued) or not _moment(expires):
        raise WireError("INVALID_CUSTOM_TOKEN : iat and exp are required")
    if expires <= now or expires - issued > MAX_LIFETIME:
        raise WireError("INVALID_CUSTOM_TOKEN : The token has expired or lives too long")
    return payload


def _moment(value: object) -> TypeGuard[float]:
    # Not a number is neither before nor after anything, so every comparison would let it pass.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf
