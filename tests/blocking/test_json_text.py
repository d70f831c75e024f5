"""JSON as the service counts it, and what of it can be sent."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from gateway.blocking.json_text import MAX_DEPTH, can_be_sent, compact, encode, is_unicode


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1.0, "b": [True, None]}, '{"a":1,"b":[true,null]}'),
        (MappingProxyType({"é": (1, 2)}), '{"é":[1,2]}'),
        (1e21, "1e+21"),
        (-0.0, "0"),
        ("\u2028", '"\u2028"'),
    ],
)
def test_the_text_is_compact(value: Any, text: str) -> None:
    """the kit writes JSON without spaces, unescaped, and whole numbers as whole."""
    assert compact(value) == text


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {"a": {1.5: 1}}, {1, 2}, b"x", object(), float("inf"), "\ud800"])
def test_what_json_cannot_say(value: Any) -> None:
    """the kit tells what cannot be sent before it is to be sent."""
    assert not can_be_sent(value)
    with pytest.raises((TypeError, ValueError)):
        compact(value)


def test_depth() -> None:
    """the kit sends whatever passed, at the greatest depth too, with the objects of an answer around it."""
    assert can_be_sent(nested(MAX_DEPTH))
    assert not can_be_sent(nested(MAX_DEPTH + 1))
    body = {"error": {"details": nested(MAX_DEPTH)}}
    assert json.loads(encode(body)) == body
    assert not can_be_sent(nested(100_000))


def test_halves_of_characters() -> None:
    """the kit knows text that UTF-8 cannot say."""
    assert is_unicode("a😀é")
    assert not is_unicode("é\ud83d")
