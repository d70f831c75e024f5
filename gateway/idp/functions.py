"""Which functions are registered, and how they are called (blocking-functions.md sections 1.1, 1.2, 3.4 and 3.5).

The rules this file obeys: **a function is called at exactly the URL that was registered**, no redirect is followed, no
cookie and no proxy setting of the environment takes part, and **a call ends at its deadline**.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from gateway.core.ports import Clock
from gateway.idp.answers import ErrorFormat, Words
from gateway.idp.errors import WireError
from gateway.idp.events import EVENT_TYPES, Forward
from gateway.idp.wire import Fields

DEADLINE: Final = 7.0
"""Seconds that a function has for the whole exchange (https://cloud.google.com/identity-platform/docs/blocking-functions)."""

MAX_DEADLINE: Final = 60.0
"""Longest deadline that may be set, seconds: the emulator's."""

MAX_ANSWER: Final = 65_536
"""Bytes of an answer; two claims objects of 1000 characters and a few texts are far below."""

INVALID_EVENT: Final = "INVALID_BLOCKING_FUNCTION : ((Event type is invalid.))"
INVALID_URI: Final = "INVALID_BLOCKING_FUNCTION : ((Expected an absolute URI with valid scheme and host.))"

CommitNewUser: TypeAlias = Literal["after_before_create", "after_before_sign_in"]
"""When a new account is stored: the emulator's way, or the one that production was seen to take (section 3.2)."""

InProcess: TypeAlias = Callable[[bytes], Awaitable[tuple[int, Mapping[str, Any]]]]
"""A function that lives in this process: takes the body of a call, answers HTTP status and body."""

FLAGS: Final = {"idToken": "id_token", "accessToken": "access_token", "refreshToken": "refresh_token"}
"""What the wire calls the flags of :class:`~gateway.idp.events.Forward`."""

_REQUEST_LINE: Final = re.compile(r"[!-~]+", re.ASCII)
"""What may stand in the request target (RFC 9112 section 3.2): no space, no control, ASCII only."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """How functions are called.

    ``triggers`` maps trigger keys to URLs. ``deadline`` is seconds. ``unsigned`` sends events as the emulator does,
    without a signature, for functions that run in emulator mode.
    """

    triggers: Mapping[str, str] = field(default_factory=dict)
    forward: Forward = field(default_factory=Forward)
    error_format: ErrorFormat = "documented"
    any_success: bool = False
    deadline: float = DEADLINE
    unsigned: bool = False
    commit_new_user: CommitNewUser = "after_before_create"


@dataclass(frozen=True, slots=True)
class Trigger:
    """One registered function; ``updated_at`` is seconds since the epoch."""

    uri: str
    updated_at: float


class Registry:
    """What is registered now: as the settings say, until an administrator registers something else."""

    def __init__(self, settings: FunctionSettings, clock: Clock) -> None:
        """Begin with the settings' triggers.

        :raises WireError: an unknown event or a URL that is none.
        """
        self.settings = settings
        self.words = Words(form=settings.error_format, any_success=settings.any_success)
        self.forward = settings.forward
        self._clock = clock
        self._triggers = {event: self._trigger(event, uri) for event, uri in settings.triggers.items()}

    def uri(self, event_type: str) -> str | None:
        """Where the function of an event is; None when the event is off."""
        trigger = self._triggers.get(event_type)
        return None if trigger is None else trigger.uri

    def document(self) -> dict[str, Any]:
        """``blockingFunctions`` of the project's configuration."""
        document: dict[str, Any] = {}
        if self._triggers:
            document["triggers"] = {
                event: {"functionUri": trigger.uri, "updateTime": _rfc3339(trigger.updated_at)}
                for event, trigger in self._triggers.items()
            }
        forward = {name: True for name, key in FLAGS.items() if getattr(self.forward, key)}
        if forward:
            document["forwardInboundCredentials"] = forward
        return document

    def replace(
        self, wanted: Fields | None, *, triggers: Collection[str] = EVENT_TYPES, forward: Collection[str] = FLAGS
    ) -> None:
        """Register what an administrator sent, all or nothing; what is absent is switched off.

        :param triggers: events whose functions are replaced; every event that is sent must be one of the four.
        :param forward: flags for credentials that are replaced, of :data:`FLAGS`.
        :raises WireError: ``INVALID_BLOCKING_FUNCTION``.
        """
        named = None if wanted is None else wanted.child("triggers")
        names = [] if named is None else named.names()
        if triggers and any(event not in EVENT_TYPES for event in (*names, *triggers)):
            raise WireError(INVALID_EVENT)
        new_triggers = {event: trigger for event, trigger in self._triggers.items() if event not in triggers}
        for event in names:
            trigger = named.child(event) if named is not None and event in triggers else None
            # A trigger without a URL is one that is switched off.
            if trigger is not None and (uri := trigger.text("functionUri")) is not None:
                new_triggers[event] = self._trigger(event, uri)
        flags = None if wanted is None else wanted.child("forwardInboundCredentials")
        new_forward = replace(
            self.forward,
            **{FLAGS[name]: flags is not None and bool(flags.flag(name)) for name in forward if name in FLAGS},
        )
        self._triggers, self.forward = new_triggers, new_forward

    def _trigger(self, event_type: str, uri: str) -> Trigger:
        if event_type not in EVENT_TYPES:
            raise WireError(INVALID_EVENT)
        if not is_absolute(uri):
            raise WireError(INVALID_URI)
        return Trigger(uri, self._clock.now())


class Caller:
    """Sends events to functions."""

    def __init__(self, in_process: Mapping[str, InProcess] | None = None) -> None:
        """Nothing is opened yet.

        :param in_process: functions that are called here, by the URL they are registered under.
        """
        self._in_process = dict(in_process or {})
        self._http: aiohttp.ClientSession | None = None

    async def post(self, url: str, token: str) -> tuple[int, bytes]:
        """Send an event and answer what came back: status and body. The caller keeps the time.

        :param token: the event JWT.
        :raises OSError: there was no answer, or too long a one.
        """
        body = json.dumps({"data": {"jwt": token}}, separators=(",", ":")).encode("ascii")
        function = self._in_process.get(url)
        if function is not None:
            status, answer = await function(body)
            return status, json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
        if self._http is None:
            self._http = aiohttp.ClientSession(
                # A connection for each call: one that the function closed in the meantime would fail a sign-in.
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"Content-Type": "application/json", "User-Agent": "session-gateway"},
            )
        try:
            async with self._http.post(_exactly(url), data=body, allow_redirects=False) as response:
                answered = await response.content.read(MAX_ANSWER + 1)
                while len(answered) <= MAX_ANSWER and (chunk := await response.content.read(MAX_ANSWER)):
                    answered += chunk
                if len(answered) > MAX_ANSWER:
                    raise OSError("the answer is too long")
                return response.status, answered
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error

    async def close(self) -> None:
        """Let go of open connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None


def is_absolute(uri: str) -> bool:
    """Whether a URI has a scheme and host at which a function can be called.

    One with a password is none: a call carries no ``Authorization`` (section 1.1), and the URI is the audience of every
    event and stands in logs.
    """
    try:
        parts = urlsplit(uri)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and "@" not in parts.netloc and uri.isprintable()


def _exactly(url: str) -> URL:
    """The URL as it is called: unmodified (section 1.1), unless it holds what no request line can."""
    return URL(url, encoded=_REQUEST_LINE.fullmatch(url) is not None)


def _rfc3339(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
