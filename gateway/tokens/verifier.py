"""Credential in, claims out: the signature layer, the key source and the ID-token rules in one line.

Junk is refused before the costly step: size, spelling, algorithm, key name and every claim are judged before the RSA
operation, so that only tokens that could be good cost one (``performance.md`` section 4, point 5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.errors import MalformedToken, UnknownKey
from gateway.tokens.id_token import IdTokenRules, read_claims
from gateway.tokens.jws import CompactJws, check_signature, read_header, read_object, split
from gateway.tokens.keys import LOCAL_KEY_PREFIX

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from gateway.core.claims import Claims
    from gateway.core.ports import Clock, KeySource

_MAX_HEADERS: Final = 64
"""Distinct header segments remembered. Genuine tokens of one project have one per published key."""


class IdTokenVerifier:
    """Verifies Firebase ID tokens. Implements :class:`gateway.core.ports.Verifier`.

    ``accept_local_keys`` is the interlock against a development provider: unless it is set, a token whose ``kid`` bears
    the mark of the embedded provider is refused whatever the key source says.
    """

    __slots__ = ("_accept_local", "_clock", "_headers", "_keys", "_rules")

    def __init__(self, rules: IdTokenRules, keys: KeySource, clock: Clock, *, accept_local_keys: bool = False) -> None:
        self._rules = rules
        self._keys = keys
        self._clock = clock
        self._accept_local = accept_local_keys
        self._headers: dict[bytes, str] = {}

    async def verify(self, token: str) -> Claims:
        """Claims of ``token``.

        :raises TokenError: the token is refused.
        :raises KeysUnavailable: no keys are known and the issuer does not answer.
        """
        try:
            jws = split(token.encode("ascii"))
        except UnicodeEncodeError:
            raise MalformedToken("not ASCII") from None
        kid = self._kid(jws)
        claims = read_claims(read_object(jws.payload, "payload"), self._rules, self._clock.now())
        key: RSAPublicKey | None = self._keys.peek(kid)
        if key is None:
            key = await self._keys.key(kid)
            if key is None:
                raise UnknownKey("kid names no published key")
        check_signature(jws, key)
        if len(self._headers) < _MAX_HEADERS:
            self._headers[jws.header] = kid
        return claims

    def _kid(self, jws: CompactJws) -> str:
        # Only headers of tokens that verified are remembered, so junk cannot fill the table.
        kid = self._headers.get(jws.header)
        if kid is None:
            kid = read_header(jws.header)
            if kid.startswith(LOCAL_KEY_PREFIX) and not self._accept_local:
                raise UnknownKey("the key of a local identity provider is not accepted in production mode")
        return kid
