"""Screening of profile photos (blocking-functions.md scenario 4.8).

The rule this file obeys: a judge that fails, stalls or answers anything but yes or no has not said yes; what then
becomes of the registration is a setting, and refusing is the default.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import aiohttp

from gateway.adapters.endpoint import checked_endpoint
from gateway.blocking.background import call
from gateway.blocking.https_error import ErrorCode, HttpsError
from gateway.blocking.model import EventContext, User
from gateway.blocking.ready_made.addresses import Function
from gateway.blocking.threads import Threads
from gateway.errors import ConfigError

TIMEOUT: Final = 3.0
"""Seconds that the judge has: half of what the whole event has."""

MAX_ANSWER: Final = 64 * 1024
"""Bytes of a service's answer."""

REFUSED: Final = "The photo could not be checked. Try again later."

OnError: TypeAlias = Literal["deny", "allow", "replace"]
"""What a judge that fails leads to: no account, the photo as it is, or the replacement."""

Judge: TypeAlias = Callable[[str], Any]
"""Address of a photo to whether it is fit to be seen: a bool, or something to await for one."""

_THREADS: Final = 4
_HTTP_OK: Final = 200
_log = logging.getLogger(__name__)


def screen_photo(
    judge: Judge,
    replacement: str,
    *,
    on_error: OnError = "deny",
    timeout: float = TIMEOUT,
) -> Function:
    """Replace photos that ``judge`` finds unfit (beforeCreate).

    :param replacement: address of the photo to show instead.
    :param timeout: seconds.
    :raises ConfigError: no such address, or an unknown ``on_error``.
    """
    if not replacement.startswith(("https://", "http://")):
        raise ConfigError("screen_photo", f"{replacement!r} is no address of a photo", '"https://…/guest.png"')
    if on_error not in {"deny", "allow", "replace"}:
        raise ConfigError("screen_photo", f"on_error is {on_error!r}", "deny, allow or replace")
    threads = Threads(_THREADS, "photo judge")

    async def screen(user: User, context: EventContext) -> Mapping[str, Any] | None:
        if not user.photo_url or user.photo_url == replacement:
            return None
        try:
            async with asyncio.timeout(timeout):
                verdict = await call(judge, (user.photo_url,), threads)
            if not isinstance(verdict, bool):
                raise TypeError(f"the judge answered {type(verdict).__name__}, not a bool")  # noqa: TRY301 - one way out
        except Exception as error:  # noqa: BLE001 - whatever went wrong, it is no yes
            _log.error("a photo could not be screened (event %s): %s", context.event_id, type(error).__name__)
            if on_error == "deny":
                raise HttpsError(ErrorCode.FAILED_PRECONDITION, REFUSED) from None
            verdict = on_error == "allow"
        return None if verdict else {"photo_url": replacement}

    return screen


class HttpJudge:
    """Asks a service: POST ``{"photoUrl": "…"}``, and 200 with ``{"appropriate": true}`` or ``false`` comes back.

    :param url: https, or http on this machine; redirects are not followed.
    :param headers: sent along, an API key say.
    :param where: names ``url`` in the error.
    :raises ConfigError: no such address.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, *, where: str = "url") -> None:
        self._url = checked_endpoint(url, where)
        self._headers = dict(headers or {})

    async def __call__(self, photo_url: str) -> bool:
        """Whether the photo is fit to be seen.

        :raises ValueError: the service answered something else.
        """
        # A session of its own: photos are rare, and nobody has to close it.
        async with (
            aiohttp.ClientSession(trust_env=True) as session,
            session.post(
                self._url, json={"photoUrl": photo_url}, headers=self._headers, allow_redirects=False
            ) as answer,
        ):
            raw = b"".join([chunk async for chunk in _bounded(answer.content)])
        try:
            verdict = json.loads(raw)["appropriate"] if answer.status == _HTTP_OK else None
        except (ValueError, TypeError, LookupError):
            verdict = None
        if not isinstance(verdict, bool):
            raise ValueError(f"the photo service answered {answer.status} without a verdict")  # noqa: TRY004 - a fault of the answer
        return verdict


async def _bounded(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    length = 0
    async for chunk in content.iter_any():
        length += len(chunk)
        if length > MAX_ANSWER:
            raise ValueError(f"the photo service answered more than {MAX_ANSWER} bytes")
        yield chunk
