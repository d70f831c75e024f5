"""The signature layer: compact JWS, RS256, and nothing else.

The rules this file obeys (RFC 7515 sections 3.1, 4.1.11 and 7.1; RFC 7518 section 3.3; RFC 8725 sections 3.1 to 3.11;
``threats.md`` rows 1 to 7):

1. *One spelling.* Three segments in the base64url alphabet, header and signature not empty, no padding, no unused bits
   set: a token that can be respelled can be counted, cached or denied under a name that is not its own.
2. *The algorithm is ours.* ``alg`` is compared with the string ``RS256`` before anything is looked up; no other
   verifier is reachable from here, so no key can be used with an algorithm that it was not made for.
3. *The header selects a key by name and does nothing more.* ``kid`` is a dictionary key. ``jku``, ``x5u``, ``jwk``
   and ``x5c`` are never read. Anything that would change how the bytes are to be understood (``crit``, ``b64``,
   ``zip``, ``enc``, ``cty``) refuses the token.
4. *One meaning.* JSON is UTF-8, an object, of bounded depth, with no member twice at any level, no ``NaN`` or infinity,
   no number beyond what a double holds exactly, no lone surrogate.
5. *Size first.* Length is checked before decoding, depth before parsing.

Speed is part of the design, because strangers decide how often this runs: no step walks over characters in Python, and
what is checked is checked on whole strings by C code (``docs/why/token-verification.md`` has the figures).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.errors import BadSignature, ForbiddenAlgorithm, MalformedToken
from gateway.tokens.keys import key_from_jwk

MAX_TOKEN_LENGTH: Final = 16 * 1024
"""Bytes. Firebase ID tokens are 0.8 to 3 KB; claims are bounded at 1000 characters by the service."""

MAX_KID_LENGTH: Final = 128
"""Characters. Google's are 40."""

MAX_JSON_DEPTH: Final = 16
"""Nested objects and arrays. ID tokens need four (``firebase.identities`` holds lists)."""

_USUAL_DEPTH: Final = 5
"""What the fast reader takes: one level more than ID tokens need. Each level doubles the size of its type."""

_MAX_EXACT_INTEGER: Final = 2**53 - 1
"""RFC 7493 section 2.2: integers beyond this differ between JSON readers."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""base64url (RFC 4648 section 5), without the padding character."""

# To the standard alphabet that readers know; what is foreign becomes a character that they refuse.
_TO_STANDARD: Final = bytes(
    {"-": ord("+"), "_": ord("/")}.get(chr(code), code if code in _ALPHABET else ord("!")) for code in range(256)
)
_CLOSING: Final = (b'"', b"", b'=="', b'="')  # padding and quote, by what a segment's length is over a multiple of four
# The last character of a segment carries 2 or 4 unused bits, which must be zero (RFC 4648 section 3.5).
_LAST_OF_TWO: Final = frozenset(b"AQgw")
_LAST_OF_THREE: Final = frozenset(b"AEIMQUYcgkosw048")
_ONE_OVER: Final = 1  # a segment of 4n+1 characters cannot exist
_TWO_OVER: Final = 2

# A string to its end, or to the end of the text: possessive, so that no text makes it look twice at a character.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_INNERMOST: Final = re.compile(rb"\[\]|\{\}")

_UNDERSTOOD_DIFFERENTLY: Final = ("crit", "b64", "zip", "enc", "cty")

_PADDING: Final = PKCS1v15()
_DIGEST: Final = SHA256()


@dataclass(slots=True)  # not frozen: that alone would cost 3 % of a verification
class CompactJws:
    """A compact JWS, split and decoded as far as the signature needs. The payload is still bytes."""

    header: bytes
    signing_input: bytes
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def split(token: bytes) -> CompactJws:
    """Split a compact JWS into its parts.

    ``header`` is the header's *segment* (still base64url), because equal segments are equal headers and the caller may
    have read this one before; :func:`read_header` decodes it, and only then is its spelling judged.

    :raises MalformedToken: size, alphabet, number of segments, or a spelling that is not canonical.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        raise MalformedToken(f"longer than {MAX_TOKEN_LENGTH} bytes")
    # Cut at the last dot and at the first: a cut finds its dot thrice as fast as split() finds all of them.
    signing_input, _, signature = token.rpartition(b".")
    header, dot, payload = signing_input.partition(b".")
    if not dot or b"." in payload:
        raise MalformedToken("not three segments")
    return CompactJws(
        header,
        signing_input,
        decode_segment(payload) if payload else b"",  # which RFC 7515 allows; it is no JSON, so it is no ID token
        decode_segment(signature),
    )


def payload_of(token: bytes) -> bytes:
    """The decoded payload of a token that :func:`split` took before; nothing is checked again."""
    segment = token.partition(b".")[2].partition(b".")[0]
    return _READ_BASE64(b'"' + segment.translate(_TO_STANDARD) + _CLOSING[len(segment) & 3])


def decode_segment(segment: bytes) -> bytes:
    """The bytes of one segment.

    :raises MalformedToken: it is empty, holds a foreign character or is not spelled in the one canonical way.
    """
    over = len(segment) & 3
    if over == 0:
        if not segment:
            raise MalformedToken("an empty segment")
    elif over == _ONE_OVER or segment[-1] not in (_LAST_OF_TWO if over == _TWO_OVER else _LAST_OF_THREE):
        raise MalformedToken("a segment is not canonical base64url")
    try:
        return _READ_BASE64(b'"' + segment.translate(_TO_STANDARD) + _CLOSING[over])
    except ValueError:  # msgspec's errors are ValueErrors
        raise MalformedToken("a segment holds a character that base64url does not have") from None


def read_header(segment: bytes) -> str:
    """The ``kid`` of a protected header that satisfies every rule above.

    :param segment: the header's base64url segment.
    :raises MalformedToken: not a JSON object, an extension that changes the meaning, no usable ``kid`` or ``typ``.
    :raises ForbiddenAlgorithm: ``alg`` is not the string ``RS256``.
    """
    kid = _kid_of(segment)
    if kid is None:
        raise MalformedToken("the header holds no kid")
    return kid


def _kid_of(segment: bytes) -> str | None:
    """The ``kid`` as in :func:`read_header`, or None where there is none.

    :raises MalformedToken: not a JSON object, an extension that changes the meaning, no usable ``kid`` or ``typ``.
    :raises ForbiddenAlgorithm: ``alg`` is not the string ``RS256``.
    """
    header = read_object(decode_segment(segment), "header")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm != "RS256":
        raise ForbiddenAlgorithm("the header's alg is not RS256")
    for name in _UNDERSTOOD_DIFFERENTLY:
        if name in header:
            raise MalformedToken(f"the header holds {name}")
    type_ = header.get("typ", "JWT")
    if not isinstance(type_, str) or type_.upper() != "JWT":
        raise MalformedToken("the header's typ is not JWT")
    if "kid" not in header:
        return None
    kid = header["kid"]
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_LENGTH:
        raise MalformedToken(f"the header's kid is not a string of 1 to {MAX_KID_LENGTH} characters")
    return kid


def read_object(text: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object strictly (rule 4).

    :param what: names the part in the error.
    :raises MalformedToken: anything else than one well-formed object within the bounds.
    """
    usual = _read_canonical(text)
    if usual is not None:
        return usual
    # Depth is bounded by the number of openings; only a text with many is looked into.
    if text.count(b"[") + text.count(b"{") > MAX_JSON_DEPTH and _is_deep(text):
        raise MalformedToken(f"the {what} is nested deeper than {MAX_JSON_DEPTH}, or its brackets do not match")
    try:
        value = _DECODER.decode(text.decode("utf-8"))
        if b"\\u" in text:
            _refuse_surrogates(value)
    except (ValueError, RecursionError):
        raise MalformedToken(f"the {what} is not strict JSON") from None
    if not isinstance(value, dict):
        raise MalformedToken(f"the {what} is not a JSON object")
    return value


def read_trusted_object(text: bytes) -> dict[str, Any]:
    """Read again a JSON object that :func:`read_object` took before; nothing is checked again."""
    value: dict[str, Any] = _READ(text)
    return value


def _read_canonical(text: bytes) -> dict[str, Any] | None:
    """The object in ``text`` if a fast reader takes it and a writer gives the same bytes back, which proves rule 4.

    What a writer wrote has no member twice, no constant that is not JSON and no lone surrogate; the reader's type
    bounds depth and integers. Issuers write tokens in this form. Any other takes the long way, which is the one that
    refuses.
    """
    try:
        value: dict[str, Any] = _READ_USUAL(text)
        return value if _WRITE(value) == text else None
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def _is_deep(text: bytes) -> bool:
    """Whether brackets outside strings are nested beyond the bound, or do not match."""
    brackets = _STRING.sub(b"", text).translate(None, _NOT_BRACKETS)
    for _ in range(MAX_JSON_DEPTH):
        brackets = _INNERMOST.sub(b"", brackets)
    return bool(brackets)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _integer(text: str) -> int:
    value = int(text)  # raises ValueError beyond Python's own digit limit
    if not -_MAX_EXACT_INTEGER <= value <= _MAX_EXACT_INTEGER:
        raise ValueError("an integer that a double cannot hold")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number out of range")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _refuse_surrogates(value: object) -> None:
    json.dumps(value, ensure_ascii=False).encode("utf-8")  # UnicodeEncodeError is a ValueError


def _usual_type() -> Any:
    """The type of a JSON object of the usual depth with integers within bounds, as msgspec wants to be told."""
    integer = Annotated[int, msgspec.Meta(ge=-_MAX_EXACT_INTEGER, le=_MAX_EXACT_INTEGER)]
    value: Any = str | bool | integer | float | None
    for _ in range(_USUAL_DEPTH - 1):
        value = str | bool | integer | float | list[value] | dict[str, value] | None
    return dict[str, value]


_READ: Final = msgspec.json.Decoder().decode
_READ_USUAL: Final = msgspec.json.Decoder(_usual_type()).decode
_READ_BASE64: Final = msgspec.json.Decoder(
    bytes
).decode  # standard alphabet, padded, in quotes; thrice as fast as binascii
_WRITE: Final = msgspec.json.Encoder().encode
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_constant, strict=True
)


def check_signature(jws: CompactJws, key: RSAPublicKey) -> None:
    """Verify RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 section 3.3).

    :raises BadSignature: it is not ``key``'s signature over these bytes.
    """
    try:
        key.verify(jws.signature, jws.signing_input, _PADDING, _DIGEST)
    except InvalidSignature:
        raise BadSignature("the signature does not match") from None


def verify_compact(token: bytes | str, jwk: Mapping[str, Any]) -> bytes:
    """Verify a compact JWS against one RSA public key in JWK form, by every rule of the signature layer.

    This is the function to run public vector files on (``docs/how-to/run-test-vectors.md``). The caller names the key,
    so the token need not: it may have no ``kid``, or another than the key's. In a gateway it must name a published key.

    :param token: the compact serialisation (RFC 7515 section 7.1).
    :param jwk: an RSA public key (RFC 7517, RFC 7518 section 6.3.1), at least 2048 bits.
    :returns: the payload's bytes, which need not be JSON.
    :raises TokenError: the token is refused.
    :raises ValueError: ``jwk`` is not an RSA public key that may verify RS256.
    """
    key = key_from_jwk(jwk)
    try:
        raw = token.encode("ascii") if isinstance(token, str) else token
    except UnicodeEncodeError:
        raise MalformedToken("not ASCII") from None
    jws = split(raw)
    _kid_of(jws.header)
    check_signature(jws, key)
    return jws.payload
