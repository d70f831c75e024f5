"""Key documents: what becomes a key and what is left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.tokens.keys import MAX_KEYS, key_from_jwk, parse_key_document
from tests.support import forge


def test_both_forms_give_the_same_keys() -> None:
    """... reads Google's certificate map and a JWK set alike."""
    from_map = parse_key_document(forge.certificates("a", "b"))
    from_set = parse_key_document(forge.jwks("a", "b"))
    assert set(from_map) == set(from_set) == {"a", "b"}
    assert (
        from_map["a"].public_numbers()
        == from_set["a"].public_numbers()
        == forge.private_key("a").public_key().public_numbers()
    )


def _elliptic_certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ec")])
    genuine = x509.load_pem_x509_certificate(forge.certificate().encode())
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(genuine.not_valid_before_utc)
        .not_valid_after(genuine.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


def test_unusable_entries_are_left_out() -> None:
    """... keeps the good keys of a document that also holds others."""
    document = json.loads(forge.certificates("good"))
    document |= {"elliptic": _elliptic_certificate(), "garbage": "-----BEGIN", "number": 1, "non-ascii": "é"}
    assert set(parse_key_document(json.dumps(document).encode())) == {"good"}
    keys = [
        forge.jwk("good"),
        forge.jwk("x", kty="EC"),
        forge.jwk("y", use="enc"),
        {"kid": "z"},
        "text",
        forge.jwk("w") | {"kid": 1},
    ]
    assert set(parse_key_document(json.dumps({"keys": keys}).encode())) == {"good"}


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"keys":[]}', b'{"a":"b"}', b"\xff", b"null", b"[" * 100_000]
)
def test_a_document_without_a_key_is_refused_as_a_whole(body: bytes) -> None:
    """... never takes a broken answer for an empty key set."""
    with pytest.raises(ValueError, match=r"JSON|no usable"):
        parse_key_document(body)


def test_the_number_of_keys_is_bounded() -> None:
    """... reads a bounded number of entries."""
    pem = forge.certificate("a")
    document = {f"k{index}": pem for index in range(MAX_KEYS + 10)}
    assert len(parse_key_document(json.dumps(document).encode())) == MAX_KEYS


@pytest.mark.parametrize(
    "fields",
    [
        {"n": forge.ABSENT},
        {"e": forge.ABSENT},
        {"n": ""},
        {"n": 5},
        {"e": "!!"},
        {"e": "AQ!AB"},
        {"e": "AQ\nAB"},
        {"e": "A" * 16_388},
        {"e": ""},
        {"n": None},
        {"e": "AQ"},
        {"e": "Ag"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
    ],
)
def test_malformed_jwks_are_refused(fields: dict[str, Any]) -> None:
    """... refuses a JWK that is not a usable RSA public key for RS256."""
    with pytest.raises(ValueError):
        key_from_jwk(forge.jwk(**fields))


def test_key_ops_may_name_verify() -> None:
    """... takes a key whose key_ops allow verification."""
    assert key_from_jwk(forge.jwk(key_ops=["verify"])).key_size == 2048
