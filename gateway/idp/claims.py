"""What goes into tokens: custom and session claims, and their order of precedence.

The rule this file obeys: **no claim of a user or function can take the place of a protocol claim.** Sixteen names are
refused outright, and when the payload is put together the protocol's claims are written last
(identity-toolkit.md section 4.1; blocking-functions.md sections 2.3 and 3.7).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from gateway.idp.errors import WireError
from gateway.idp.records import ANONYMOUS, Account, SessionRecord
from gateway.idp.signing_keys import ID_TOKEN_LIFETIME

RESERVED_CLAIMS: Final = (
    "iss", "aud", "sub", "iat", "exp", "nbf", "jti", "nonce", "azp", "acr", "amr", "cnf", "auth_time", "firebase",
    "at_hash", "c_hash",
)  # fmt: skip
"""Names that neither custom nor session claims may use (identity-toolkit.md section 3)."""

MAX_CLAIMS_UNITS: Final = 1_000
"""Longest compact JSON text of custom claims, and of custom and session claims together, in UTF-16 code units."""

ID_TOKEN_ISSUER: Final = "https://securetoken.google.com/"  # noqa: S105 - a public prefix
SESSION_COOKIE_ISSUER: Final = "https://session.firebase.google.com/"


def units(claims: Mapping[str, Any]) -> int:
    """Length of the compact JSON text in UTF-16 code units, which is how the SDKs count."""
    # NaN and the infinities are numbers to Python and to no one else's JSON.
    text = json.dumps(claims, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return len(text.encode("utf-16-le")) // 2


def check_claims(claims: object) -> dict[str, Any]:
    """Claims as an object that may go into a token.

    :raises WireError: ``INVALID_CLAIMS``, ``FORBIDDEN_CLAIM : name`` or ``CLAIMS_TOO_LARGE``.
    """
    if not isinstance(claims, Mapping) or not all(isinstance(name, str) for name in claims):
        raise WireError("INVALID_CLAIMS")
    forbidden = next((name for name in RESERVED_CLAIMS if name in claims), None)
    if forbidden is not None:
        raise WireError(f"FORBIDDEN_CLAIM : {forbidden}")
    try:
        size = units(claims)
    except (TypeError, ValueError, RecursionError):
        raise WireError("INVALID_CLAIMS") from None
    if size > MAX_CLAIMS_UNITS:
        raise WireError("CLAIMS_TOO_LARGE")
    return dict(claims)


def check_custom_attributes(text: str) -> str | None:
    """``customAttributes`` as it may be stored; None for an empty object.

    :raises WireError: as :func:`check_claims`; the limit counts the text as it was sent.
    """
    if len(text.encode("utf-16-le")) // 2 > MAX_CLAIMS_UNITS:
        raise WireError("CLAIMS_TOO_LARGE")
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError):
        raise WireError("INVALID_CLAIMS") from None
    return text if check_claims(claims) else None


def custom_claims(account: Account) -> dict[str, Any]:
    """The account's custom claims; ``{}`` when it has none."""
    claims: dict[str, Any] = json.loads(account.custom_attributes) if account.custom_attributes else {}
    return claims


def check_combined(account: Account, session_claims: Mapping[str, Any]) -> None:
    """Refuse session claims that do not fit into a token beside the custom ones.

    :raises WireError: ``CLAIMS_TOO_LARGE``.
    """
    if units({**custom_claims(account), **session_claims}) > MAX_CLAIMS_UNITS:
        raise WireError("CLAIMS_TOO_LARGE")


def id_token_payload(account: Account, session: SessionRecord, *, project_id: str, now: int) -> dict[str, Any]:
    """The payload of an ID token (identity-toolkit.md section 4.1); later entries win.

    :param now: moment of issue, seconds.
    """
    payload: dict[str, Any] = {}
    if account.display_name:
        payload["name"] = account.display_name
    if account.photo_url:
        payload["picture"] = account.photo_url
    payload |= custom_claims(account)
    payload |= session.session_claims
    # Only a protocol claim may stand under these names, even where this account has none to put there.
    for name in ("email", "email_verified", "phone_number", "provider_id"):
        payload.pop(name, None)
    payload |= {
        "iss": ID_TOKEN_ISSUER + project_id,
        "aud": project_id,
        "auth_time": session.auth_time,
        "user_id": account.uid,
        "sub": account.uid,
        "iat": now,
        "exp": now + ID_TOKEN_LIFETIME,
    }
    identities: dict[str, list[str]] = {}
    if account.email:
        payload |= {"email": account.email, "email_verified": account.email_verified}
        identities["email"] = [account.email]
    if account.phone_number:
        payload["phone_number"] = account.phone_number
        identities["phone"] = [account.phone_number]
    for link in account.links:
        identities.setdefault(link.provider_id, []).append(link.raw_id)
    if session.sign_in_provider == ANONYMOUS:
        payload["provider_id"] = ANONYMOUS
    firebase = {
        "identities": identities,
        "sign_in_provider": session.sign_in_provider,
        "sign_in_second_factor": session.second_factor,
        "second_factor_identifier": session.second_factor_id,
        "sign_in_attributes": session.attributes,
        "tenant": account.tenant,
    }
    payload["firebase"] = {name: value for name, value in firebase.items() if value is not None}
    return payload
