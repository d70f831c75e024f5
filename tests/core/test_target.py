"""Request targets: one reading or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import reasons
from gateway.core.target import MAX_TARGET_LENGTH, parse_target
from gateway.errors import RequestError

PLAIN = [
    ("/", "/", ""),
    ("/a/b", "/a/b", ""),
    ("/a/b/", "/a/b/", ""),
    ("/a?x=1&y=//..%2f", "/a", "x=1&y=//..%2f"),
    ("/caf%C3%A9", "/café", ""),
    ("/a%20b", "/a b", ""),
    ("/%70rotected", "/protected", ""),
    ("/a;v=1", "/a;v=1", ""),
    ("/.well-known/x", "/.well-known/x", ""),
    ("/...", "/...", ""),
    ("/a..b/c.", "/a..b/c.", ""),
    ("/a?", "/a", ""),
    ("/~user/@me/(x)!*'", "/~user/@me/(x)!*'", ""),
    ('/a?q={"x":[1]}|^`', "/a", 'q={"x":[1]}|^`'),
]


@pytest.mark.parametrize(("raw", "path", "query"), PLAIN)
def test_plain_targets_are_read(raw: str, path: str, query: str) -> None:
    """... reads ordinary targets and keeps the raw bytes."""
    target = parse_target(raw)
    assert (target.raw, target.path, target.query) == (raw, path, query)


AMBIGUOUS = [
    "//evil.example/x",
    "/a//b",
    "/a/./b",
    "/a/../b",
    "/..",
    "/.",
    "/a/%2e%2e/b",
    "/a/%2E./b",
    "/a/.%2e",
    "/%2e%2e%2fprotected",
    "/a%2fb",
    "/a%2Fb",
    "/a%5cb",
    "/a\\b",
    "/a/..;/b",
    "/a/..;x=1/b",
    "/a/.;/b",
    "/a/%2e%2e;/b",
    "/a%00b",
    "/a%09b",
    "/a%0d%0ab",
    "/a%7fb",
    "/a%c0%afb",
    "/a%c0%ae%c0%ae/b",
    "/a%e0%80%afb",
    "/a%ffb",
    "/a%ed%a0%80",
    "/a%c2%85b",
    "/a/%252e%252e/b",
    "/a%252fb",
    "/a%255cb",
    "/a%2500b",
    "/a/%EF%BC%8E%EF%BC%8E/b",
    "/a%EF%BC%8Fb",
    "/a%EF%BC%BCb",
]


@pytest.mark.parametrize("raw", AMBIGUOUS)
def test_ambiguous_targets_are_refused(raw: str) -> None:
    """... refuses a path that two readers could take for two paths."""
    with pytest.raises(RequestError) as caught:
        parse_target(raw)
    assert caught.value.reason is reasons.TARGET_AMBIGUOUS


MALFORMED = [
    "",
    "*",
    "a",
    "http://h/a",
    "example.com:443",
    "/a b",
    "/a\tb",
    "/a#b",
    "/a?b#c",
    "/a%",
    "/a%2",
    "/a%zz",
    "/é",
    "/a\x00",
]


@pytest.mark.parametrize("raw", MALFORMED)
def test_malformed_targets_are_refused(raw: str) -> None:
    """... refuses what is no origin-form target."""
    with pytest.raises(RequestError) as caught:
        parse_target(raw)
    assert caught.value.reason is reasons.REQUEST_MALFORMED


def test_long_targets_are_refused() -> None:
    """... refuses a target beyond the limit with 414 and takes one at the limit."""
    parse_target("/" + "a" * (MAX_TARGET_LENGTH - 1))
    with pytest.raises(RequestError) as caught:
        parse_target("/" + "a" * MAX_TARGET_LENGTH)
    assert caught.value.reason is reasons.TARGET_TOO_LONG


READINGS = [
    ("/admin", set()),
    ("/ADMIN", {"/admin"}),
    ("/admin;x", {"/admin"}),
    ("/admin.", {"/admin"}),
    ("/admin%20", {"/admin"}),
    ("/admin.%20.", {"/admin"}),
    ("/%EF%BD%81dmin", {"/admin"}),
    ("/%2561dmin", {"/admin"}),
    ("/ADMIN.;x/Y", {"/admin/y"}),
]


@pytest.mark.parametrize(("raw", "expected"), READINGS)
def test_lenient_readings_are_listed(raw: str, expected: set[str]) -> None:
    """... knows what a lenient backend would make of an unusual spelling."""
    assert expected <= set(parse_target(raw).readings)
    if not expected:
        assert parse_target(raw).readings == ()


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40))
def test_any_visible_text_is_read_or_refused(text: str) -> None:
    """... answers any visible text with a target of one reading or a RequestError, and nothing else."""
    try:
        target = parse_target("/" + text)
    except RequestError:
        return
    assert target.raw == "/" + text
    assert "//" not in target.path
    assert not any(segment in {".", ".."} for segment in target.path.split("/"))
    assert "\\" not in target.path


@pytest.mark.parametrize("raw", ["/a/..;x;y/b", "/a/.;;/b", "/a/%252e%252e;x;y/b", "/a/%252e/b", "/a/%252e;x/b"])
def test_parameters_hide_no_dot_segment(raw: str) -> None:
    """... sees a dot segment behind any number of parameters and behind a second encoding."""
    with pytest.raises(RequestError) as caught:
        parse_target(raw)
    assert caught.value.reason is reasons.TARGET_AMBIGUOUS


@pytest.mark.parametrize(
    ("raw", "readings"),
    [
        ("/A;x", {"/A", "/a;x", "/a"}),
        ("/a;x;y/b;z", {"/a/b"}),
        ("/aX.", {"/aX", "/ax.", "/ax"}),
        ("/Xa. ./b".replace(" ", "%20"), {"/Xa/b", "/xa. ./b", "/xa/b"}),
        ("/a%25ffb", {"/a\ufffdb"}),
        ("/a%2562", {"/ab"}),
    ],
)
def test_readings_are_each_leniency_alone_and_all_together(raw: str, readings: set[str]) -> None:
    """... lists what a backend with one leniency would read, and one with all of them."""
    assert set(parse_target(raw).readings) == readings
