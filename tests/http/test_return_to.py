r"""The return path: a long table of tricks, and what honest paths look like."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.return_to import MAX_LENGTH, parameter, safe_return_path

GOOD = [
    "/",
    "/a",
    "/a/b/c",
    "/a/",
    "/a?b=c",
    "/a?next=%2Fhome",
    "/a?u=https://elsewhere.example/x",
    "/a?x=1&y=2#part",
    "/search?q=a%20b%0Ac",
    "/%C3%BCber",
    "/a@b",
    "/a:b",
    "/~user/x.y",
    "/x;v=1",
    "/?",
    "/#top",
]

CONTROLS = [f"{before}{chr(code)}{after}" for code in (0, 1, 8, 9, 10, 11, 12, 13, 27, 31, 127) for before, after in
            (("/", "/evil.example"), ("", "//evil.example"), ("//evil", ".example"), ("/a", "b"))]  # fmt: skip
BAD = [
    None,
    "",
    " ",
    " /a",
    "a",
    "./a",
    "../a",
    "?a",
    "#a",
    "//",
    "//evil.example",
    "//evil.example/%2f..",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "\\evil.example",
    "/\\/evil.example",
    "/\\\\evil.example",
    "//\\evil.example",
    "/a\\b",
    "/a/\\evil.example",
    "/a//evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/./\\evil.example",
    "/.\\evil.example",
    "/../evil",
    "/./a",
    "/a/..",
    "/a/../b",
    "/%2e%2e/b",
    "/%2E./b",
    "/.%2e/b",
    "/..;/b",
    "/%2fevil.example",
    "/%2Fevil.example",
    "/%2f%2fevil.example",
    "%2f%2fevil.example",
    "/%5cevil.example",
    "/%5Cevil.example",
    "/%5c%5cevil.example",
    "/a%2f..%2fb",
    "/%252fevil.example",
    "/%255cevil.example",
    "/%252e%252e/b",
    "/%25252fevil.example/%252f",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/%0d%0aSet-Cookie:a=b",
    "/%0D%0ALocation:%20//evil.example",
    "/%00",
    "/%7f",
    "/%2509/evil.example",
    "/%250d%250a",
    "/%e2%80%a8/x\u2028\\",
    "/%c0%af/evil.example",
    "/%c0%ae%c0%ae/evil",
    "/%ff",
    "/%",
    "/%2",
    "/%zz",
    "/\uff0f/evil.example",
    "/\uff0fevil.example",
    "/\uff3cevil.example",
    "/\u2025/evil.example",
    "/\uff0e\uff0e/evil.example",
    "\u2044\u2044evil.example",
    "\u3002evil.example",
    "\uff0f\uff0fevil.example",
    "http://evil.example",
    "https://evil.example",
    "HTTPS://evil.example",
    "http:evil.example",
    "http:/evil.example",
    "https:///evil.example",
    "https:\\\\evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "blob:https://evil.example/x",
    "ftp://evil.example",
    "file:///etc/passwd",
    "mailto:a@b",
    "://evil.example",
    ":evil.example",
    "@evil.example",
    "app.example@evil.example",
    "//app.example@evil.example",
    "//user:pass@evil.example",
    "//evil.example#@app.example",
    "//evil.example?@app.example",
    "https://app.example.evil.example",
    "https://app.example@evil.example",
    "//[::1]",
    "//2130706433",
    "//evil.example:80",
    "//evil%2eexample",
    ".evil.example",
    ";//evil.example",
    "/a b",
    "/a\xa0//b",
    "/<script>",
    '/"onload=x',
    "/a?b=<x>\\",
    "/a#\\evil",
    "/a# b",
    "/\ud800",
    "/" + "a" * MAX_LENGTH,
    *CONTROLS,
]  # fmt: skip


@pytest.mark.parametrize("raw", GOOD)
def test_honest_paths_are_kept(raw: str) -> None:
    """returns people to the very path they asked for."""
    assert safe_return_path(raw) == raw


def test_a_path_in_another_script_is_escaped() -> None:
    """keeps a path that a browser showed decoded, percent-encoded as it is sent."""
    assert safe_return_path("/über/日本?q=ü") == "/%C3%BCber/%E6%97%A5%E6%9C%AC?q=%C3%BC"


def test_the_table_is_long_enough() -> None:
    """is tried with at least a hundred hostile destinations."""
    assert len({raw for raw in BAD if raw is not None}) >= 100


@pytest.mark.parametrize("raw", BAD, ids=ascii)
def test_tricks_lead_home(raw: str | None) -> None:
    """sends people to the front page when the destination is anything but one plain path."""
    assert safe_return_path(raw) == "/"


@given(st.text(alphabet=st.sampled_from("/\\.%2fF5cCeE09aAdD:@?#;htps \t\n\r\0\u2028\uff0fx"), max_size=24))
def test_whatever_comes_back_stays_on_the_origin(raw: str) -> None:
    """never returns anything that a URL parser could take for another origin."""
    result = safe_return_path(raw)
    assert result.startswith("/")
    assert not result.startswith(("//", "/\\"))
    assert urlsplit(urljoin("https://app.example/.gateway/login", result)).netloc == "app.example"
    assert result.isprintable()


@pytest.mark.parametrize(
    "raw", ["/.gateway/login", "/.gateway/login?rd=/", "/.gateway/login/", "/.Gateway/LOGIN", "/.gateway/logout;x"]
)
def test_the_login_page_is_no_destination(raw: str) -> None:
    """never sends people back to the login page, in any spelling."""
    assert safe_return_path(raw, never=("/.gateway/login", "/.gateway/logout")) == "/"
    assert safe_return_path("/.gateway/loginx", never=("/.gateway/login",)) == "/.gateway/loginx"


def test_destinations_can_be_limited() -> None:
    """keeps to the prefixes the operator allows, on segment boundaries."""
    assert safe_return_path("/app/x", allowed_prefixes=("/app",)) == "/app/x"
    assert safe_return_path("/app", allowed_prefixes=("/app/",)) == "/app"
    assert safe_return_path("/application", allowed_prefixes=("/app",)) == "/"


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("rd=/a", "/a"),
        ("rd=%2Fa%3Fb%3D1&reason=x", "/a?b=1"),
        ("rd=/a&rd=//evil.example", None),
        ("rd=//evil.example&rd=/a", None),
        ("rd=/a&r%64=/b", None),
        ("RD=/a", None),
        ("", None),
        ("rd=", ""),
        ("rd=%ff", None),
        ("&".join(["x=1"] * 100), None),
        ("rd=/a;rd=/b", "/a;rd=/b"),
    ],
)
def test_a_parameter_counts_only_when_it_stands_once(query: str, value: str | None) -> None:
    """ignores a destination that was given twice or cannot be decoded."""
    assert parameter(query, "rd") == value
