"""Prefixes of paths: what is taken off, what is put in front, and that nothing else changes."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.target import parse_target
from gateway.errors import RequestError
from gateway.policy.rewrite import PathRewrite, covers, is_prefix

SEGMENT = st.text(string.ascii_letters + "-_.~%20", min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("strip", "add", "raw", "target"),
    [
        ("/app", "", "/app", "/"),
        ("/app", "", "/app/", "/"),
        ("/app", "", "/app/x/y", "/x/y"),
        ("/app", "", "/app/x/", "/x/"),
        ("/app", "", "/app?a=/app/b", "/?a=/app/b"),
        ("/app", "", "/app?", "/?"),
        ("/app/v1", "", "/app/v1/x", "/x"),
        ("/app/v1", "", "/app/v1", "/"),
        ("/app", "", "/%61pp/%C3%BC%2e?q=%2F", "/%C3%BC%2e?q=%2F"),
        ("", "/v2", "/", "/v2/"),
        ("", "/v2", "/x?y", "/v2/x?y"),
        ("/app", "/v2/api", "/app", "/v2/api/"),
        ("/app", "/v2/api", "/app/x;p=1/y", "/v2/api/x;p=1/y"),
    ],
)
def test_whole_segments_come_and_go(strip: str, add: str, raw: str, target: str) -> None:
    """takes whole segments off the front and puts others there, and leaves every other byte as it came."""
    rewrite = PathRewrite(strip, add)
    assert rewrite.target(raw) == target
    line = b"GET " + raw.encode() + b" HTTP/1.1\r"
    assert rewrite.line(line) == b"GET " + target.encode() + b" HTTP/1.1\r"


@given(st.lists(SEGMENT, min_size=1, max_size=5), st.integers(1, 3), st.booleans())
def test_what_had_one_reading_has_one_afterwards(segments: list[str], depth: int, slash: bool) -> None:
    """makes no target ambiguous that was not: no empty segment, no dots, a slash in front."""
    prefix = "/p" * depth
    raw = prefix + "".join(f"/{segment}" for segment in segments) + ("/" if slash else "")
    try:
        before = parse_target(raw)
    except RequestError:
        return
    after = parse_target(PathRewrite(prefix, "/v2").target(raw))
    assert after.path == "/v2" + before.path.removeprefix(prefix)


@pytest.mark.parametrize(
    "prefix",
    [
        "app",
        "/app/",
        "/",
        "//app",
        "/a//b",
        "/a/../b",
        "/..",
        "/.",
        "/a/.",
        "/a%2fb",
        "/a b",
        "/a?b",
        "/a;b",
        "/*",
        "/ü",
    ],
)
def test_odd_prefixes_are_refused(prefix: str) -> None:
    """takes no prefix that is not one or more plain segments."""
    assert not is_prefix(prefix)
    with pytest.raises(ValueError, match="whole segments"):
        PathRewrite(prefix)
    with pytest.raises(ValueError, match="whole segments"):
        PathRewrite("", prefix)


@pytest.mark.parametrize("prefix", ["/app", "/a/b.c", "/...", "/.well-known", "/a..b", "/~me", "/@x:1"])
def test_plain_prefixes_are_taken(prefix: str) -> None:
    """takes dots inside a segment for what they are."""
    assert is_prefix(prefix)


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [("/app", True), ("/app/**", True), ("/app/x/*", True), ("/apple/**", False), ("/**", False), ("/*/x", False)],
)
def test_a_pattern_must_have_the_prefix(pattern: str, covered: bool) -> None:
    """knows whether every path of a pattern begins with a prefix."""
    assert covers("/app", pattern) is covered
