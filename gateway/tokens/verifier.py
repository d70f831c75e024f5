"""Credential in, claims out: the signature layer, the key source and the rules of one kind of token in one line.

Junk is refused before the costly step: size, spelling, algorithm, key name and every claim are judged before the RSA
operation, so that only tokens that could be good cost one. What has cost one is remembered by its exact bytes
(:mod:`gateway.tokens.cache`), good or bad.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from gateway.errors import BadSignature, MalformedToken, TokenError, TokenExpired, UnknownKey
from gateway.tokens.cache import DEFAULT_MAX_BYTES, TokenCache
from gateway.tokens.id_token import Kind, TokenRules, read_claims
from gateway.tokens.jws import (
    MAX_TOKEN_LENGTH,
    CompactJws,
    check_signature,
    payload_of,
    read_header,
    read_object,
    read_trusted_object,
    split,
)
from gateway.tokens.keys import LOCAL_KEY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from gateway.core.claims import Claims
    from gateway.core.ports import Clock, KeySource

_MAX_HEADERS: Final = 64
"""Distinct header segments remembered. Genuine tokens of one project have one per published key."""


class TokenVerifier:
    """Verifies tokens of one kind. Implements :class:`gateway.core.ports.Verifier`.

    ``accept_local_keys`` is the interlock against a development provider: unless it is set, a token whose ``kid`` bears
    the mark of the embedded provider is refused whatever the key source says. ``cache_bytes`` bounds what is remembered
    of verified tokens; 0 verifies each time.

    :raises ValueError: the rules are those of another kind.
    """

    kind: ClassVar[Kind]

    __slots__ = ("_accept_local", "_cache", "_clock", "_headers", "_keys", "_rules")

    def __init__(
        self,
        rules: TokenRules,
        keys: KeySource,
        clock: Clock,
        *,
        accept_local_keys: bool = False,
        cache_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        if rules.kind is not self.kind:
            raise ValueError(f"rules for {rules.kind} cannot judge {self.kind}")
        self._rules = rules
        self._keys = keys
        self._clock = clock
        self._accept_local = accept_local_keys
        self._headers: dict[bytes, str] = {}
        self._cache = TokenCache(rules.identity, max_bytes=cache_bytes)

    @property
    def remembered(self) -> int:
        """Number of verified tokens remembered."""
        return len(self._cache)

    def keys_changed(self, removed: AbstractSet[str]) -> None:
        """Forget what depended on these keys, and all refusals: for the key source to call when its keys change."""
        self._cache.keys_changed(removed)

    async def verify(self, token: str) -> Claims:
        """Claims of ``token``.

        :raises TokenError: the token is refused.
        :raises KeysUnavailable: no keys are known and the issuer does not answer.
        """
        claims = self.peek(token)
        if claims is not None:
            return claims
        raw = token.encode("ascii")
        jws, kid, _ = self._read(raw)
        key = await self._keys.key(kid)
        if key is None:
            raise UnknownKey("kid names no published key")
        # The wait may have been long, so the claims are judged again.
        jws, kid, claims = self._read(raw)
        self._check(jws, kid, key, self._cache.name(raw), self._clock.monotonic())
        return claims

    def peek(self, token: str) -> Claims | None:
        """Claims of ``token``; None when its key has to be waited for.

        :raises TokenError: the token is refused, by what is known without waiting.
        """
        try:
            raw = token.encode("ascii")
        except UnicodeEncodeError:
            raise MalformedToken("not ASCII") from None
        if len(raw) > MAX_TOKEN_LENGTH:
            raise MalformedToken(f"longer than {MAX_TOKEN_LENGTH} bytes")
        cache = self._cache
        name = cache.name(raw)
        moment = self._clock.monotonic()
        signer = cache.signer(name, moment)
        if signer is not None:
            if self._keys.peek(signer.kid) is signer.key:
                return self._judge_again(raw, name)
            cache.forget(name)
        refusal = cache.refusal(name, moment)
        if refusal is not None:
            raise refusal
        try:
            jws, kid, claims = self._read(raw)
        except TokenError as error:
            cache.refuse(name, error, moment)
            raise
        key = self._keys.peek(kid)
        if key is None:
            return None
        self._check(jws, kid, key, name, moment)
        return claims

    def _read(self, raw: bytes) -> tuple[CompactJws, str, Claims]:
        """Judge everything but the signature."""
        jws = split(raw)
        # Only headers of tokens that verified are remembered, so junk cannot fill the table.
        kid = self._headers.get(jws.header)
        if kid is None:
            kid = read_header(jws.header)
            if kid.startswith(LOCAL_KEY_PREFIX) and not self._accept_local:
                raise UnknownKey("the key of a local identity provider is not accepted in production mode")
        return jws, kid, read_claims(read_object(jws.payload, "payload"), self._rules, self._clock.now())

    def _check(self, jws: CompactJws, kid: str, key: RSAPublicKey, name: bytes, moment: float) -> None:
        """Judge the signature, and remember the answer."""
        try:
            check_signature(jws, key)
        except BadSignature as error:
            self._cache.refuse(name, error, moment)
            raise
        self._cache.remember(name, kid, key, moment)
        if len(self._headers) < _MAX_HEADERS:
            self._headers[jws.header] = kid

    def _judge_again(self, raw: bytes, name: bytes) -> Claims:
        """Judge a token whose signature is known to be good: everything that time can change."""
        try:
            return read_claims(read_trusted_object(payload_of(raw)), self._rules, self._clock.now())
        except TokenExpired:
            self._cache.forget(name)
            raise


class IdTokenVerifier(TokenVerifier):
    """Verifies Firebase ID tokens, which arrive as bearer tokens."""

    __slots__ = ()
    kind = Kind.ID_TOKEN


class SessionCookieVerifier(TokenVerifier):
    """Verifies Firebase session cookies. ``keys`` must be those published for session cookies."""

    __slots__ = ()
    kind = Kind.SESSION_COOKIE
