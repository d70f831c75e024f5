"""Hashes of other systems, against what the standard library or a published vector says."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from gateway.idp import foreign_hashes


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode()


PASSWORD, SALT, KEY = b"pass\xc3\xa9word", b"NaCl", b"key"
CASES: list[tuple[dict[str, Any], bytes]] = [
    ({"algorithm": "MD5", "rounds": 0}, hashlib.md5(SALT + PASSWORD).digest()),  # noqa: S324 - an import
    ({"algorithm": "SHA1", "rounds": 1}, hashlib.sha1(SALT + PASSWORD).digest()),  # noqa: S324 - an import
    ({"algorithm": "SHA256", "rounds": 2}, hashlib.sha256(hashlib.sha256(SALT + PASSWORD).digest()).digest()),
    (
        {"algorithm": "SHA512", "rounds": 1, "order": "PASSWORD_AND_SALT"},
        hashlib.sha512(PASSWORD + SALT).digest(),
    ),
    ({"algorithm": "HMAC_SHA256", "signer_key": b64(KEY)}, hmac.digest(KEY, SALT + PASSWORD, "sha256")),
    ({"algorithm": "HMAC_MD5", "signer_key": b64(KEY)}, hmac.digest(KEY, SALT + PASSWORD, "md5")),
    ({"algorithm": "PBKDF_SHA1", "rounds": 10}, hashlib.pbkdf2_hmac("sha1", PASSWORD, SALT, 10)),
    ({"algorithm": "PBKDF2_SHA256", "rounds": 10}, hashlib.pbkdf2_hmac("sha256", PASSWORD, SALT, 10, 64)),
    (
        {"algorithm": "STANDARD_SCRYPT", "memory_cost": 16, "block_size": 8, "parallelization": 1, "derived_bytes": 24},
        hashlib.scrypt(PASSWORD, salt=SALT, n=16, r=8, p=1, dklen=24),
    ),
]


@pytest.mark.parametrize(("parameters", "digest"), CASES, ids=[case[0]["algorithm"] for case in CASES])
def test_imported_hash_verifies(parameters: dict[str, Any], digest: bytes) -> None:
    """the provider checks passwords against hashes of other systems."""
    foreign = foreign_hashes.parse_parameters(**parameters).with_hash(b64(digest), b64(SALT))
    stored = foreign_hashes.encode(foreign)
    assert foreign_hashes.is_foreign(stored)
    assert foreign_hashes.verify(stored, PASSWORD.decode())
    assert not foreign_hashes.verify(stored, "wrong")


def test_firebase_scrypt_matches_the_public_vector() -> None:
    """the provider computes Firebase's own scrypt variant as its published test vector says."""
    # https://github.com/firebase/scrypt (README, "password test")
    parameters = foreign_hashes.parse_parameters(
        algorithm="SCRYPT",
        signer_key="jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
        salt_separator="Bw==",
        rounds=8,
        memory_cost=14,
    )
    foreign = parameters.with_hash(
        "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==", "42xEC+ixf3L2lw=="
    )
    stored = foreign_hashes.encode(foreign)
    assert foreign_hashes.verify(stored, "user1password")
    assert not foreign_hashes.verify(stored, "user2password")


@pytest.mark.parametrize(
    "parameters",
    [
        {"algorithm": "BCRYPT"},
        {"algorithm": "HMAC_SHA256"},
        {"algorithm": "SHA256", "rounds": 8_193},
        {"algorithm": "PBKDF2_SHA256", "rounds": -1},
        {"algorithm": "SCRYPT", "signer_key": "AA==", "memory_cost": 15, "rounds": 8},
        {"algorithm": "SCRYPT", "signer_key": "AA==", "memory_cost": 14, "rounds": 9},
        {"algorithm": "STANDARD_SCRYPT", "memory_cost": 15, "block_size": 8, "parallelization": 1, "derived_bytes": 32},
        {
            "algorithm": "STANDARD_SCRYPT",
            "memory_cost": 2**30,
            "block_size": 8,
            "parallelization": 1,
            "derived_bytes": 32,
        },
        {"algorithm": "HMAC_SHA256", "signer_key": "!"},
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, Any]) -> None:
    """the provider refuses unknown algorithms and parameters that are missing or would cost too much."""
    with pytest.raises(ValueError):
        foreign_hashes.parse_parameters(**parameters)


def test_hash_must_be_base64() -> None:
    """the provider refuses a hash that is not base64."""
    with pytest.raises(ValueError):
        foreign_hashes.parse_parameters(algorithm="MD5").with_hash("!!", "")
