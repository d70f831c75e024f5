from __future__ import annotations

import datetime as dt
import hashlib
import ssl

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc import jwk, jws

from gateway.tokens.mint import LOCAL_PROVIDER_COMMON_NAME, SigningKey, generate_signing_key, sign
from tests.support.idp import key_source


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return generate_signing_key(
        LOCAL_PROVIDER_COMMON_NAME, not_before=1_700_000_000, not_after=1_900_000_000, source=key_source
    )


def test_certificate_carries_the_mark_of_the_local_provider(key: SigningKey) -> None:
    """the gateway can tell a local provider's certificate by its name, and its key by a kid that is marked as local."""
    (name,) = key.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "session-gateway local identity provider"
    assert key.certificate.issuer == key.certificate.subject
    der = ssl.PEM_cert_to_DER_cert(key.certificate_pem())
    assert key.kid == "local-" + hashlib.sha1(der).hexdigest()  # noqa: S324 - a name
    assert key.certificate.not_valid_before_utc == dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
    assert key.certificate.not_valid_after_utc == dt.datetime.fromtimestamp(1_900_000_000, dt.UTC)
    key.certificate.verify_directly_issued_by(key.certificate)


def test_signature_verifies_with_an_independent_implementation(key: SigningKey) -> None:
    """the gateway's tokens verify with another JOSE implementation, by the published JWK."""
    token = sign({"sub": "ü", "n": 1}, key)
    verified = jws.deserialize_compact(token, jwk.RSAKey.import_key({**key.jwk()}), algorithms=["RS256"])
    assert verified.headers() == {"alg": "RS256", "kid": key.kid, "typ": "JWT"}
    assert jwt.decode(token, key.certificate.public_key(), algorithms=["RS256"]) == {"sub": "ü", "n": 1}  # type: ignore[arg-type]  # RSA


def test_key_comes_back_from_its_text(key: SigningKey) -> None:
    """the gateway reads a key back from PEM, and its repr shows no secret."""
    again = SigningKey.from_pem(key.private_pem(), key.certificate_pem())
    assert (again.kid, again.jwk()) == (key.kid, key.jwk())
    assert "PRIVATE" not in repr(key)


def test_mismatched_texts_are_refused(key: SigningKey) -> None:
    """the gateway refuses a certificate that belongs to another key, and keys of another kind."""
    other = generate_signing_key("x", not_before=0, not_after=1, source=key_source)
    with pytest.raises(ValueError, match="another key"):
        SigningKey.from_pem(other.private_pem(), key.certificate_pem())
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="not an RSA key"):
        SigningKey.from_pem(curve.decode(), key.certificate_pem())


def test_payload_must_be_json(key: SigningKey) -> None:
    """the gateway signs nothing that JSON cannot say."""
    with pytest.raises(TypeError):
        sign({"a": object()}, key)
