"""The issuer's published keys, over HTTP: Google's certificates, or those of whoever stands in for Google.

The rules this file obeys (``threats.md`` row 39, identity-toolkit.md section 5, RFC 9111 sections 4.2 and 5.2.2):

1. **One fetch at a time.** Whoever needs keys while one is under way waits for that one.
2. **Keys live as long as the issuer says** (``max-age`` less ``Age``, within bounds) and are fetched anew ahead of
   that, so that no request waits. A key that the issuer withdraws stops being accepted at that refresh, and
   :meth:`PublishedKeys.on_change` says so.
3. **A broken answer never replaces good keys.** While the issuer is silent or talks nonsense, the last good keys
   stand for another day, loudly; then, or when there never were any, :class:`~gateway.errors.KeysUnavailable`.
4. **A token cannot make the gateway fetch at will.** An unknown ``kid`` leads to a refresh only when the last fetch
   of any cause is five seconds past, and the same name not again for a minute. The address fetched is configured,
   never read from a token.
5. **After a failure the next attempt waits**, a second first and then longer; requests in between are answered at once.
6. Redirects are not followed, the body is capped, plain HTTP only reaches this machine, and keys that bear the mark
   of the embedded provider are dropped unless the configuration is one for development (row 15).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from gateway.adapters.endpoint import checked_endpoint
from gateway.clock import ClockWatch
from gateway.errors import KeysUnavailable
from gateway.tokens.keys import LOCAL_KEY_PREFIX, parse_key_document

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from multidict import CIMultiDictProxy

    from gateway.core.ports import Clock

DEFAULT_LIFETIME: Final = 3600.0
"""Seconds that keys live when the issuer does not say. Google says some hours; an hour is what its ID tokens live."""

MIN_LIFETIME: Final = 60.0
"""Seconds. Below this (``max-age=0``, ``no-store``) each request would bring a fetch."""

MAX_LIFETIME: Final = 6 * 3600.0
"""Seconds. Google's usual figure; more would only let a withdrawn key live longer."""

REFRESH_AT: Final = 0.8
"""Share of the lifetime after which keys are fetched anew, so that several attempts fit in before they expire."""

GRACE: Final = 24 * 3600.0
"""Seconds past their lifetime that the last good keys stand while the issuer fails (``threats.md`` row 39)."""

FORCED_INTERVAL: Final = 5.0
"""Seconds between any fetch and one on behalf of an unknown ``kid`` (``threats.md`` row 39)."""

ABSENT_LIFETIME: Final = 60.0
"""Seconds that a ``kid`` counts as unpublished without asking again; a refresh that brings it ends that sooner."""

MAX_ABSENT: Final = 1024
"""Unpublished names remembered; at 128 characters each, a quarter of a megabyte at most."""

FIRST_RETRY: Final = 1.0
MAX_RETRY: Final = 16.0
"""Seconds between attempts after the first failure, doubling up to the second figure (at most one a second: goal 8)."""

FETCH_TIMEOUT: Final = 5.0
"""Seconds for one fetch in all. Google answers in a tenth of one."""

MAX_BODY: Final = 256 * 1024
"""Bytes. Sixty-four certificates of 8192 bits fit twice."""

LOG_INTERVAL: Final = 60.0
"""Seconds between two log lines about the same outage."""

CLOCK_CHECK_INTERVAL: Final = 30.0
"""Seconds at most until a step of the wall clock is noticed."""

_HTTP_OK: Final = 200
_MAX_DIGITS: Final = 10

_log = logging.getLogger(__name__)

RemovedKeys = frozenset[str]
"""Names of keys that no longer verify what they verified before."""


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """How the keys stand, for readiness and ``gateway check``.

    ``usable``: tokens can be verified now. ``fresh``: within the issuer's own lifetime. ``age``: seconds since the
    last good fetch, None before the first. ``error``: what the last attempt met, None after a good one; never holds a
    secret.
    """

    url: str
    usable: bool
    fresh: bool
    keys: int
    age: float | None
    error: str | None


class PublishedKeys:
    """Keys published at one address. Implements :class:`gateway.core.ports.KeySource`.

    :param url: of an X.509 map or a JWK set.
    :param session: used for nothing but GET requests to ``url``; its owner closes it.
    :param accept_local: keep keys of the embedded identity provider; for development configurations only.
    :param where: path of the configuration key that named ``url``.
    :param sleep: waits a number of seconds, for the background refresh.
    :raises ConfigError: ``url`` is no address that keys may come from.
    """

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        clock: Clock,
        *,
        accept_local: bool = False,
        where: str = "$.firebase.endpoints.id_token_certificates",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url: Final = checked_endpoint(url, where)
        self._session = session
        self._clock = clock
        self._sleep = sleep
        self._accept_local = accept_local
        self._watch = ClockWatch(clock)
        self._keys: dict[str, RSAPublicKey] = {}
        self._generation = 0
        self._listeners: list[Callable[[RemovedKeys], None]] = []
        self._absent: dict[str, float] = {}
        self._flight: asyncio.Task[bool] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._error: str | None = None
        self._logged_at = -math.inf
        # All in monotonic seconds.
        self._fetched_at: float | None = None
        self._attempted_at = -math.inf
        self._fresh_until = -math.inf
        self._peek_until = -math.inf
        self._next_at = clock.monotonic()
        self._retry_after = FIRST_RETRY
        self.fetches = 0
        """Attempts to fetch since the start, ``failures`` of which brought no keys."""
        self.failures = 0

    # ---- the port ----------------------------------------------------------------------------------------------------

    def peek(self, kid: str) -> RSAPublicKey | None:
        """The key, when it is known, may be used and needs no I/O."""
        return self._keys.get(kid) if self._clock.monotonic() <= self._peek_until else None

    async def key(self, kid: str) -> RSAPublicKey | None:
        """The key; None when the issuer publishes none of that name, as far as it may be asked now.

        :raises KeysUnavailable: no keys are usable and the issuer does not answer.
        """
        if self._clock.monotonic() > self._peek_until:
            await self._ensure_usable()
        key = self._keys.get(kid)
        if key is not None or not self._may_ask_for(kid):
            return key
        if await self._refresh() and kid not in self._keys:
            self._remember_absent(kid)
        return self._keys.get(kid)

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    async def start(self) -> bool:
        """Fetch ahead and keep fetching in the background; whether there are keys now.

        Does not raise when the issuer is unreachable: the log says so, requests get a 503 and the background goes on
        trying.
        """
        loaded = await self._refresh()
        if self._loop is None:
            self._loop = asyncio.create_task(self._keep_fresh(), name="published keys")
        return loaded

    async def close(self) -> None:
        """Stop fetching. Keys that are known stay usable for their lifetime."""
        tasks = [task for task in (self._loop, self._flight) if task is not None]
        self._loop = self._flight = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- what others may know --------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Grows whenever a key appears, changes or goes."""
        return self._generation

    def on_change(self, listener: Callable[[RemovedKeys], None]) -> None:
        """Call ``listener`` after each change, with the names withdrawn or replaced (none: only additions).

        It is where caches of verified tokens drop what those keys signed. It must return at once.
        """
        self._listeners.append(listener)

    def leave(self, listener: Callable[[RemovedKeys], None]) -> None:
        """Call ``listener`` no more."""
        self._listeners.remove(listener)

    def status(self) -> KeyStatus:
        """How the keys stand now."""
        now = self._clock.monotonic()
        return KeyStatus(
            url=self.url,
            usable=bool(self._keys) and now <= self._fresh_until + GRACE,
            fresh=now <= self._fresh_until,
            keys=len(self._keys),
            age=None if self._fetched_at is None else now - self._fetched_at,
            error=self._error,
        )

    def fault(self) -> str | None:
        """Why no token can be verified now; None when one can."""
        status = self.status()
        return None if status.usable else f"no usable keys from {self.url}: {status.error or 'not fetched yet'}"

    # ---- refreshing ------------------------------------------------------------------------------------------------

    async def _ensure_usable(self) -> None:
        wait = self._next_at - self._clock.monotonic()
        # Before the first attempt, and after a success that has run out, nothing has failed: ask now.
        if self._error is None or wait <= 0 or self._flight is not None:
            await self._refresh()
            wait = self._next_at - self._clock.monotonic()
        if self._clock.monotonic() > self._peek_until:
            raise KeysUnavailable(self.fault() or "no keys", retry_after=max(1, math.ceil(wait)))

    def _may_ask_for(self, kid: str) -> bool:
        """Whether this unknown name is worth a fetch (rule 4)."""
        now = self._clock.monotonic()
        if self._absent.get(kid, -math.inf) > now:
            return False
        if self._flight is not None:
            return True
        return now >= self._attempted_at + FORCED_INTERVAL and (self._error is None or now >= self._next_at)

    def _remember_absent(self, kid: str) -> None:
        while len(self._absent) >= MAX_ABSENT:
            del self._absent[next(iter(self._absent))]
        self._absent[kid] = self._clock.monotonic() + ABSENT_LIFETIME

    async def _refresh(self) -> bool:
        """Fetch, or wait for the fetch under way; whether it brought keys."""
        flight = self._flight
        if flight is None:
            flight = self._flight = asyncio.create_task(self._fetch(), name="fetch published keys")
            flight.add_done_callback(self._landed)
        # wait() leaves the fetch alone when this request goes away, and lets it be cancelled when the gateway stops.
        await asyncio.wait({flight})
        return not flight.cancelled() and flight.result()

    def _landed(self, flight: asyncio.Task[bool]) -> None:
        if self._flight is flight:
            self._flight = None

    async def _fetch(self) -> bool:
        self._attempted_at = self._clock.monotonic()
        self.fetches += 1
        try:
            keys, lifetime = await self._get()
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the keys we have are better than none
            self._failed(_describe(error))
            return False
        self._succeeded(keys, lifetime)
        return True

    async def _get(self) -> tuple[dict[str, RSAPublicKey], float]:
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT)
        # Identity: nothing to inflate beyond the cap.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._session.get(self.url, allow_redirects=False, timeout=timeout, headers=headers) as answer:
            if answer.status != _HTTP_OK:
                raise ValueError(f"status {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    raise ValueError(f"the answer is longer than {MAX_BODY} bytes")
            keys = parse_key_document(bytes(body))
            lifetime = freshness(answer.headers)
        if not self._accept_local:
            keys = {kid: key for kid, key in keys.items() if not kid.startswith(LOCAL_KEY_PREFIX)}
            if not keys:
                raise ValueError("all keys are those of a local identity provider, which production mode never accepts")
        return keys, lifetime

    def _succeeded(self, keys: dict[str, RSAPublicKey], lifetime: float) -> None:
        now = self._clock.monotonic()
        if self._error is not None:
            _log.warning("keys from %s are back", self.url)
        self._error = None
        self._logged_at = -math.inf
        self._retry_after = FIRST_RETRY
        self._fetched_at = now
        self._fresh_until = self._peek_until = now + lifetime
        self._next_at = now + lifetime * REFRESH_AT
        old = self._keys
        # An unchanged key stays the same object, prepared state and all.
        self._keys = {kid: old[kid] if old.get(kid) == key else key for kid, key in keys.items()}
        if old == self._keys:
            return
        self._generation += 1
        removed = frozenset(kid for kid, key in old.items() if self._keys.get(kid) is not key)
        _log.info("keys from %s: %s; withdrawn: %s", self.url, _names(self._keys), _names(removed))
        for listener in self._listeners:
            try:
                listener(removed)
            except Exception:  # noqa: BLE001 - one cache's fault must not keep the keys from the others
                _log.exception("a listener for key changes failed")

    def _failed(self, error: str) -> None:
        now = self._clock.monotonic()
        self.failures += 1
        self._error = error
        self._next_at = now + self._retry_after
        self._retry_after = min(self._retry_after * 2, MAX_RETRY)
        if self._keys:
            # The issuer had its chance: from here on the last good keys count (rule 3).
            self._peek_until = self._fresh_until + GRACE
        if now < self._logged_at + LOG_INTERVAL:
            return
        self._logged_at = now
        if now <= self._peek_until:
            _log.error(
                "cannot fetch keys from %s: %s; the last good ones stand for another %.1f hours",
                self.url,
                error,
                (self._peek_until - now) / 3600,
            )
        else:
            _log.error("cannot fetch keys from %s: %s; no session can be checked until this works", self.url, error)

    async def _keep_fresh(self) -> None:
        while True:
            wait = self._next_at - self._clock.monotonic()
            await self._sleep(min(max(wait, 0.0), CLOCK_CHECK_INTERVAL))
            if self._watch.step() or self._clock.monotonic() >= self._next_at:
                await self._refresh()


def freshness(headers: CIMultiDictProxy[str]) -> float:
    """Seconds that an answer with these headers may be used: ``max-age`` less ``Age``, within our bounds.

    A lifetime that cannot be read counts as the shortest (RFC 9111 section 4.2.1).
    """
    directives = [part.strip().lower() for line in headers.getall("Cache-Control", ()) for part in line.split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return MIN_LIFETIME
    stated = [part.removeprefix("max-age=").strip('"') for part in directives if part.startswith("max-age=")]
    if not stated:
        return DEFAULT_LIFETIME
    lifetime = min(_seconds(text) for text in stated) - _seconds(headers.get("Age", "0"))
    return min(max(lifetime, MIN_LIFETIME), MAX_LIFETIME)


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdigit()):
        return 0.0
    return float(text) if len(text) <= _MAX_DIGITS else float(10**_MAX_DIGITS)


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {FETCH_TIMEOUT:g} seconds"
    if isinstance(error, aiohttp.ClientError | OSError | ValueError):
        return str(error) or type(error).__name__
    return type(error).__name__


def _names(kids: Iterable[str]) -> str:
    return ", ".join(sorted(repr(kid) for kid in kids)) or "none"
