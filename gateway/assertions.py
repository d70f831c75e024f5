"""For backends in Python: verify the gateway's signed assertion.

The rules this file obeys (RFC 8725 sections 3.1, 3.8 and 3.9; RFC 7519 section 4.1; ``gateway/mutators/assertion.py``):

1. **One algorithm.** ES256, whatever the assertion's header says; the header's ``kid`` selects a key and nothing more.
2. **Issuer, audience and expiry are always checked**, and none may be absent. An assertion for another backend is
   refused.
3. **A broken answer never replaces good keys**, and a key that is withdrawn is forgotten with the next good answer.
4. **An assertion cannot make the backend fetch at will.** An unknown ``kid`` leads to a fetch only when the last one is
   five seconds past; whoever needs keys while one is under way waits for that one.
5. The address of the keys is configured, never read from an assertion; redirects are not followed, and the answer is
   capped.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import jwt

from gateway.adapters.endpoint import checked_endpoint
from gateway.errors import (
    BadSignature,
    KeysUnavailable,
    MalformedToken,
    TokenError,
    TokenExpired,
    TokenNotYetValid,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
)
from gateway.mutators.assertion import ALGORITHM, CACHING, IAP_ISSUER, LINGER, AssertionForm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

REFETCH_INTERVAL: Final = 5.0
"""Seconds between two fetches on behalf of unknown keys, or while the gateway does not answer."""
FETCH_TIMEOUT: Final = 5.0
"""Seconds for one fetch in all."""
MAX_BODY: Final = 64 * 1024
"""Bytes of a key set; the gateway's has some hundred a key."""
MAX_LENGTH: Final = 16 * 1024
"""Bytes of an assertion: what fits into a header field."""
MAX_KEYS: Final = 64
"""Keys that are read of a set; the gateway publishes two or three."""
LONGEST: Final = 3_600.0
"""Seconds that keys are kept at most, whatever the answer says, so that a withdrawn one goes."""
STALE: Final = float(LINGER)
"""Seconds beyond their time that the last good keys are used while the gateway does not answer: no assertion that was
alive when it was last heard of outlives them."""
LEEWAY: Final = 30
"""Seconds that the clocks of the gateway and the backend may differ; what Google's libraries allow for IAP."""
_HTTP_OK: Final = 200
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})", re.IGNORECASE)
_REQUIRED: Final = ("aud", "exp", "iat", "iss", "sub")


class AssertionVerifier:
    """Verifies assertions for one backend. Open it in the event loop that uses it, and close it in the end.

    :param url: of the gateway's key set, ``https://…/.well-known/gateway/jwks.json``; ``http`` only on this machine.
    :param audience: this backend's ``audience`` in the gateway's ``[[upstream]]``, which is its name by default.
    :param issuer: ``issuer`` of the gateway's ``[assertion]``; left out for the form ``iap``, which has one of its own.
    :param form: ``form`` of the gateway's ``[assertion]``.
    :param session: used for nothing but GET requests to ``url``; its owner closes it. Left out: one of its own.
    :param monotonic: seconds of a clock that never steps.
    :raises ConfigError: ``url`` is no address that keys may come from.
    :raises ValueError: the audience is empty, or there is no issuer.
    """

    def __init__(
        self,
        url: str,
        *,
        audience: str,
        issuer: str = "",
        form: str = AssertionForm.GATEWAY,
        session: aiohttp.ClientSession | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.form: Final = AssertionForm(form)
        self.header: Final = self.form.field.decode("ascii")
        """The request's header field that holds the assertion."""
        self._issuer = issuer or (IAP_ISSUER if self.form is AssertionForm.IAP else "")
        if not audience or not self._issuer:
            raise ValueError("an assertion is verified for one audience, of one issuer")
        self._url = checked_endpoint(url, "url")
        self._audience = audience
        self._own: aiohttp.ClientSession | None = None
        self._session = session
        self._monotonic = monotonic
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fresh_until = self._asked_at = -float("inf")
        self._flight: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop fetching, and let go of the connection."""
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.cancel()
            await asyncio.wait({flight})
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    async def verify(self, token: str | None) -> Mapping[str, Any]:
        """The claims of an assertion that is good for this backend now.

        :param token: the value of the request's :attr:`header`; None or empty when there is none.
        :raises TokenError: it is absent, malformed, forged, expired, or for somebody else: answer 401.
        :raises KeysUnavailable: there are no keys, and the gateway does not answer: answer 503.
        """
        if not token or len(token) > MAX_LENGTH:
            raise MalformedToken("no assertion, or one that is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise MalformedToken("not a JWT") from error
        kid = header.get("kid")
        if header.get("alg") != ALGORITHM or not isinstance(kid, str):
            raise MalformedToken("not an assertion of the gateway's")
        key = await self._key(kid)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": list(_REQUIRED), "strict_aud": True},
            )
        except jwt.InvalidTokenError as error:
            raise _refusal(error) from error
        return claims

    # ---- keys ----

    async def _key(self, kid: str) -> jwt.PyJWK:
        now = self._monotonic()
        if now >= self._fresh_until or kid not in self._keys:
            await self._refresh(now)
            now = self._monotonic()
        if now >= self._fresh_until + STALE:
            raise KeysUnavailable("the gateway's keys cannot be fetched", retry_after=int(REFETCH_INTERVAL))
        key = self._keys.get(kid)
        if key is None:
            raise UnknownKey("the gateway publishes no such key")
        return key

    async def _refresh(self, now: float) -> None:
        """Fetch, unless that was tried a moment ago; or wait for the fetch under way."""
        if self._flight is None:
            if now < self._asked_at + REFETCH_INTERVAL:
                return
            self._asked_at = now
            self._flight = asyncio.ensure_future(self._fetch())
            self._flight.add_done_callback(self._landed)
        # Whoever waits may give up; the fetch goes on for the others.
        await asyncio.wait({self._flight})

    def _landed(self, flight: asyncio.Task[None]) -> None:
        if self._flight is flight:
            self._flight = None

    async def _fetch(self) -> None:
        """Get the keys; after whatever goes wrong the ones we have are better than none."""
        session = self._session
        if session is None:
            session = self._own = self._own or aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT)
        try:
            async with session.get(self._url, allow_redirects=False, timeout=timeout) as answer:
                if answer.status != _HTTP_OK:
                    return
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > MAX_BODY:
                        return
                told = _MAX_AGE.search(answer.headers.get("Cache-Control", ""))
            keys = _read(bytes(body))
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError, jwt.PyJWTError):
            return
        if keys:
            self._keys = keys
            lifetime = float(told[1]) if told is not None else float(CACHING)
            self._fresh_until = self._monotonic() + min(max(lifetime, REFETCH_INTERVAL), LONGEST)


def _read(body: bytes) -> dict[str, jwt.PyJWK]:
    """The usable keys of a JWK set.

    :raises PyJWTError: it is none, or holds no key that can be used.
    """
    found = jwt.PyJWKSet.from_json(body.decode("utf-8")).keys[:MAX_KEYS]
    return {key.key_id: key for key in found if key.key_id and key.algorithm_name == ALGORITHM}


def _refusal(error: jwt.InvalidTokenError) -> TokenError:
    kinds: tuple[tuple[type[jwt.InvalidTokenError], type[TokenError]], ...] = (
        (jwt.ExpiredSignatureError, TokenExpired),
        (jwt.ImmatureSignatureError, TokenNotYetValid),
        (jwt.InvalidAudienceError, WrongAudience),
        (jwt.InvalidIssuerError, WrongIssuer),
        (jwt.InvalidSignatureError, BadSignature),
    )
    kind = next((ours for theirs, ours in kinds if isinstance(error, theirs)), MalformedToken)
    return kind("the assertion was refused")
