"""Reading a request: the checks that aiohttp's parser leaves to us."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import HttpVersion, StreamReader, http_parser, web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gateway.core.context import Headers, RequestContext
from gateway.errors import ConfigError, RequestError
from gateway.http import intake
from gateway.http.intake import (
    MAX_HEAD_SIZE,
    has_body,
    is_websocket,
    read_body,
    read_host,
    read_request,
    require_strict_parser,
)


def headers(*lines: str) -> Headers:
    pairs = (line.partition(": ") for line in lines)
    return Headers(tuple((name.encode("latin-1"), value.encode("latin-1")) for name, _, value in pairs))


def read(
    *lines: str,
    method: str = "GET",
    target: str = "/",
    version: tuple[int, int] = (1, 1),
    host: str | None = "app.example",
) -> RequestContext:
    all_lines = [f"Host: {host}", *lines] if host else lines
    fields = CIMultiDict((name, value) for name, _, value in (line.partition(": ") for line in all_lines))
    return read_request(make_mocked_request(method, target, headers=fields, version=HttpVersion(*version)))


def reason(*lines: str, **changed: Any) -> str:
    with pytest.raises(RequestError) as caught:
        read(*lines, **changed)
    return caught.value.reason.id


def test_a_plain_request_is_read() -> None:
    """reads method, host, target and fields as they came."""
    context = read("Accept: */*", target="/a%20b?q=1", host="App.Example:8080")
    assert (context.method, context.host, context.scheme) == ("GET", "app.example:8080", "http")
    assert (context.target.raw, context.target.path, context.target.query) == ("/a%20b?q=1", "/a b", "q=1")
    assert context.headers.one(b"accept") == "*/*"
    assert not context.websocket


@pytest.mark.parametrize("version", [(0, 9), (1, 2), (2, 0), (3, 0)])
def test_other_versions_are_refused(version: tuple[int, int]) -> None:
    """speaks HTTP/1.0 and HTTP/1.1 and nothing else."""
    assert reason(version=version) == "request_malformed"


@pytest.mark.parametrize(("method", "target"), [("TRACE", "/"), ("CONNECT", "app.example:443")])
def test_some_methods_are_refused(method: str, target: str) -> None:
    """serves no CONNECT and no TRACE."""
    assert reason(method=method, target=target) == "method_not_allowed"


@pytest.mark.parametrize(
    "host",
    [
        "a/b",
        "a b",
        "user@a",
        "a:b",
        "a:",
        "a:99999",
        "a:123456",
        "a,b",
        "a?b",
        "a#b",
        "[::1",
        "[]",
        "::1",
        "[::1]:x",
        "a\\b",
        "a%2eb",
        "ü.example",
        "",
        " ",
        "a:80:90",
        "a" * 256,
    ],
)
def test_a_malformed_host_is_refused(host: str) -> None:
    """takes for Host only a name or an address with an optional port."""
    with pytest.raises(RequestError) as caught:
        read_host(Headers(((b"Host", host.encode()),)))
    assert caught.value.reason.id == "host_invalid"


@pytest.mark.parametrize(
    "host", ["a", "a.b-c_d.example", "127.0.0.1:8080", "[::1]", "[2001:db8::1]:443", "localhost:0", "a.example."]
)
def test_a_well_formed_host_is_taken(host: str) -> None:
    """takes names and addresses with and without a port."""
    assert read_host(headers(f"Host: {host}")) == host


def test_there_is_exactly_one_host() -> None:
    """refuses a request without Host, HTTP/1.0 included, and one with two."""
    assert reason(host=None) == "host_invalid"
    assert reason(host=None, version=(1, 0)) == "host_invalid"
    assert reason("Host: other.example") == "host_invalid"
    assert reason("HOST: app.example") == "host_invalid"


@pytest.mark.parametrize(
    ("lines", "version"),
    [
        (("Transfer-Encoding: chunked",), (1, 0)),
        (("Transfer-Encoding: chunked", "Content-Length: 1"), (1, 1)),
        (("Transfer-Encoding: gzip, chunked",), (1, 1)),
        (("Transfer-Encoding: identity",), (1, 1)),
        (("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), (1, 1)),
        (("Content-Length: 1", "Content-Length: 1"), (1, 1)),
        (("Content-Length: 1, 1",), (1, 1)),
        (("Content-Length: +1",), (1, 1)),
        (("Content-Length: -1",), (1, 1)),
        (("Content-Length: 0x1",), (1, 1)),
        (("Content-Length: ١",), (1, 1)),
        (("Content-Length: ",), (1, 1)),
        (("Content-Length: " + "0" * 5_000 + "1",), (1, 1)),
    ],
)
def test_there_is_one_length_told_in_one_way(lines: tuple[str, ...], version: tuple[int, int]) -> None:
    """refuses framing that two readers could understand differently."""
    assert reason(*lines, version=version, method="POST") == "request_malformed"


@pytest.mark.parametrize("line", ["X: a\x00b", "X: a\rb", "X: a\nb", "X: a\x7fb", "X Y: 1", "X(: 1", ": 1"])
def test_malformed_fields_are_refused(line: str) -> None:
    """takes no control character in a value and nothing but a token for a name."""
    assert reason(line) == "request_malformed"


def test_a_head_has_a_size() -> None:
    """refuses field lines that are too large together."""
    lines = [f"X-{number}: {'a' * 8000}" for number in range(MAX_HEAD_SIZE // 8000 + 1)]
    assert reason(*lines) == "headers_too_large"


@pytest.mark.parametrize(
    ("target", "raw"),
    [
        ("http://app.example/a?b", "/a?b"),
        ("HTTP://APP.example/a", "/a"),
        ("https://app.example", "/"),
        ("http://app.example?x=1", "/?x=1"),
    ],
)
def test_absolute_form_becomes_origin_form(target: str, raw: str) -> None:
    """takes a target in absolute form when it names the host of Host, and forwards its path."""
    assert read(target=target).target.raw == raw


@pytest.mark.parametrize(
    "target",
    ["http://other.example/", "http://app.example:81/", "http://app.example@evil.example/", "http://user@app.example/"],
)
def test_absolute_form_of_another_host_is_refused(target: str) -> None:
    """refuses a target that names another host than Host."""
    assert reason(target=target) == "host_invalid"


@pytest.mark.parametrize("target", ["*", "ftp://app.example/", "/a#b", "/\x7f"])
def test_other_targets_are_refused(target: str) -> None:
    """takes only paths for targets."""
    method = "OPTIONS" if target == "*" else "GET"
    assert reason(target=target, method=method) == "request_malformed"


@pytest.mark.parametrize("target", ["//a", "/a/../b", "/%2e%2e/a", "/a%2fb", "/a\\b", "/%00", "/%252e%252e/x"])
def test_ambiguous_targets_are_refused(target: str) -> None:
    """refuses a path with more than one reading."""
    assert reason(target=target) == "target_ambiguous"


SHAKE = ("Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize(
    ("method", "lines", "old", "expected"),
    [
        ("GET", SHAKE, False, True),
        ("GET", SHAKE, True, False),
        ("POST", SHAKE, False, False),
        ("GET", SHAKE[1:], False, False),
        ("GET", SHAKE[:2], False, False),
        ("GET", (SHAKE[0], "Upgrade: h2c", SHAKE[2]), False, False),
        ("GET", (SHAKE[0], "Upgrade: websocket, h2c", SHAKE[2]), False, False),
    ],
)
def test_a_websocket_handshake_is_told(method: str, lines: tuple[str, ...], old: bool, expected: bool) -> None:
    """knows a WebSocket handshake by its method, version and three fields."""
    assert is_websocket(method, headers(*lines), http_1_0=old) is expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), False),
        (("Content-Length: 0",), False),
        (("Content-Length: 1",), True),
        (("Transfer-Encoding: chunked",), True),
    ],
)
def test_a_body_is_told_by_the_framing(lines: tuple[str, ...], expected: bool) -> None:
    """knows from the head whether a body follows."""
    assert has_body(headers(*lines)) is expected


def test_the_lenient_parser_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """refuses to start without aiohttp's C parser."""
    require_strict_parser()
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(ConfigError, match="C parser"):
        require_strict_parser()


def incoming(*pieces: bytes, end: bool = True) -> tuple[web.BaseRequest, StreamReader]:
    stream = StreamReader(Mock(_reading_paused=False), 2**16)
    for piece in pieces:
        stream.feed_data(piece)
    if end:
        stream.feed_eof()
    return make_mocked_request("POST", "/", payload=stream), stream


async def test_a_small_body_is_read_whole() -> None:
    """reads a body up to the limit and none beyond it."""
    assert await read_body(incoming(b"ab", b"cd")[0], 4) == b"abcd"
    with pytest.raises(RequestError) as error:
        await read_body(incoming(b"ab", b"cde")[0], 4)
    assert error.value.reason.id == "body_too_large"


async def test_a_body_that_breaks_off_is_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    """waits for a body for a bounded time, and refuses one that ends in a broken chunk."""
    request, stream = incoming(b"ab", end=False)
    stream.set_exception(web.RequestPayloadError("broken"))
    silent, _ = incoming(b"ab", end=False)
    monkeypatch.setattr(intake, "BODY_DEADLINE", 0.01)
    for broken in (request, silent):
        with pytest.raises(RequestError) as error:
            await read_body(broken, 4)
        assert error.value.reason.id == "request_malformed"


def test_a_body_may_be_as_large_as_it_may_be() -> None:
    """refuses a body that announces more than the limit before it has come, and none where there is no limit."""
    fields = CIMultiDict([("Host", "app.example"), ("Content-Length", "11")])
    request = make_mocked_request("POST", "/", headers=fields, version=HttpVersion(1, 1))
    for limit in (0, 11, 12):
        assert read_request(request, limit).method == "POST"
    with pytest.raises(RequestError) as caught:
        read_request(request, 10)
    assert caught.value.reason.id == "body_too_large"
