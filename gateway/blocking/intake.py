"""What comes from outside, before anything is known about it: bodies, names of events, addresses, texts to show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.blocking.event import EVENT_NAMES, Event
from gateway.blocking.https_error import ErrorCode, HttpsError
from gateway.errors import ConfigError

MAX_SHOWN: Final = 64
"""Characters of somebody else's text in a message of ours."""


def read_body(request: bytes | str) -> str:
    """The token in the body of a call, ``{"data": {"jwt": "…"}}`` (section 1.3), or the token that it is itself.

    :raises HttpsError: ``invalid-argument``.
    """
    if isinstance(request, str) and not request.lstrip().startswith("{"):
        return request
    try:
        body = json.loads(request)
    except (ValueError, RecursionError):
        raise HttpsError(ErrorCode.INVALID_ARGUMENT, "Request body is not valid JSON.") from None
    data = body.get("data") if isinstance(body, dict) else None
    token = data.get("jwt") if isinstance(data, dict) else None
    if not isinstance(token, str) or not token:
        raise HttpsError(ErrorCode.INVALID_ARGUMENT, "Request is missing body.")
    return token


def addresses(given: str | Iterable[str] | Mapping[str, str]) -> dict[str, frozenset[Event] | None]:
    """The function's addresses, each with the events that are registered there, or None for any.

    :raises ConfigError: what is no address, or no event.
    """
    if not isinstance(given, Mapping):
        return {_address(url): None for url in ((given,) if isinstance(given, str) else given)}
    events = [(_address(url), _event(name)) for name, url in given.items()]
    # One address may serve several events.
    return {url: frozenset(event for other, event in events if other == url) for url, _ in events}


def named(name: Event | str | None) -> Event | None:
    """The event of this name, in any of the spellings that people use; None for None.

    :raises ConfigError: there is no such event.
    """
    return None if name is None else _event(name)


def _event(name: Event | str) -> Event:
    if isinstance(name, Event):
        return name
    event = EVENT_NAMES.get(name.replace("-", "_"))
    if event is None:
        raise ConfigError("event", f"{name!r} is none", f"one of {', '.join(Event)}")
    return event


def shown(value: object) -> str:
    """Somebody else's text as a log or a message may show it."""
    if not isinstance(value, str):
        return "undefined"
    return "".join(character if character.isprintable() else "?" for character in value[:MAX_SHOWN])


def _address(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise ConfigError("audiences", f"{url!r} is no address", "the trigger's URL, exactly as it is registered")
    return url
