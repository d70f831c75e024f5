"""The ``Forwarded`` field: one reading or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.forwarded import last_first, parse_line

GOOD: list[tuple[str, list[dict[str, str]]]] = [
    ("for=192.0.2.60", [{"for": "192.0.2.60"}]),
    ("For=192.0.2.60;PROTO=http;by=203.0.113.43", [{"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}]),
    ('for=192.0.2.43, for="[2001:db8:cafe::17]"', [{"for": "192.0.2.43"}, {"for": "[2001:db8:cafe::17]"}]),
    ('for="_gazonk"', [{"for": "_gazonk"}]),
    (" for=a ; proto=b ,\tby=c ", [{"for": "a", "proto": "b"}, {"by": "c"}]),
    (r'for="a\"b\\c"', [{"for": 'a"b\\c'}]),
    ('for="a,b;c=d"', [{"for": "a,b;c=d"}]),
    ('for=""', [{"for": ""}]),
]

BAD = [
    "",
    " ",
    "for",
    "for=",
    "=a",
    "for =a",
    "for= a",
    "for=a;",
    "for=a,",
    ",for=a",
    "for=a;;by=b",
    "for=a,,for=b",
    "for=a b",
    'for="a',
    'for=a"',
    'for="a"b',
    'for="a"",by=c',
    "for=[2001:db8::1]",
    "for=192.0.2.1:80",
    "for=a;for=b",
    "for=a;FOR=b",
    'for="a\x00b"',
    'for="a\\',
]


@pytest.mark.parametrize(("line", "elements"), GOOD)
def test_lines_of_the_grammar(line: str, elements: list[dict[str, str]]) -> None:
    """... reads every form of RFC 7239, names in any case, values with and without quotation marks."""
    assert parse_line(line) == elements


@pytest.mark.parametrize("line", BAD)
def test_everything_else_is_refused(line: str) -> None:
    """... reads a line as a whole or not at all."""
    with pytest.raises(ValueError, match=r"parameter|twice"):
        parse_line(line)


@pytest.mark.parametrize("appended", ["for=192.0.2.1", 'for="[2001:db8::1]"', 'for=192.0.2.1;proto="https"'])
@given(prefix=st.text(st.sampled_from('for=a;", \\[]:1'), max_size=20))
def test_a_client_cannot_swallow_what_a_proxy_adds(appended: str, prefix: str) -> None:
    """... gives a proxy's entry as the last one, or refuses the line, whatever the client began it with."""
    try:
        elements = parse_line(f"{prefix}, {appended}")
    except ValueError:
        return
    assert elements[-1] == parse_line(appended)[0]


def test_lines_are_read_from_the_last_and_only_as_far_as_needed() -> None:
    """... never reads what nobody asks for."""
    elements = last_first(["not a line", "for=a, for=b", "for=c"])
    assert [next(elements)["for"] for _ in range(3)] == ["c", "b", "a"]
    with pytest.raises(ValueError, match="parameter"):
        next(elements)
