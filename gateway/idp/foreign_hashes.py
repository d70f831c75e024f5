"""Password hashes that were imported from other systems (``accounts:batchCreate``).

They are verified once: the first successful sign-in replaces them by argon2id. Supported are the algorithms that the
standard library and ``cryptography`` compute (identity-toolkit.md section 10.1 lists the names); bcrypt is not among
them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_MARK: Final = "imported:"
_MAX_SCRYPT_BYTES: Final = 256 * 1_024 * 1_024
"""Memory bound for one imported scrypt hash, bytes; parameters beyond it are refused at import."""

_DERIVED_BYTES: Final = 32
"""Key length of Firebase's scrypt variant, an AES-256 key."""

_MAX_ROUNDS: Final[dict[str, int]] = {"MD5": 8_192, "SHA1": 8_192, "SHA256": 8_192, "SHA512": 8_192,
                                      "PBKDF_SHA1": 120_000, "PBKDF2_SHA256": 1_000_000}  # fmt: skip
"""Most rounds that an import may ask for, by algorithm; the Admin SDKs' own limits, PBKDF2_SHA256 raised."""

_HMAC: Final = {"HMAC_SHA512": "sha512", "HMAC_SHA256": "sha256", "HMAC_SHA1": "sha1", "HMAC_MD5": "md5"}
_PLAIN: Final = {"SHA512": "sha512", "SHA256": "sha256", "SHA1": "sha1", "MD5": "md5"}
_PBKDF2: Final = {"PBKDF_SHA1": "sha1", "PBKDF2_SHA256": "sha256"}

Order = Literal["SALT_AND_PASSWORD", "PASSWORD_AND_SALT"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """One imported hash with everything needed to check a password against it. Binary fields are standard base64."""

    algorithm: str
    hash: str = ""
    salt: str = ""
    signer_key: str = ""
    salt_separator: str = ""
    rounds: int = 0
    memory_cost: int = 0
    block_size: int = 0
    parallelization: int = 0
    derived_bytes: int = 0
    order: Order = "SALT_AND_PASSWORD"

    def with_hash(self, hash_: str, salt: str) -> Foreign:
        """The same parameters for one user's hash and salt.

        :raises ValueError: either is not base64.
        """
        return replace(self, hash=_base64(hash_), salt=_base64(salt))


def parse_parameters(  # noqa: PLR0913 - the fields of an import, by name
    *,
    algorithm: str,
    signer_key: str = "",
    salt_separator: str = "",
    rounds: int = 0,
    memory_cost: int = 0,
    block_size: int = 0,
    parallelization: int = 0,
    derived_bytes: int = 0,
    order: str = "",
) -> Foreign:
    """Parameters of an import, checked.

    :raises ValueError: unknown algorithm, or parameters that are missing or unreasonably costly.
    """
    if algorithm not in {*_HMAC, *_PLAIN, *_PBKDF2, "SCRYPT", "STANDARD_SCRYPT"}:
        raise ValueError(f"{algorithm} is not supported")
    foreign = Foreign(
        algorithm=algorithm,
        signer_key=_base64(signer_key),
        salt_separator=_base64(salt_separator),
        rounds=rounds,
        memory_cost=memory_cost,
        block_size=block_size,
        parallelization=parallelization,
        derived_bytes=derived_bytes,
        order="PASSWORD_AND_SALT" if order == "PASSWORD_AND_SALT" else "SALT_AND_PASSWORD",
    )
    if algorithm in _MAX_ROUNDS and not 0 <= rounds <= _MAX_ROUNDS[algorithm]:
        raise ValueError("rounds are out of range")
    if algorithm in {*_HMAC, "SCRYPT"} and not signer_key:
        raise ValueError("the signer key is missing")
    if algorithm == "SCRYPT" and not (1 <= memory_cost <= 14 and 1 <= rounds <= 8):  # noqa: PLR2004 - the service's limits
        raise ValueError("memory cost or rounds are out of range")
    if algorithm == "STANDARD_SCRYPT":
        power_of_two = memory_cost > 1 and memory_cost & (memory_cost - 1) == 0
        if not power_of_two or min(block_size, parallelization, derived_bytes) < 1:
            raise ValueError("scrypt parameters are out of range")
        if 128 * memory_cost * block_size * parallelization > _MAX_SCRYPT_BYTES:
            raise ValueError("scrypt parameters are too costly")
    return foreign


def encode(foreign: Foreign) -> str:
    """One line of text for the password column."""
    return _MARK + json.dumps(asdict(foreign), separators=(",", ":"))


def decode(stored: str) -> Foreign:
    """What :func:`encode` wrote."""
    return Foreign(**json.loads(stored.removeprefix(_MARK)))


def is_foreign(stored: str) -> bool:
    """Whether a stored hash came from an import."""
    return stored.startswith(_MARK)


def verify(stored: str, password: str) -> bool:
    """Whether ``password`` belongs to the imported hash."""
    foreign = decode(stored)
    return hmac.compare_digest(_compute(foreign, password.encode("utf-8")), base64.b64decode(foreign.hash))


def _compute(foreign: Foreign, password: bytes) -> bytes:
    salt = base64.b64decode(foreign.salt)
    name = foreign.algorithm
    if name == "SCRYPT":
        return _firebase_scrypt(foreign, password, salt)
    if name == "STANDARD_SCRYPT":
        return hashlib.scrypt(
            password,
            salt=salt,
            n=foreign.memory_cost,
            r=foreign.block_size,
            p=foreign.parallelization,
            dklen=foreign.derived_bytes,
            maxmem=2 * _MAX_SCRYPT_BYTES,
        )
    if name in _PBKDF2:
        length = len(base64.b64decode(foreign.hash)) or None
        return hashlib.pbkdf2_hmac(_PBKDF2[name], password, salt, max(1, foreign.rounds), length)
    message = password + salt if foreign.order == "PASSWORD_AND_SALT" else salt + password
    if name in _HMAC:
        return hmac.digest(base64.b64decode(foreign.signer_key), message, _HMAC[name])
    digest = hashlib.new(_PLAIN[name], message).digest()
    for _ in range(max(1, foreign.rounds) - 1):
        digest = hashlib.new(_PLAIN[name], digest).digest()
    return digest


def _firebase_scrypt(foreign: Foreign, password: bytes, salt: bytes) -> bytes:
    """The project's signer key, AES-256-CTR encrypted under the scrypt key of the password."""
    key = hashlib.scrypt(
        password,
        salt=salt + base64.b64decode(foreign.salt_separator),
        n=1 << foreign.memory_cost,
        r=foreign.rounds,
        p=1,
        dklen=_DERIVED_BYTES,
        maxmem=2 * _MAX_SCRYPT_BYTES,
    )
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return encryptor.update(base64.b64decode(foreign.signer_key)) + encryptor.finalize()


def _base64(text: str) -> str:
    """Standard base64 with padding, from either alphabet.

    :raises ValueError: it is neither.
    """
    padded = text.replace("-", "+").replace("_", "/").rstrip("=")
    padded += "=" * (-len(padded) % 4)
    try:
        base64.b64decode(padded, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    return padded
