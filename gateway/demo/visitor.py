"""Who is at the counter: the backend's reading of the gateway's identity headers.

The rule this file obeys: **a backend behind the gateway believes three headers and looks at no credential.** That is
sound only because nobody but the gateway reaches it (it listens on loopback) and because the gateway removes these
headers from whatever the client sent before it sets its own. A header that stands twice was not written by the
gateway alone, so it names nobody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

RawHeaders = Sequence[tuple[bytes, bytes]]

USER_HEADER: Final = b"x-forwarded-user"
EMAIL_HEADER: Final = b"x-forwarded-email"
GROUPS_HEADER: Final = b"x-forwarded-groups"

_IDENTITY: Final = frozenset({USER_HEADER, EMAIL_HEADER, GROUPS_HEADER})
_WITHHELD: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-gateway-jwt-assertion"})
_COMPACT_TOKEN: Final = re.compile(r"eyJ[\w-]*\.[\w.-]+")
"""Any compact JOSE object whose header starts with ``{"`` (RFC 7515 section 3.1), in whatever header it turns up."""

PRESENT: Final = "present (value withheld)"
ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person, as the gateway's headers name them. ``email`` is ``""`` when the account has none."""

    user: str
    email: str
    groups: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The three members that ``/api/whoami`` starts with."""
        return {"user": self.user, "email": self.email or None, "groups": list(self.groups)}


def visitor_of(raw: RawHeaders) -> Visitor | None:
    """Who the gateway says is calling; None for nobody in particular."""
    user = _single(raw, USER_HEADER)
    if not user:
        return None
    groups = _single(raw, GROUPS_HEADER)
    named = tuple(group for part in groups.split(",") if (group := part.strip()))
    return Visitor(user, _single(raw, EMAIL_HEADER), named)


def _single(raw: RawHeaders, name: bytes) -> str:
    values = [value for field, value in raw if field.lower() == name]
    return _text(values[0]).strip() if len(values) == 1 else ""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def headers_received(raw: RawHeaders) -> list[tuple[str, str]]:
    """Every header of the request, sorted by name, with ``Authorization`` always among them.

    Credentials are shown as present or absent, never in full, and so is anything else that looks like a token.
    """
    rows = [(_text(name), _shown(_text(name), _text(value))) for name, value in raw]
    if not any(name.lower() == "authorization" for name, _ in rows):
        rows.append(("Authorization", ABSENT))
    return sorted(rows, key=lambda row: row[0].lower())


def kind_of(name: str) -> str:
    """``identity`` for what this application believes, ``credential`` for what it never shows, else ``plain``."""
    folded = name.lower()
    if folded.encode() in _IDENTITY:
        return "identity"
    return "credential" if folded in _WITHHELD else "plain"


def _shown(name: str, value: str) -> str:
    if name.lower() in _WITHHELD:
        return PRESENT
    return _COMPACT_TOKEN.sub("(token withheld)", value)
