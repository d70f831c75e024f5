"""Where one message ends and the next begins, counted beside aiohttp's parser.

The rule this file obeys (``threats.md`` rows 22 and 23): the fast path may only read bytes that the parser has no claim
to. The parser does not tell whether it holds the beginning of a message, so what it was given is counted here. Anything
that is not one head with at most one plain length (chunked bodies, upgrades, pipelining, heads in pieces) makes the
connection unclear, and an unclear connection goes the ordinary way until it ends.
"""

from __future__ import annotations

import re
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n", re.IGNORECASE)
_UNCLEAR: Final = re.compile(
    rb"\r\n(?:transfer-encoding|upgrade)[ \t]*:|\r\n[ \t]|[^\r]\n|\r[^\n]|\A(?:connect|[^a-z])", re.IGNORECASE
)
"""Nothing but these two fields and the method CONNECT makes a message go on where neither its head nor a plain length
says so (RFC 9112 section 6.3). Browsers send ``Upgrade-Insecure-Requests`` with every navigation."""


class Boundary:
    """Counts what a parser is given. ``clear``: nothing of a message is outstanding, as far as anybody can tell."""

    __slots__ = ("_known", "_owed")

    def __init__(self) -> None:
        self._known = True
        self._owed = 0

    @property
    def clear(self) -> bool:
        """Whether the next byte begins a message."""
        return self._known and not self._owed

    def fed(self, data: bytes) -> None:
        """Take note that the parser was given ``data``."""
        if not self._known or not data:
            return
        if self._owed:
            self._owed -= len(data)
        else:
            end = data.find(_HEAD_END)
            if end < 0 or _UNCLEAR.search(data, 0, end + 2) is not None:
                self._known = False
                return
            lengths = data[: end + 2].lower().count(b"content-length")
            found = _LENGTH.search(data, 0, end + 2)
            if lengths > 1 or (found is None) is not (lengths == 0):
                self._known = False
                return
            body = int(found.group(1)) if found is not None else 0
            self._owed = body - (len(data) - end - len(_HEAD_END))
        if self._owed < 0:
            self._known = False
