"""The ``Forwarded`` field (RFC 7239), read strictly.

The rule this file obeys: *a line has one reading or none.* A client may send the beginning of a line that a proxy then
adds to, and an opened quotation mark in it would swallow the proxy's entry. So the whole line has to fit the grammar:
every quotation mark that a proxy writes is followed by what may not follow a closing one, and the swallowing shows.
Lines are read from the last to the first, and only as far as they have to be believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# RFC 9110 section 5.6: token, quoted-string and optional white space; RFC 7239 section 4: no space around "=".
_PAIR: Final = re.compile(
    r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
    r'|"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*)")'
)
_SEPARATOR: Final = re.compile(r"[ \t]*([;,])[ \t]*")
_ESCAPED: Final = re.compile(r"\\(.)")

Element = dict[str, str]
"""One proxy's report: parameter names in lower case, values without quotation marks."""


def parse_line(line: str) -> list[Element]:
    """The elements of one field line, in order.

    :raises ValueError: the line does not fit the grammar, or an element names a parameter twice (RFC 7239 section 4).
    """
    text = line.strip(" \t")
    elements: list[Element] = [{}]
    position = 0
    while True:
        pair = _PAIR.match(text, position)
        if pair is None:
            raise ValueError("not a parameter")
        name = pair[1].lower()
        if name in elements[-1]:
            raise ValueError(f"{name} stands twice in one element")
        elements[-1][name] = pair[2] if pair[2] is not None else _ESCAPED.sub(r"\1", pair[3])
        position = pair.end()
        if position == len(text):
            return elements
        separator = _SEPARATOR.match(text, position)
        if separator is None:
            raise ValueError("no separator after a parameter")
        if separator[1] == ",":
            elements.append({})
        position = separator.end()


def last_first(lines: list[str]) -> Iterator[Element]:
    """Elements from the nearest proxy's to the farthest's; a line is read when its turn comes.

    :raises ValueError: the line whose turn it is does not fit the grammar.
    """
    for line in reversed(lines):
        yield from reversed(parse_line(line))
