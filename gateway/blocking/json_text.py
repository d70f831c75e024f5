"""JSON as JavaScript's ``JSON.stringify`` writes it, because that is what the service counts. Pure.

The rule this file obeys: **what passes here can be sent**. Whatever JSON cannot say is refused when a function returns
or raises it, not when the answer is written, which would leave the service without one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

MAX_DEPTH: Final = 64
"""Nested objects and arrays. A thousand characters hold more, and no reader of a token should have to."""

_ENVELOPE: Final = 2
"""Objects around a value in an answer: ``userRecord`` or ``error``, and the body itself."""

_JS_EXPONENT: Final = 1e21
"""From here on JavaScript writes whole numbers with an exponent (ECMA-262, Number::toString), as Python does."""


def compact(value: object, *, around: int = 0) -> str:
    """The JSON text of ``value``, without spaces and unescaped.

    :param around: levels of nesting that are granted beyond :data:`MAX_DEPTH`.
    :raises TypeError, ValueError, RecursionError: JSON cannot say it.
    """
    return json.dumps(plain(value, -around), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(body: Mapping[str, Any]) -> bytes:
    """The body of an answer, whose parts have passed already, in UTF-8."""
    return compact(body, around=_ENVELOPE).encode("utf-8")


def can_be_sent(value: object) -> bool:
    """Whether JSON (RFC 8259) can say ``value`` in UTF-8, within the depth that is allowed."""
    try:
        compact(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` in what the encoder knows: whole floats as integers, any mapping as a dict, tuples as lists.

    :raises TypeError, ValueError: JSON cannot say it.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        if not is_unicode(value):
            raise ValueError("a text that UTF-8 cannot say")
        return str(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _JS_EXPONENT else float(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("a name that is no text")
        return {plain(name): plain(member, depth + 1) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    raise TypeError(f"{type(value).__name__} is no JSON")


def is_unicode(text: str) -> bool:
    """Whether ``text`` holds no half of a surrogate pair."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
