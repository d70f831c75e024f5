"""Frozen values that are made quickly.

A frozen dataclass sets each of its fields through ``object.__setattr__``, and a judgement makes half a dozen of them: a
microsecond each, for every token that comes for the first time. So the values are put into an open twin, which then
becomes the frozen class; Python allows that for equal ``__slots__`` (data model, "__class__"). What comes out is an
instance of the frozen class like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, ParamSpec, TypeVar, cast

Fields = ParamSpec("Fields")
Value = TypeVar("Value")


def maker(cls: Callable[Fields, Value]) -> Callable[Fields, Value]:
    """Make ``cls`` quickly: something to call with the values of all its fields, in their order.

    :param cls: a dataclass that is frozen and has slots, and no ``__post_init__``.
    """
    names = [entry.name for entry in fields(cast("Any", cls))]
    lines = [f"def __init__(self, {', '.join(names)}, /):", *(f"    self.{name} = {name}" for name in names)]
    made: dict[str, Any] = {}
    # As dataclasses itself does; nothing but the names of fields is in the text.
    exec("\n".join([*lines, "    self.__class__ = cls"]), {"cls": cls}, made)  # noqa: S102 - because of the comment above
    twin: Any = type(f"_Open{cls.__name__}", (), {"__slots__": tuple(names), **made})
    return cast("Callable[Fields, Value]", twin)
