"""What a function may answer, and what becomes of it on the wire (blocking-functions.md sections 2.1 to 2.3). Pure.

The rules this file obeys: **an answer that the service would ignore, refuse or misread blocks the sign-in here**, with
a text that says what is wrong: unknown fields, wrong types, the sixteen claims of the protocol, claims that are too
long by the service's own count. Only None and an empty object mean "nothing to change"; any other falsy answer is a
function that meant something else.

Several functions of one event merge in the order in which they were registered:

* a field that is set later replaces the one set before, None included;
* ``customClaims`` and ``sessionClaims`` merge key by key, later keys winning;
* the strict answer stands: ``disabled: true`` and ``BLOCK`` are not taken back by a later function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from gateway.blocking.event import Event
from gateway.blocking.https_error import ErrorCode, HttpsError
from gateway.blocking.json_text import compact, is_unicode, plain
from gateway.blocking.model import User

RESERVED_CLAIMS: Final = (
    "acr", "amr", "at_hash", "aud", "auth_time", "azp", "cnf", "c_hash", "exp", "iat", "iss", "jti", "nbf", "nonce",
    "firebase", "sub",
)  # fmt: skip
"""Names that no claim of ours may have, in the order in which a refusal lists them. The SDKs forget ``sub``, which the
service then refuses."""

MAX_CLAIMS: Final = 1000
"""UTF-16 code units of the compact JSON text of custom claims, of session claims, and of both together."""

_CONTROL: Final = re.compile(r"[\x00-\x20\x7f\\]")


class Unset:
    """The type of :data:`UNSET`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset()
"""The value of a field that stays as it is; None clears a field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUpdate:
    """What a function wants changed.

    ``session_claims`` is for ``before_sign_in`` only, and in the two send events nothing but
    ``recaptcha_action_override`` may be set.
    """

    display_name: str | Unset | None = UNSET
    disabled: bool | Unset = UNSET
    email_verified: bool | Unset = UNSET
    photo_url: str | Unset | None = UNSET
    custom_claims: Mapping[str, Any] | Unset = UNSET
    """Stored; replaces all custom claims that the account has."""
    session_claims: Mapping[str, Any] | Unset = UNSET
    """In the tokens of this session only, over custom claims of the same name."""
    recaptcha_action_override: Literal["ALLOW", "BLOCK"] | Unset = UNSET


Answer: TypeAlias = "UserUpdate | Mapping[str, Any] | None"
"""What a function may return: an update, a dict with Python's or the documented names, or nothing."""

_WIRE: Final[Mapping[str, str]] = {
    "display_name": "displayName",
    "disabled": "disabled",
    "email_verified": "emailVerified",
    "photo_url": "photoUrl",  # photoURL is accepted by the service and ignored (section 2.1)
    "custom_claims": "customClaims",
    "session_claims": "sessionClaims",
    "recaptcha_action_override": "recaptchaActionOverride",
}
_OURS: Final[Mapping[str, str]] = {
    **{name: name for name in _WIRE},
    **{wire: name for name, wire in _WIRE.items()},
    "photoURL": "photo_url",
}
_RECORD: Final = frozenset({"display_name", "disabled", "email_verified", "photo_url", "custom_claims"})
_OVERRIDE: Final = "recaptcha_action_override"
_ALLOWED: Final[Mapping[Event, frozenset[str]]] = {
    Event.BEFORE_CREATE: _RECORD | {_OVERRIDE},
    Event.BEFORE_SIGN_IN: _RECORD | {"session_claims", _OVERRIDE},
    Event.BEFORE_SEND_EMAIL: frozenset({_OVERRIDE}),
    Event.BEFORE_SEND_SMS: frozenset({_OVERRIDE}),
}


def read_answer(event: Event, answer: object) -> UserUpdate:
    """The update in what a function returned.

    :raises HttpsError: ``invalid-argument``, when it is nothing that this event may be answered with.
    """
    if answer is None:
        return UserUpdate()
    if isinstance(answer, UserUpdate):
        given: dict[Any, Any] = {field.name: getattr(answer, field.name) for field in fields(answer)}
    elif isinstance(answer, Mapping):
        given = dict(answer)
    else:
        raise _refused(f'The response for "{event}" event is not an object.')
    values: dict[str, Any] = {}
    ours: str | None
    for name, value in given.items():
        if isinstance(value, Unset):
            continue
        ours = _OURS.get(name) if isinstance(name, str) else None
        if ours is None or ours not in _ALLOWED[event]:
            shown = _WIRE[ours] if ours is not None else name
            raise _refused(f'"{shown}" is not a valid response parameter for "{event}" event.')
        if ours in values:
            raise _refused(f'"{_WIRE[ours]}" is given twice.')
        values[ours] = _checked(ours, value)
    update = UserUpdate(**values)
    _check_sizes(update)
    return update


def merge(first: UserUpdate, then: UserUpdate) -> UserUpdate:
    """Both updates in one, by the rules above.

    :raises HttpsError: ``invalid-argument``, when the claims of both are too long together.
    """
    changes = {field.name: value for field in fields(then) if not isinstance(value := getattr(then, field.name), Unset)}
    for name in ("custom_claims", "session_claims"):
        before = getattr(first, name)
        if name in changes and not isinstance(before, Unset):
            changes[name] = {**before, **changes[name]}
    if first.disabled is True:
        changes.pop("disabled", None)
    if first.recaptcha_action_override == "BLOCK":
        changes.pop(_OVERRIDE, None)
    merged = replace(first, **changes)
    _check_sizes(merged)
    return merged


def updated(user: User, update: UserUpdate) -> User:
    """The user as the next function of the same event is to see them."""
    changes = {name: value for name in _RECORD if not isinstance(value := getattr(update, name), Unset)}
    return replace(user, **changes) if changes else user


def wire_body(update: UserUpdate) -> dict[str, Any]:
    """The body of the 200 answer (section 2.1): the mask names what is set, and nothing else is there."""
    record = {
        wire: plain(value)
        for name, wire in _WIRE.items()
        if name != _OVERRIDE and not isinstance(value := getattr(update, name), Unset)
    }
    body: dict[str, Any] = {}
    if record:
        body["userRecord"] = {**record, "updateMask": ",".join(record)}
    if not isinstance(update.recaptcha_action_override, Unset):
        body[_WIRE[_OVERRIDE]] = update.recaptcha_action_override
    return body


def _checked(name: str, value: Any) -> Any:
    """``value`` when the field may have it."""
    wire = _WIRE[name]
    if name in {"custom_claims", "session_claims"}:
        return _claims(wire, value)
    if name == _OVERRIDE:
        if not isinstance(value, str) or value not in {"ALLOW", "BLOCK"}:
            raise _refused(f'"{wire}" must be "ALLOW" or "BLOCK".')
        return str(value)
    if name in {"disabled", "email_verified"}:
        if not isinstance(value, bool):
            raise _refused(f'"{wire}" must be a boolean.')
        return value
    if value is None:
        return None
    if not isinstance(value, str) or not is_unicode(value):
        raise _refused(f'"{wire}" must be a string.')
    if name == "photo_url" and not _is_web_address(value):
        raise _refused(f'"{wire}" must be a valid URL.')
    return value


def _claims(wire: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _refused(f'"{wire}" must be an object.')
    reserved = [name for name in RESERVED_CLAIMS if name in value]
    if reserved:
        raise _refused(f'The {wire} claims "{",".join(reserved)}" are reserved and cannot be specified.')
    try:
        if units(value) > MAX_CLAIMS:
            raise _refused(f"The {wire} payload should not exceed {MAX_CLAIMS} characters.")
    except (TypeError, ValueError, RecursionError):
        raise _refused(f"The {wire} payload holds what JSON cannot say.") from None
    return value


def _check_sizes(update: UserUpdate) -> None:
    custom, session = update.custom_claims, update.session_claims
    for wire, claims in (("customClaims", custom), ("sessionClaims", session)):
        if not isinstance(claims, Unset) and units(claims) > MAX_CLAIMS:
            raise _refused(f"The {wire} payload should not exceed {MAX_CLAIMS} characters.")
    if isinstance(custom, Unset) or isinstance(session, Unset):
        return
    if units({**custom, **session}) > MAX_CLAIMS:
        raise _refused(
            f"The customClaims and sessionClaims payloads should not exceed {MAX_CLAIMS} characters combined."
        )


def units(value: object) -> int:
    """Length of the compact JSON text in UTF-16 code units, as the service counts (section 2.3).

    :raises TypeError, ValueError, RecursionError: JSON cannot say it.
    """
    return len(compact(value).encode("utf-16-le")) // 2


def _is_web_address(text: str) -> bool:
    if _CONTROL.search(text) is not None:
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _refused(message: str) -> HttpsError:
    return HttpsError(ErrorCode.INVALID_ARGUMENT, message)
