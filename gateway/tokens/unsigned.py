"""Unsigned tokens of an official Auth emulator: anybody can make one.

The rules this file obeys (``threats.md`` row 15, firebase-admin's emulator mode is the counter-example: an environment
variable switches signatures off in production, without a word):

1. **Nothing reaches this module but the switch** ``firebase.unsigned_tokens``. :mod:`gateway.wiring` imports it when
   that is set, and nobody else does; the verifier of signed tokens has no branch for tokens without a signature.
2. **The switch refuses to start** with a project whose id does not begin with ``demo-`` (Firebase's own mark for
   projects that do not exist), without ``firebase.emulator`` on loopback, or with a public listener that others can
   reach (:mod:`gateway.config.rules`). Each start says so in the log.
3. **Then only unsigned tokens pass**: ``alg`` is exactly ``none`` and the signature is empty. A signed token is
   refused, since there is no key to check it with.
4. Everything else is as strict as ever: spelling, size, JSON, and every rule of the claims.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.errors import ForbiddenAlgorithm, MalformedToken
from gateway.tokens.id_token import TokenRules, read_claims
from gateway.tokens.jws import MAX_TOKEN_LENGTH, decode_segment, read_object

if TYPE_CHECKING:
    from gateway.core.claims import Claims
    from gateway.core.ports import Clock

_SEGMENTS: Final = 3

_HEADER: Final = frozenset({"alg", "typ"})
"""All that an emulator writes. Whatever else a header might say is not looked at, but refused."""


class UnsignedVerifier:
    """Reads an emulator's tokens. Implements :class:`gateway.core.ports.Verifier`, and verifies nothing."""

    __slots__ = ("_clock", "_rules")

    def __init__(self, rules: TokenRules, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock

    def peek(self, token: str) -> Claims:
        """Claims of ``token``; there is never anything to wait for.

        :raises TokenError: the token is refused.
        """
        header, payload = _split(token)
        members = read_object(header, "header")
        algorithm = members.get("alg")
        if not isinstance(algorithm, str) or algorithm != "none":
            raise ForbiddenAlgorithm("the header's alg is not none, and only an emulator's unsigned tokens are taken")
        if not members.keys() <= _HEADER or members.get("typ", "JWT") != "JWT":
            raise MalformedToken("the header holds more than an emulator writes")
        return read_claims(read_object(payload, "payload"), self._rules, self._clock.now())

    async def verify(self, token: str) -> Claims:
        """Claims of ``token``.

        :raises TokenError: the token is refused.
        """
        return self.peek(token)


def _split(token: str) -> tuple[bytes, bytes]:
    """Header and payload of an unsecured JWS (RFC 7519 section 6): two segments and the dot before no signature."""
    try:
        raw = token.encode("ascii")
    except UnicodeEncodeError:
        raise MalformedToken("not ASCII") from None
    if len(raw) > MAX_TOKEN_LENGTH:
        raise MalformedToken(f"longer than {MAX_TOKEN_LENGTH} bytes")
    parts = raw.split(b".")
    if len(parts) != _SEGMENTS:
        raise MalformedToken("not three segments")
    header, payload, signature = parts
    if signature:
        raise ForbiddenAlgorithm("the token is signed, and only an emulator's unsigned tokens are taken")
    return decode_segment(header), decode_segment(payload)
