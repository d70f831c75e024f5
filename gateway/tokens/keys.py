"""Public keys: from Google's X.509 map or a JWK set to key objects, ready to verify.

The rules this file obeys: a key is RSA, has at least 2048 bits and an odd public exponent of at least 3 (RFC 7518
section 3.3, NIST SP 800-57 part 1 table 2); a ``kid`` names one key; an entry that is no such key is left out, and a
document without a single usable key is refused as a whole, so that a broken answer never replaces a good key set.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

MIN_KEY_BITS: Final = 2048
MAX_KEY_BITS: Final = 8192
"""Bits. Larger keys only slow verification down; Google's are 2048."""

MAX_KEYS: Final = 64
"""Keys read from one document. Google publishes two or three at a time."""

LOCAL_KEY_PREFIX: Final = "local-"
"""Every ``kid`` of the embedded identity provider starts so: a gateway in production mode never accepts such a key."""


def parse_key_document(body: bytes) -> dict[str, RSAPublicKey]:
    """Read ``{kid: PEM certificate}`` (Google's ``/robot/v1/metadata/x509/…``) or ``{"keys": [JWK, …]}`` (RFC 7517).

    :returns: at least one key by ``kid``.
    :raises ValueError: not such a document, or no usable key in it. The text is for the operator's log.
    """
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError("the answer is not JSON") from error
    if not isinstance(document, dict):
        raise ValueError("the answer is not a JSON object")  # noqa: TRY004 - a fault of the document, as the others
    keys: dict[str, RSAPublicKey] = {}
    if isinstance(document.get("keys"), list):
        for jwk in document["keys"][:MAX_KEYS]:
            if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str):
                _keep(keys, jwk["kid"], partial(key_from_jwk, jwk))
    else:
        for kid, pem in list(document.items())[:MAX_KEYS]:
            if isinstance(pem, str):
                _keep(keys, kid, partial(key_from_certificate, pem))
    if not keys:
        raise ValueError("the answer holds no usable RSA key")
    return keys


def _keep(keys: dict[str, RSAPublicKey], kid: str, read: Callable[[], RSAPublicKey]) -> None:
    try:
        keys[kid] = read()
    except ValueError:
        return


def key_from_certificate(pem: str) -> RSAPublicKey:
    """The public key of a PEM certificate. Its dates and issuer mean nothing here: publication is what makes it valid.

    :raises ValueError: no certificate, or not a key that may verify RS256.
    """
    try:
        key = x509.load_pem_x509_certificate(pem.encode("ascii")).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("not a PEM certificate with a supported key") from error
    return _checked(key)


def key_from_jwk(jwk: Mapping[str, Any]) -> RSAPublicKey:
    """The public key of a JWK.

    :raises ValueError: not an RSA public key for signatures with RS256, or one of unusable size.
    """
    if jwk.get("kty") != "RSA":
        raise ValueError("kty is not RSA")
    if jwk.get("alg", "RS256") != "RS256" or jwk.get("use", "sig") != "sig":
        raise ValueError("the key is not meant for RS256 signatures")
    operations = jwk.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        raise ValueError("the key's key_ops do not allow verification")
    try:
        return _checked(RSAPublicNumbers(e=_number(jwk, "e"), n=_number(jwk, "n")).public_key())
    except UnsupportedAlgorithm as error:
        raise ValueError("the key's size is not supported") from error


def _number(jwk: Mapping[str, Any], name: str) -> int:
    text = jwk.get(name)
    if not isinstance(text, str) or not text or len(text) > 2 * MAX_KEY_BITS:
        raise ValueError(f"{name} is missing")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise ValueError(f"{name} is not base64url") from error
    return int.from_bytes(raw, "big")


def _checked(key: object) -> RSAPublicKey:
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not an RSA key")  # noqa: TRY004 - a fault of the document, as the others
    if not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
        raise ValueError(f"an RSA key of {key.key_size} bits")
    return key
