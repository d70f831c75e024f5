"""Keeping OAuth refresh tokens for later (blocking-functions.md scenario 4.9).

The rules this file obeys: **a refresh token is stored encrypted or not at all** (AES-256-GCM), bound to the user and
the provider that it belongs to, so that a stored token moved to another row does not open; nothing is stored when the
service forwards none; and what is done with the token afterwards can fail without failing the registration.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.blocking.background import call
from gateway.blocking.model import EventContext, User
from gateway.blocking.ready_made.addresses import Function
from gateway.blocking.threads import Threads
from gateway.errors import ConfigError

KEY_BYTES: Final = 32
"""AES-256."""

NONCE_BYTES: Final = 12
"""What GCM takes (NIST SP 800-38D section 5.2.1.1). Drawn at random: good for 2^32 tokens under one key."""

_VERSION: Final = "v1"
_ID_CHARACTERS: Final = 8
_THREADS: Final = 4

Save: TypeAlias = Callable[[str, str, str], Any]
"""Stores ``(uid, sealed token, provider id)``; may be async."""

FollowUp: TypeAlias = Callable[[User, EventContext], Any]
"""Does something with the fresh tokens in ``context.credential``, after the answer; may be async."""


class TokenSealer:
    """Encrypts tokens with the first key and decrypts with any, so that keys can be replaced.

    :param keys: 32 bytes each in base64, standard or URL-safe: ``openssl rand -base64 32``.
    :raises ConfigError: none, or not such a key.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ConfigError("key", "is missing, and tokens are not stored in the clear", "openssl rand -base64 32")
        self._ciphers = {_key_id(key): AESGCM(key) for key in map(_key, keys)}
        self._first = next(iter(self._ciphers))

    def seal(self, token: str, uid: str, provider_id: str) -> str:
        """Encrypt; the text names the key, and is ASCII without spaces."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._first].encrypt(nonce, token.encode("utf-8"), _owner(uid, provider_id))
        return f"{_VERSION}.{self._first}.{base64.urlsafe_b64encode(nonce + sealed).decode('ascii')}"

    def open(self, sealed: str, uid: str, provider_id: str) -> str:
        """Decrypt.

        :raises ValueError: it was not sealed with one of the keys for this user and provider. Never shows the text.
        """
        version, _, rest = sealed.partition(".")
        key_id, _, body = rest.partition(".")
        cipher = self._ciphers.get(key_id)
        if version != _VERSION or cipher is None:
            raise ValueError("sealed with none of the keys")
        try:
            raw = base64.urlsafe_b64decode(body)
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _owner(uid, provider_id)).decode("utf-8")
        except (InvalidTag, ValueError):
            raise ValueError("not sealed for this user and provider, or damaged") from None


def store_refresh_tokens(
    save: Save,
    sealer: TokenSealer,
    *,
    providers: Sequence[str] = ("google.com",),
    follow_up: FollowUp | None = None,
) -> Function:
    """Store the refresh token of a new user, encrypted (beforeCreate).

    The project must forward refresh tokens (``forwardInboundCredentials.refreshToken``), and Google hands one out only
    with ``access_type=offline``. When ``save`` fails, the registration does: the user can try again.

    :param providers: whose tokens to keep.
    :param follow_up: called after the answer; what it raises is logged.
    :raises ConfigError: no provider.
    """
    if not providers:
        raise ConfigError("store_refresh_tokens", "names no provider", '"google.com"')
    threads = Threads(_THREADS, "refresh tokens")
    kept = frozenset(providers)

    async def store(user: User, context: EventContext) -> None:
        credential = context.credential
        if credential is None or credential.provider_id not in kept or not credential.refresh_token:
            return
        provider = credential.provider_id or ""
        sealed = sealer.seal(credential.refresh_token, user.uid, provider)
        await call(save, (user.uid, sealed, provider), threads)
        if follow_up is not None:
            context.defer(follow_up, user, context)

    return store


def _key(text: str) -> bytes:
    try:
        plain = text.strip().rstrip("=")
        key = base64.b64decode(
            plain + "=" * (-len(plain) % 4), altchars=b"-_" if {*"-_"} & {*plain} else None, validate=True
        )
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError("key", f"is not {KEY_BYTES} bytes in base64", "openssl rand -base64 32")
    return key


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"refresh token key\0" + key).hexdigest()[:_ID_CHARACTERS]


def _owner(uid: str, provider_id: str) -> bytes:
    return f"{len(uid)}:{uid}{provider_id}".encode()
