"""Which tokens are an event for us (blocking-functions.md sections 1.4 and 1.5).

The rules this file obeys:

1. **The audience is compared, never searched.** An ordinary ID token has the issuer and the keys of an event; that its
   audience is a project and not a function's address is all that keeps a user from replaying it as an event. It is one
   of the configured addresses, character for character; where none is configured, an https address whose *parsed* host
   is on Cloud Run or is this project's own on Cloud Functions (in development, also one of this machine).
2. ``alg`` is RS256 and the signature that of a published key (:mod:`gateway.tokens.jws`). Unsigned tokens are taken
   only when the emulator is switched on, and everything else is checked even then.
3. ``iss`` is this project's, ``exp`` ahead, ``iat`` not ahead by more than the skew; ``sub`` is 1 to 128 characters,
   except in the two send events, which are about nobody.
4. Keys that bear the mark of the embedded provider are refused unless development says otherwise
   (``threats.md`` row 15).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from gateway.adapters.endpoint import is_loopback_host
from gateway.blocking.event import Event
from gateway.errors import (
    ForbiddenAlgorithm,
    KeysUnavailable,
    MalformedToken,
    TokenExpired,
    TokenNotYetValid,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
    WrongSubject,
)
from gateway.tokens.id_token import DEFAULT_SKEW, ISSUER_PREFIX, MAX_SUBJECT_LENGTH
from gateway.tokens.jws import CompactJws, check_signature, decode_segment, read_header, read_object
from gateway.tokens.keys import LOCAL_KEY_PREFIX

if TYPE_CHECKING:
    from gateway.core.ports import Clock, KeySource

MAX_EVENT_LENGTH: Final = 192 * 1024
"""Characters of an event's token. It carries up to three OAuth tokens, the identity provider's profile and SAML
attributes: a hundred groups with long names are 10 KB."""

_SEGMENTS: Final = 3
_EMULATOR_HEADER: Final = frozenset({"alg", "typ"})
"""All that the official emulator writes (section 1.4)."""

_ABOUT_NOBODY: Final = (Event.BEFORE_SEND_EMAIL, Event.BEFORE_SEND_SMS)
"""A tuple, because what is looked up in it may be anything that JSON can say."""

_REGION: Final = r"[a-z]+-[a-z]+[0-9]+"
_HTTPS_PORT: Final = 443
_PLAIN_URL: Final = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]+", re.ASCII)
"""A URL in the characters of RFC 3986 section 2: no backslash, space or control that readers disagree about."""


@dataclass(frozen=True, slots=True)
class EventRules:
    """What an event must say.

    ``audiences``: the function's public addresses, each with the events that are registered there, or None for any.
    Empty: the platform's own addresses. ``unsigned``: take the official emulator's tokens. ``skew``: seconds.
    """

    project: str
    audiences: Mapping[str, frozenset[Event] | None]
    unsigned: bool = False
    accept_local_keys: bool = False
    skew: int = DEFAULT_SKEW


class EventVerifier:
    """Turns the token of an event into its claims.

    :param keys: None where nothing can be signed, as with the official emulator alone.
    """

    __slots__ = ("_clock", "_keys", "_rules")

    def __init__(self, rules: EventRules, keys: KeySource | None, clock: Clock) -> None:
        self._rules = rules
        self._keys = keys
        self._clock = clock

    async def verify(self, token: str) -> Mapping[str, Any]:
        """Claims of the event.

        :raises TokenError: it is none, or none for us.
        :raises KeysUnavailable: it cannot be judged now.
        """
        jws = _split(token)
        kid = None if self._is_unsigned(jws) else read_header(jws.header)
        claims = read_object(jws.payload, "payload")
        check_event(claims, self._rules, self._clock.now())
        if kid is None:
            return claims
        if kid.startswith(LOCAL_KEY_PREFIX) and not self._rules.accept_local_keys:
            raise UnknownKey("the key of a local identity provider is not accepted in production mode")
        if self._keys is None:
            if self._rules.unsigned:
                raise ForbiddenAlgorithm("the token is signed, and only an emulator's unsigned tokens are taken")
            raise KeysUnavailable("there is no source of keys: have the functions been started?")
        key = self._keys.peek(kid) or await self._keys.key(kid)
        if key is None:
            raise UnknownKey("kid names no published key")
        check_signature(jws, key)
        return claims

    def _is_unsigned(self, jws: CompactJws) -> bool:
        """Whether this is a token of the official emulator, and such tokens are wanted.

        :raises TokenError: it is unsigned and not wanted.
        """
        if jws.signature:
            return False
        header = read_object(decode_segment(jws.header), "header")
        algorithm = header.get("alg")
        if not self._rules.unsigned or not isinstance(algorithm, str) or algorithm != "none":
            raise ForbiddenAlgorithm("the token has no signature")
        if not header.keys() <= _EMULATOR_HEADER:
            raise MalformedToken("the header holds more than an emulator writes")
        return True


def _split(token: str) -> CompactJws:
    """The parts of a compact JWS (RFC 7515 section 7.1), or of an unsecured one (RFC 7519 section 6)."""
    if len(token) > MAX_EVENT_LENGTH:
        raise MalformedToken(f"longer than {MAX_EVENT_LENGTH} characters")
    try:
        raw = token.encode("ascii")
    except UnicodeEncodeError:
        raise MalformedToken("not ASCII") from None
    parts = raw.split(b".", _SEGMENTS)
    if len(parts) != _SEGMENTS:
        raise MalformedToken("not three segments")
    header, payload, signature = parts
    signing_input = raw[: len(header) + 1 + len(payload)]
    return CompactJws(header, signing_input, decode_segment(payload), decode_segment(signature) if signature else b"")


def check_event(claims: Mapping[str, Any], rules: EventRules, now: float) -> None:
    """Judge the claims of an event; somebody else vouches for the signature.

    :param now: wall-clock seconds since the epoch.
    :raises TokenError: the leaf names the first rule that failed.
    """
    audience, issuer = claims.get("aud"), claims.get("iss")
    if not isinstance(audience, str) or not is_audience(
        audience, rules.audiences, rules.project, local=rules.unsigned or rules.accept_local_keys
    ):
        raise WrongAudience("aud is no address of this function")
    if not isinstance(issuer, str) or issuer != ISSUER_PREFIX + rules.project:
        raise WrongIssuer("iss is not this project's issuer")
    subject = claims.get("sub")
    named = isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT_LENGTH
    if not named and claims.get("event_type") not in _ABOUT_NOBODY:
        raise WrongSubject(f"sub is not 1 to {MAX_SUBJECT_LENGTH} characters")
    if _seconds(claims, "exp") <= now:
        raise TokenExpired("exp has passed")
    if _seconds(claims, "iat") > now + rules.skew or ("nbf" in claims and _seconds(claims, "nbf") > now + rules.skew):
        raise TokenNotYetValid("iat or nbf is in the future")


def is_audience(audience: str, configured: Collection[str], project: str, *, local: bool = False) -> bool:
    """Whether ``audience`` is an address of this function (section 1.5).

    :param configured: the function's addresses; when there are none, the platform's addresses are taken.
    :param local: then this machine's too, for development.
    """
    if configured:
        return audience in configured
    if _PLAIN_URL.fullmatch(audience) is None:
        return False
    try:
        parts = urlsplit(audience)
        host, _ = parts.hostname, parts.port  # a port that is none raises
    except ValueError:
        return False
    if not host or "@" in parts.netloc:
        return False
    if local and is_loopback_host(host):
        return True
    if parts.scheme != "https" or parts.netloc.lower() not in {host, f"{host}:{_HTTPS_PORT}"}:
        return False
    functions = re.compile(rf"{_REGION}-{re.escape(project)}\.cloudfunctions\.net", re.ASCII)
    return host == "run.app" or host.endswith(".run.app") or functions.fullmatch(host) is not None


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise MalformedToken(f"{name} is not a number of seconds")
    return value
