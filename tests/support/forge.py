"""A token forge: genuine and crooked Firebase tokens, and the key documents that go with them.

    forge.id_token()                                a good ID token of forge.PROJECT and forge.UID, fresh at clock.NOW
    forge.id_token(exp=1, sub=forge.ABSENT)         the same with claims replaced or left out
    forge.id_token(kid="new", signed_with="old")    header names one key, another one signs
    forge.id_token(now=time.time())                 for tests on the real clock
    forge.raw(header, payload, key)                 any bytes or mappings, any signer: nothing is checked or added
    forge.certificates("k1", "k2")                  body of Google's X.509 map with these kids
    forge.jwks("k1")                                body of a JWK set

Every ``kid`` has a key pair of its own, made when first asked for and kept for the test session (making one takes about
50 ms, so reuse names). ``forge.KID`` is the default one.
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tests.support.clock import NOW

PROJECT: Final = "demo-project"
UID: Final = "uid-of-ada"
KID: Final = "forge-key-1"
ISSUER: Final = f"https://securetoken.google.com/{PROJECT}"
LIFETIME: Final = 3600
"""Seconds from ``iat`` to ``exp`` (identity-toolkit.md section 4.1)."""

ABSENT: Final = object()
"""As a claim's or header field's value: leave it out."""

Signer = Callable[[bytes], bytes]
"""Signing input to signature."""


def private_key(kid: str = KID) -> rsa.RSAPrivateKey:
    """The key pair of this name."""
    return _key_pair(kid)


@functools.cache
def _key_pair(kid: str) -> rsa.RSAPrivateKey:
    # Apart from private_key, because functools.cache takes f() and f(default) for two calls.
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def b64(data: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def payload(*, now: float = NOW, uid: str = UID, project: str = PROJECT, **claims: Any) -> dict[str, Any]:
    """The payload of a good ID token: signed in 10 minutes, issued 1 minute before ``now``; ``claims`` replace."""
    issued_at = int(now) - 60
    members: dict[str, Any] = {
        "iss": f"https://securetoken.google.com/{project}",
        "aud": project,
        "auth_time": int(now) - 600,
        "user_id": uid,
        "sub": uid,
        "iat": issued_at,
        "exp": issued_at + LIFETIME,
        "email": "ada@example.com",
        "email_verified": True,
        "firebase": {"identities": {"email": ["ada@example.com"]}, "sign_in_provider": "password"},
    }
    return _without_absent(members | claims)


def header(kid: Any = KID, **fields: Any) -> dict[str, Any]:
    """The protected header of a good ID token; ``fields`` replace."""
    return _without_absent({"alg": "RS256", "kid": kid, "typ": "JWT"} | fields)


def id_token(
    *,
    now: float = NOW,
    uid: str = UID,
    project: str = PROJECT,
    kid: str = KID,
    signed_with: str | rsa.RSAPrivateKey | None = None,
    headers: Mapping[str, Any] | None = None,
    **claims: Any,
) -> str:
    """An ID token, good unless told otherwise; ``signed_with`` names the key that really signs (default: ``kid``'s)."""
    signer = signed_with if isinstance(signed_with, rsa.RSAPrivateKey) else private_key(signed_with or kid)
    return raw(header(kid, **(headers or {})), payload(now=now, uid=uid, project=project, **claims), signer)


def session_cookie(*, now: float = NOW, project: str = PROJECT, kid: str = KID, **claims: Any) -> str:
    """A Firebase session cookie: the claims of an ID token under the other issuer (identity-toolkit.md section 4.2)."""
    issuer = f"https://session.firebase.google.com/{project}"
    return id_token(now=now, project=project, kid=kid, **({"iss": issuer} | claims))


def raw(
    header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes, key: rsa.RSAPrivateKey | Signer | None
) -> str:
    """A compact JWS of exactly these parts: RS256 by a private key, a signer's bytes, or no signature for None."""
    signing_input = f"{b64(_bytes(header))}.{b64(_bytes(payload))}"
    if key is None:
        signature = b""
    elif isinstance(key, rsa.RSAPrivateKey):
        signature = rs256(signing_input.encode(), key)
    else:
        signature = key(signing_input.encode())
    return f"{signing_input}.{b64(signature)}"


def rs256(data: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """RSASSA-PKCS1-v1_5 with SHA-256."""
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def certificate(kid: str = KID) -> str:
    """A self-signed certificate over the key of this name, in PEM."""
    return _certificate(kid)


@functools.cache
def _certificate(kid: str) -> str:
    key = private_key(kid)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "securetoken.system.gserviceaccount.com")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


def jwk(kid: str = KID, **fields: Any) -> dict[str, Any]:
    """The public key of this name as a JWK."""
    numbers = private_key(kid).public_key().public_numbers()
    members = {
        "kty": "RSA",
        "alg": "RS256",
        "use": "sig",
        "kid": kid,
        "n": _b64_int(numbers.n),
        "e": _b64_int(numbers.e),
    }
    return _without_absent(members | fields)


def certificates(*kids: str) -> bytes:
    """``{kid: PEM}``, as Google publishes it."""
    return json.dumps({kid: certificate(kid) for kid in kids or (KID,)}).encode()


def jwks(*kids: str) -> bytes:
    """``{"keys": [...]}`` (RFC 7517 section 5)."""
    return json.dumps({"keys": [jwk(kid) for kid in kids or (KID,)]}).encode()


def _without_absent(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ABSENT}


def _bytes(part: Mapping[str, Any] | bytes) -> bytes:
    return part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()


def _b64_int(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))
