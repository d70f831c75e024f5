"""``/__cookies__``: the server half of the Firebase SDK's ``browserCookiePersistence``.

With that persistence (identity-toolkit.md section 13.3) the SDK sends sign-ins and renewals to this address instead of
Google's. The gateway passes them on, keeps the refresh token in a cookie that no script reads, and puts the ID token
into one that the SDK does read.

The rules this file obeys:

* **No open proxy.** A call goes to one of two configured services and nowhere else: of the address that the page names,
  only a path of a fixed form and a query of harmless characters are taken, and are put behind the configured base
  (``threats.md`` row 29). Redirects are not followed, a few named header fields are passed on, bodies are bounded.
* **Only this site may ask.** Every call needs positive proof of same origin (row 33), or a foreign page could sign
  visitors in as somebody else.
* **No refresh token reaches a script**: it is replaced by a word in every answer. Nor does one reach a log.
* **A renewal happens once.** However many requests arrive with the same expired cookie, one call is made; its outcome,
  good or bad, stands for a few seconds, so that nobody can have the token service flooded.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import aiohttp
from cachetools import TTLCache
from yarl import URL

from gateway import reasons
from gateway.core.context import Headers, RequestContext
from gateway.core.credential import CookieName, cookie_values
from gateway.core.ports import Clock
from gateway.errors import RequestError
from gateway.http.cookies import Fields, clear_cookie, sdk_id_cookie, sdk_refresh_cookie, set_sdk_cookie
from gateway.http.negotiate import PROBLEM
from gateway.http.reply import Replies, Reply
from gateway.http.return_to import parameter
from gateway.http.scripts import DEFAULT_APP
from gateway.http.session_cookie import BodyReader
from gateway.policy.cross_site import is_same_origin
from gateway.reasons import Reason

PATH: Final = "/__cookies__"
"""Fixed by the SDK."""

REDACTED: Final = "REDACTED"
"""In place of a refresh token: the SDK wants the member there and not empty."""

MAX_BODY: Final = 65_536
"""Bytes of a call. The largest honest one is a sign-in with a SAML response."""

MAX_ANSWER: Final = 262_144
"""Bytes of an answer."""

CALL_TIMEOUT: Final = 10.0
"""Seconds for a call in all."""

RENEWAL_KEPT: Final = 10.0
"""Seconds that the outcome of a renewal stands for further requests with the same refresh token."""

MAX_RENEWALS: Final = 1_024
"""Outcomes that are kept."""

MAX_PARALLEL: Final = 16
"""Renewals under way at once; further ones wait."""

PASSED_ON: Final = (
    "Content-Type",
    "X-Client-Version",
    "X-Firebase-Client",
    "X-Firebase-gmpid",
    "X-Firebase-AppCheck",
    "X-Firebase-Locale",
)
"""Header fields that a call keeps."""

_ACCOUNTS: Final = re.compile(r"/v[12]/accounts:[A-Za-z]{1,64}", re.ASCII)
_TOKEN: Final = re.compile(r"/v1/token", re.ASCII)
_QUERY: Final = re.compile(r"[A-Za-z0-9._~%&=+-]{0,2048}", re.ASCII)
_JSON_HEADERS: Final = (
    ("Content-Type", "application/json; charset=utf-8"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
)
_OVER: Final = frozenset({400, 401, 403})
"""How the token service says that a session has ended; 429 and 5xx say nothing of it."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that calls may go to: ``base`` is where they are sent, ``named`` what a page may call it."""

    base: str
    named: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SdkServices:
    """The two services, and the project's API key, with which the gateway renews by itself."""

    accounts: Service
    token: Service
    api_key: str


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = field(repr=False)
    document: Any = field(repr=False)

    @property
    def good(self) -> bool:
        return self.status == 200 and isinstance(self.document, dict)  # noqa: PLR2004 - what both services answer


@dataclass(frozen=True, slots=True)
class _Renewal:
    """``token`` None: the session is over (``over``), or nobody can say now."""

    token: str | None = field(default=None, repr=False)
    refresh: str = field(default="", repr=False)
    over: bool = False


class _Unreachable(Exception):
    """A service did not answer, or answered beyond all bounds."""


def resolve(target: str, services: SdkServices) -> tuple[str, bool] | None:
    """Where a call goes, and whether it is a renewal; None when the address is none of those that are served."""
    address, _, query = target.partition("?")
    if _QUERY.fullmatch(query) is None:
        return None
    for service, path, renewal in ((services.accounts, _ACCOUNTS, False), (services.token, _TOKEN, True)):
        for base in service.named:
            if address.startswith(base) and path.fullmatch(address[len(base) :]) is not None:
                return service.base + address[len(base) :] + (f"?{query}" if query else ""), renewal
    return None


class SdkCookies:
    """Answers ``/__cookies__`` and renews expired cookies of the SDK.

    :param session: an HTTP client without a cookie jar of its own.
    """

    def __init__(
        self,
        services: SdkServices,
        session: aiohttp.ClientSession,
        replies: Replies,
        clock: Clock,
        *,
        app: str = DEFAULT_APP,
    ) -> None:
        self._services = services
        self._session = session
        self._replies = replies
        self._clock = clock
        self._id: Final[CookieName] = sdk_id_cookie(app)
        self._refresh: Final[CookieName] = sdk_refresh_cookie(app)
        self.names: Final = frozenset(
            name.encode("ascii") for kind in (self._id, self._refresh) for name in (kind.secure, kind.local)
        )
        """Its cookies: no backend gets one."""
        self._renewals: TTLCache[bytes, asyncio.Task[_Renewal]] = TTLCache(
            MAX_RENEWALS, RENEWAL_KEPT, timer=clock.monotonic
        )
        self._slots = asyncio.Semaphore(MAX_PARALLEL)

    # ---- calls of the SDK ----

    async def answer(self, context: RequestContext, scheme: str, request_id: str, body: BodyReader) -> Reply:
        """Answer one call. ``scheme`` is ``http`` or ``https``, as the client used it."""
        if context.method not in {"POST", "DELETE"}:
            reply = self._failure(reasons.METHOD_NOT_ALLOWED, request_id)
            return reply.beside([("Allow", "POST, DELETE")])
        if not is_same_origin(context):
            return self._failure(reasons.CROSS_SITE, request_id)
        if context.method == "DELETE":
            return Reply(200, (*self._cleared(scheme, context.host), *_JSON_HEADERS), b"{}")
        found = resolve(parameter(context.target.query, "finalTarget") or "", self._services)
        if found is None:
            return self._failure(reasons.REQUEST_MALFORMED, request_id)
        url, renewal = found
        refresh = self._refresh.on(scheme, context.host)
        try:
            data = await body(MAX_BODY)
            if renewal:
                data = _with_refresh_token(data, cookie_values(context.headers, refresh))
            answer = await self._call(url, data, _kept(context.headers))
        except RequestError as error:
            return self._failure(error.reason, request_id)
        except _Unreachable:
            return self._failure(reasons.IDENTITY_SERVICE_UNAVAILABLE, request_id)
        if not answer.good:
            return Reply(answer.status, _JSON_HEADERS, answer.body)
        fields, document = self._taken(answer.document, self._id.on(scheme, context.host), refresh)
        return Reply(200, (*fields, *_JSON_HEADERS), json.dumps(document).encode("ascii"))

    def _taken(self, document: dict[str, Any], id_cookie: str, refresh_cookie: str) -> tuple[Fields, dict[str, Any]]:
        """The cookies for an answer that holds tokens, and the answer without the refresh token."""
        fields: Fields = ()
        for id_member, refresh_member in (("idToken", "refreshToken"), ("id_token", "refresh_token")):
            token, refresh = document.get(id_member), document.get(refresh_member)
            if _is_value(token) and _is_value(refresh):
                fields = (
                    set_sdk_cookie(id_cookie, str(token), script=True),
                    set_sdk_cookie(refresh_cookie, str(refresh), script=False),
                )
            if refresh_member in document:
                document = {**document, refresh_member: REDACTED}
        return fields, document

    # ---- renewal on the way ----

    async def freshen(self, context: RequestContext, scheme: str) -> tuple[RequestContext, Fields]:
        """The request with a renewed ID token when the one in its cookie has expired, and the cookies to answer with.

        An empty cookie is how the SDK signs out; then both cookies are removed.
        """
        if b"cookie" not in context.headers:
            return context, ()
        name, refresh_name = self._id.on(scheme, context.host), self._refresh.on(scheme, context.host)
        values = cookie_values(context.headers, name)
        if values == [""]:
            return context, self._cleared(scheme, context.host)
        refresh = cookie_values(context.headers, refresh_name)
        if len(values) != 1 or len(refresh) != 1 or not refresh[0]:
            return context, ()
        old = _payload(values[0])
        expiry = old.get("exp")
        if not isinstance(expiry, int) or expiry > self._clock.now():
            return context, ()
        renewal = await self._renewed(refresh[0])
        if renewal.over or (renewal.token is not None and _payload(renewal.token).get("sub") != old.get("sub")):
            return context, self._cleared(scheme, context.host)
        if renewal.token is None:
            return context, ()
        fields = (
            set_sdk_cookie(name, renewal.token, script=True),
            set_sdk_cookie(refresh_name, renewal.refresh, script=False),
        )
        return dataclasses.replace(context, headers=_with_cookie(context.headers, name, renewal.token)), fields

    def rests_until(self, context: RequestContext, scheme: str) -> float:
        """Until when :meth:`freshen` leaves such a request as it is, in wall-clock seconds; minus infinity for now."""
        if b"cookie" not in context.headers:
            return math.inf
        values = cookie_values(context.headers, self._id.on(scheme, context.host))
        if values == [""]:
            return -math.inf
        refresh = cookie_values(context.headers, self._refresh.on(scheme, context.host))
        if len(values) != 1 or len(refresh) != 1 or not refresh[0]:
            return math.inf
        expiry = _payload(values[0]).get("exp")
        if not isinstance(expiry, int):
            return math.inf
        return float(expiry) if expiry > self._clock.now() else -math.inf

    async def _renewed(self, refresh: str) -> _Renewal:
        key = hashlib.sha256(refresh.encode("utf-8", "replace")).digest()
        task = self._renewals.get(key)
        if task is None:
            task = self._renewals[key] = asyncio.create_task(self._renew(refresh))
        # The call goes on when whoever asked first is gone: others wait for it.
        return await asyncio.shield(task)

    async def _renew(self, refresh: str) -> _Renewal:
        form = urlencode({"grant_type": "refresh_token", "refresh_token": refresh}).encode("ascii")
        url = f"{self._services.token.base}/v1/token?{urlencode({'key': self._services.api_key})}"
        try:
            async with self._slots:
                answer = await self._call(url, form, {"Content-Type": "application/x-www-form-urlencoded"})
        except _Unreachable:
            return _Renewal()
        if not answer.good:
            return _Renewal(over=answer.status in _OVER)
        token, renewed = answer.document.get("id_token"), answer.document.get("refresh_token")
        return _Renewal(str(token), str(renewed)) if _is_value(token) and _is_value(renewed) else _Renewal()

    # ---- both ----

    async def _call(self, url: str, data: bytes, headers: dict[str, str]) -> _Answer:
        """Call a service.

        :raises _Unreachable: no answer in time, or too large a one.
        """
        body = b""
        try:
            async with self._session.post(
                URL(url, encoded=True),
                data=data,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT),
            ) as response:
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > MAX_ANSWER:
                        raise _Unreachable
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise _Unreachable from None
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise _Unreachable from None
        return _Answer(status, body, document)

    def _cleared(self, scheme: str, host: str) -> Fields:
        return (clear_cookie(self._id.on(scheme, host)), clear_cookie(self._refresh.on(scheme, host)))

    def _failure(self, reason: Reason, request_id: str) -> Reply:
        return self._replies.failure(reason, request_id, PROBLEM)


def _kept(headers: Headers) -> dict[str, str]:
    found = ((name, headers.one(name.lower().encode("ascii"))) for name in PASSED_ON)
    return {name: value for name, value in found if value is not None}


def _with_refresh_token(form: bytes, cookie: Sequence[str]) -> bytes:
    """The form with the cookie's refresh token in place of the word that the SDK knows."""
    if len(cookie) != 1 or not cookie[0]:
        return form
    try:
        pairs = parse_qsl(form.decode("ascii"), keep_blank_values=True, max_num_fields=16)
    except ValueError:
        raise RequestError(reasons.REQUEST_MALFORMED, "the form cannot be read") from None
    return urlencode([(name, cookie[0] if name == "refresh_token" else value) for name, value in pairs]).encode("ascii")


def _with_cookie(headers: Headers, name: str, value: str) -> Headers:
    """The fields with another value in the cookie ``name``."""
    lines: list[tuple[bytes, bytes]] = []
    wanted = name.encode("ascii")
    for field_name, line in headers:
        if field_name.lower() == b"cookie":
            pairs = line.split(b";")
            kept = [pair for pair in pairs if pair.partition(b"=")[0].strip(b" \t") != wanted]
            if len(kept) < len(pairs):
                kept.append(b" " + wanted + b"=" + value.encode("ascii"))
            line = b";".join(kept).strip(b" \t")  # noqa: PLW2901 - the line as it goes on
        lines.append((field_name, line))
    return Headers(tuple(lines))


def _is_value(text: object) -> bool:
    """Whether the text may stand in a cookie (RFC 6265 section 4.1.1), which every token can."""
    return isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9._~+/=|:-]{1,4000}", text, re.ASCII) is not None


def _payload(token: str) -> dict[str, Any]:
    """What a token says, unverified: only to see whether it is worth a renewal. Empty when it says nothing."""
    try:
        part = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, IndexError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
