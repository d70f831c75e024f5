"""Signing: RSA keys with their certificates, and compact JWS made with them (RS256 only).

The rule this file obeys: **whoever sees a token can tell who made it.** The ``kid`` of every key made here starts with
:data:`gateway.tokens.keys.LOCAL_KEY_PREFIX`, in the token's header as in the published key documents. A gateway that
guards a real project refuses keys of that name, so that tokens of a development provider can never open a production
door, even when somebody points the certificate endpoint at the wrong host (``threats.md`` row 15). The certificates say
the same to people, by :data:`LOCAL_PROVIDER_COMMON_NAME`.

Pure: no I/O, no clock. Moments are handed in as whole seconds since the epoch.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from gateway.tokens.keys import LOCAL_KEY_PREFIX

LOCAL_PROVIDER_COMMON_NAME: Final = "session-gateway local identity provider"
"""Common name of every certificate of the embedded provider."""

ALGORITHM: Final = "RS256"
"""The one algorithm we sign with (RFC 7518 section 3.3), and the only one a verifier of ours accepts."""

KEY_BITS: Final = 2_048
"""RSA modulus length: the least RFC 7518 section 3.3 allows, and what Google's token keys have."""

PUBLIC_EXPONENT: Final = 65_537
"""The usual RSA exponent (FIPS 186-5 section 5.4 sets the lower bound of 2^16)."""

PrivateKeySource: TypeAlias = Callable[[], rsa.RSAPrivateKey]
"""Makes a fresh private key. Handed in where generating one (some tenths of a second) matters, as in tests."""


def generate_private_key() -> rsa.RSAPrivateKey:
    """A fresh RSA key of :data:`KEY_BITS` bits."""
    return rsa.generate_private_key(public_exponent=PUBLIC_EXPONENT, key_size=KEY_BITS)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its self-signed certificate.

    ``kid`` is the mark of local keys and the SHA-1 fingerprint of the certificate, 40 lower-case hexadecimal digits as
    Google's are. It is a name, not a protection, so the weakness of SHA-1 does not matter.
    """

    kid: str
    private_key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate = field(repr=False)

    @classmethod
    def from_pem(cls, private_pem: str, certificate_pem: str) -> SigningKey:
        """Read back what :meth:`private_pem` and :meth:`certificate_pem` wrote.

        :raises ValueError: either text is not what it should be, or they do not belong together.
        """
        private_key = serialization.load_pem_private_key(private_pem.encode("ascii"), password=None)
        if not isinstance(private_key, rsa.RSAPrivateKey):
            raise ValueError("the private key is not an RSA key")  # noqa: TRY004 - bad data, not a bad argument type
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode("ascii"))
        if certificate.public_key() != private_key.public_key():
            raise ValueError("the certificate belongs to another key")
        return cls(local_kid(certificate), private_key, certificate)

    def private_pem(self) -> str:
        """The private key, PKCS #8 in PEM, not encrypted: whoever stores it protects the file."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode("ascii")

    def certificate_pem(self) -> str:
        """The certificate in PEM, as an X.509 key map holds it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def jwk(self) -> dict[str, str]:
        """The public half as a JSON Web Key (RFC 7517 section 4, RFC 7518 section 6.3.1)."""
        numbers = self.private_key.public_key().public_numbers()
        return {
            "kty": "RSA",
            "alg": ALGORITHM,
            "use": "sig",
            "kid": self.kid,
            "n": _unsigned(numbers.n),
            "e": _unsigned(numbers.e),
        }


def generate_signing_key(
    common_name: str, *, not_before: int, not_after: int, source: PrivateKeySource = generate_private_key
) -> SigningKey:
    """A new key with a self-signed certificate (RFC 5280) for ``common_name``.

    :param not_before: start of the certificate's validity, seconds since the epoch.
    :param not_after: end of it, seconds since the epoch.
    :param source: makes the private key.
    """
    private_key = source()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime.fromtimestamp(not_before, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(not_after, dt.UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_DIGITAL_SIGNATURE_ONLY, critical=True)
        .sign(private_key, hashes.SHA256())
    )
    return SigningKey(local_kid(certificate), private_key, certificate)


def local_kid(certificate: x509.Certificate) -> str:
    """The ``kid`` of a certificate: the mark of local keys, then its SHA-1 fingerprint in lower-case hexadecimal."""
    digest = certificate.fingerprint(hashes.SHA1())  # noqa: S303 - a name, see SigningKey
    return LOCAL_KEY_PREFIX + digest.hex()


def sign(payload: Mapping[str, Any], key: SigningKey) -> str:
    """A compact JWS (RFC 7515 section 7.1) of ``payload``; header ``alg``, ``kid`` and ``typ`` only.

    :raises TypeError: the payload holds something that JSON cannot say.
    """
    return jwt.encode(dict(payload), key.private_key, algorithm=ALGORITHM, headers={"kid": key.kid, "typ": "JWT"})


def _unsigned(number: int) -> str:
    """Base64urlUInt (RFC 7518 section 2)."""
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


_DIGITAL_SIGNATURE_ONLY: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
