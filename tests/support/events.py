"""A forge of blocking-function events.

events.claims("beforeCreate", email="a@b.test")      claims of a good event; ``user`` fields go into user_record
events.token("beforeSignIn", top={"ip_address": …})   signed by forge.KID
events.body(token)                                    what the service POSTs
events.unsigned(claims)                               as the official emulator writes it
events.functions(...)                                 BlockingFunctions for PROJECT that knows the forge's key
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any, Final

from gateway.blocking import BlockingFunctions
from tests.support import forge
from tests.support.clock import NOW, FakeClock
from tests.support.tokens import KnownKeys

PROJECT: Final = "demo-project"
URL: Final = "https://hooks.example.test/blocking"
UID: Final = "u1"
LIFETIME: Final = 600
"""Seconds from ``iat`` to ``exp``, as the official emulator's (blocking-functions.md section 1.4)."""

ABSENT: Final = forge.ABSENT
_numbers: Final = itertools.count(1)


def claims(
    event_type: Any = "beforeCreate", *, now: float = NOW, top: Mapping[str, Any] | None = None, **user: Any
) -> dict[str, Any]:
    """Claims of a good event; ``user`` replaces fields of the record, ``top`` claims; ABSENT leaves one out."""
    members: dict[str, Any] = {
        "iss": f"https://securetoken.google.com/{PROJECT}",
        "aud": URL,
        "iat": int(now),
        "exp": int(now) + LIFETIME,
        "event_id": f"event-{next(_numbers)}",
        "event_type": event_type,
        "ip_address": "203.0.113.9",
        "user_agent": "UA/1",
        "locale": "fr",
    }
    if event_type in {"beforeCreate", "beforeSignIn"}:
        record = {
            "uid": UID,
            "email": "ada@example.com",
            "email_verified": False,
            "disabled": False,
            "metadata": {"creation_time": 1_700_000_000_000, "last_sign_in_time": 1_700_000_099_000},
            "provider_data": [{"provider_id": "password", "uid": "ada@example.com", "email": "ada@example.com"}],
        }
        members |= {"sub": UID, "sign_in_method": "password", "user_record": _present(record | user)}
    return _present(members | dict(top or {}))


def token(event_type: Any = "beforeCreate", *, kid: str = forge.KID, **fields: Any) -> str:
    """The token of a good event; fields as :func:`claims` takes them."""
    return signed(claims(event_type, **fields), kid=kid)


def signed(payload: Mapping[str, Any], *, kid: str = forge.KID) -> str:
    """These claims, signed with the key of this name."""
    return forge.raw(forge.header(kid), payload, forge.private_key(kid))


def unsigned(payload: Mapping[str, Any]) -> str:
    """These claims as the official emulator writes them."""
    return forge.raw({"alg": "none", "typ": "JWT"}, payload, None)


def body(token: object) -> bytes:
    """What the service POSTs."""
    return json.dumps({"data": {"jwt": token}}).encode()


def functions(**settings: Any) -> BlockingFunctions:
    """The kit for PROJECT at URL; knows the forge's key, and a clock that stands still."""
    given: dict[str, Any] = {"audiences": [URL], "keys": KnownKeys(forge.KID), "clock": FakeClock()}
    return BlockingFunctions(PROJECT, **(given | settings))


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ABSENT}
