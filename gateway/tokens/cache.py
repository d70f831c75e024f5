"""What was found out about exact bytes: whose signature they carry, or why they were refused for good.

The rules this file obeys (``threats.md`` rows 8 and 38; oathkeeper CVE-2021-32701 and CVE-2026-33496, Traefik
CVE-2026-71326 are what happens without them):

1. **The name of an entry is the SHA-256 of everything that mattered**: the kind of token, project, tenant policy and
   skew, then each byte of the token. Never a claim, a subject, a signature or a part of the token.
2. **A signature is remembered, never a verdict.** A hit spares the RSA operation. The claims are read from the bytes
   and judged against the clock each time, by the same lines as the first time, so no entry can outlive ``exp``, and a
   step of the clock or a rule about time needs no thought here.
3. **An entry is worth no more than its key.** It holds the key object that verified it and counts only while the key
   source still hands out that same object under that name.
4. **Strangers cannot make it grow.** Only tokens with a good signature get an entry; they are bounded in bytes, in two
   generations: what is not used while one fills, or for a while, goes with the old one. Refusals lie in a fixed number
   of slots, each new one in the place of another.
5. **A refusal is remembered only if nothing can mend it**: not for a key that is not published yet, nor for a token
   that is not valid yet. A change of keys forgets all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from gateway.errors import (
    BadSignature,
    ForbiddenAlgorithm,
    MalformedToken,
    TokenError,
    WrongAudience,
    WrongIssuer,
    WrongKind,
    WrongSubject,
    WrongTenant,
)

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

ENTRY_BYTES: Final = 192
"""Bytes that one entry costs at most: 80 for the digest, 24 to 52 in a table, twice that while a table grows."""

DEFAULT_MAX_BYTES: Final = 40 * 1024 * 1024
"""Bytes for verified tokens: room for about 200,000, so that 100,000 in use stay (one generation)."""

GENERATION_LIFE: Final = 1800.0
"""Seconds after which a generation ages whether or not it is full. An ID token lives an hour; one that is no longer
used is forgotten within another."""

REFUSAL_SLOTS: Final = 4096
"""Places for refusals; with the rest of each, about a megabyte."""

REFUSAL_LIFE: Final = 60.0
"""Seconds that a refusal is remembered."""

_PERMANENT: Final[frozenset[type[TokenError]]] = frozenset(
    {
        BadSignature,
        ForbiddenAlgorithm,
        MalformedToken,
        WrongAudience,
        WrongIssuer,
        WrongKind,
        WrongSubject,
        WrongTenant,
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """A key under its name. One object per key, however many tokens it signed."""

    kid: str
    key: RSAPublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Refusal:
    digest: bytes = field(repr=False)
    error: type[TokenError]
    text: str
    until: float


class TokenCache:
    """Signatures and refusals by exact bytes. Times are monotonic seconds, handed in.

    :param context: :attr:`gateway.tokens.id_token.TokenRules.identity` of the rules that tokens are judged by.
    :param max_bytes: bound for verified tokens, in bytes; 0 remembers none.
    """

    __slots__ = ("_ages_at", "_capacity", "_context", "_old", "_refusals", "_signers", "_young")

    def __init__(self, context: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        # Hashed, so that it has a fixed length and no token can continue it.
        self._context = sha256(context).digest()
        self._capacity = max_bytes // ENTRY_BYTES // 2
        self._young: dict[bytes, Signer] = {}
        self._old: dict[bytes, Signer] = {}
        self._ages_at = 0.0
        self._signers: dict[str, Signer] = {}
        self._refusals: list[_Refusal | None] = [None] * REFUSAL_SLOTS

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def name(self, token: bytes) -> bytes:
        """The name of a token's entry."""
        return sha256(self._context + token).digest()

    # ---- signatures --------------------------------------------------------------------------------------------------

    def signer(self, name: bytes, now: float) -> Signer | None:
        """Who signed these bytes, as far as it is remembered."""
        found = self._young.get(name)
        if found is None and self._old:
            found = self._old.pop(name, None)
            if found is not None:
                self._insert(name, found, now)
        return found

    def remember(self, name: bytes, kid: str, key: RSAPublicKey, now: float) -> None:
        """Note that ``key``, published as ``kid``, has verified these bytes."""
        if self._capacity == 0:
            return
        signer = self._signers.get(kid)
        if signer is None or signer.key is not key:
            signer = self._signers[kid] = Signer(kid, key)
        self._insert(name, signer, now)

    def forget(self, name: bytes) -> None:
        """Drop one entry, for a token that has expired or whose key is gone."""
        self._young.pop(name, None)
        self._old.pop(name, None)

    def keys_changed(self, removed: AbstractSet[str]) -> None:
        """Drop whatever the removed keys signed, and every refusal."""
        self._refusals = [None] * REFUSAL_SLOTS
        if removed:
            self._young = {name: signer for name, signer in self._young.items() if signer.kid not in removed}
            self._old = {name: signer for name, signer in self._old.items() if signer.kid not in removed}
            self._signers = {kid: signer for kid, signer in self._signers.items() if kid not in removed}

    def _insert(self, name: bytes, signer: Signer, now: float) -> None:
        if len(self._young) >= self._capacity or now >= self._ages_at:
            self._old = self._young
            self._young = {}
            self._ages_at = now + GENERATION_LIFE
        self._young[name] = signer

    # ---- refusals ----------------------------------------------------------------------------------------------------

    def refusal(self, name: bytes, now: float) -> TokenError | None:
        """Why these bytes were refused, as far as it is remembered; a fresh exception."""
        found = self._refusals[_slot(name)]
        if found is None or found.digest != name or found.until <= now:
            return None
        return found.error(found.text)

    def refuse(self, name: bytes, error: TokenError, now: float) -> None:
        """Note a refusal, if it is one for good."""
        if type(error) in _PERMANENT:
            self._refusals[_slot(name)] = _Refusal(name, type(error), str(error), now + REFUSAL_LIFE)


def _slot(name: bytes) -> int:
    return (name[0] << 8 | name[1]) % REFUSAL_SLOTS
