"""Another path for the backend than the one that was asked for: whole segments taken off the front, others put there.

The rule this file obeys (``threats.md`` rows 27 and 28): *rewriting never reads a path in a new way.* A target that
comes here has one reading (:mod:`gateway.core.target`): no empty segment, no dot segment, no escaped slash, so the
slashes of its raw bytes are the slashes of its decoded path. What goes are whole segments counted from the front; every
byte behind them leaves as it came. Nothing is decoded, resolved or joined, and the result starts with ``/``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_PREFIX: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()+,=:@-]+)+", re.ASCII)
"""Neither ``*`` nor ``;``: the one means something in patterns, the other to backends."""


@dataclass(frozen=True, slots=True)
class PathRewrite:
    """What becomes of a path. ``strip`` and ``add`` are empty, or start with ``/`` and do not end with it.

    :raises ValueError: one of them is no plain prefix of whole segments.
    """

    strip: str = ""
    add: str = ""

    def __post_init__(self) -> None:
        for prefix in (self.strip, self.add):
            if prefix and not is_prefix(prefix):
                raise ValueError(f"{prefix!r} is no path of whole segments, such as /app or /api/v2")

    def target(self, raw: str) -> str:
        """The target for the backend.

        :param raw: a target whose decoded path is ``strip`` or lies below it; the route's pattern sees to that.
        """
        path, mark, query = raw.partition("?")
        if self.strip:
            # Splitting once more than there are segments to drop: the empty text before the first slash is one part.
            parts = path.split("/", self.strip.count("/") + 1)
            path = "/" + (parts[-1] if len(parts) > self.strip.count("/") + 1 else "")
        return f"{self.add}{path}{mark}{query}"

    def line(self, line: bytes) -> bytes:
        """The same for a whole request line, ``METHOD target HTTP/1.1`` and whatever end it has."""
        method, target, rest = line.split(b" ", 2)
        return b"%b %b %b" % (method, self.target(target.decode("latin-1")).encode("latin-1"), rest)


def is_prefix(text: str) -> bool:
    """Whether ``text`` is a prefix of whole plain segments, without escapes, dot segments or a slash at the end."""
    return _PREFIX.fullmatch(text) is not None


def covers(prefix: str, pattern: str) -> bool:
    """Whether every path that a route's ``pattern`` takes is ``prefix`` or lies below it."""
    return pattern == prefix or pattern.startswith(f"{prefix}/")
