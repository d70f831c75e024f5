"""The gateway's own answers, byte by byte."""

from __future__ import annotations

import pytest

from tests.support.wire import body_of, gateway, head_of, request

NOWHERE = "http://127.0.0.1:1"


@pytest.mark.parametrize("version", ["1.0", "1.1", "2.0", "0.9"])
async def test_answers_are_in_the_gateways_own_version(version: str) -> None:
    """answers in HTTP/1.1 whatever version a request named."""
    async with gateway(NOWHERE) as front:
        answer = await front.speak(request(f"GET /x HTTP/{version}", token=None), until_close=version != "1.1")
    assert answer.startswith(b"HTTP/1.1 4")
    assert {"date", "server", "content-length"} <= head_of(answer).keys()


@pytest.mark.parametrize(
    ("line", "field", "connection"),
    [
        ("GET /x HTTP/1.1", "X: y", None),
        ("GET /x HTTP/1.1", "Connection: close", "close"),
        ("GET /x HTTP/1.0", "X: y", "close"),
        ("GET /x HTTP/1.0", "Connection: keep-alive", "keep-alive"),
    ],
)
async def test_the_connections_fate_is_told(line: str, field: str, connection: str | None) -> None:
    """says whether the connection lives on wherever the version does not say so already."""
    async with gateway(NOWHERE) as front:
        answer = await front.speak(request(line, field, token=None))
    assert head_of(answer).get("connection") == connection


async def test_head_gets_no_body() -> None:
    """announces the body to HEAD and leaves it out."""
    async with gateway(NOWHERE) as front:
        answer = await front.speak(request("HEAD /x HTTP/1.1", "Connection: close", token=None), until_close=True)
    assert int(head_of(answer)["content-length"]) > 0
    assert body_of(answer) == b""
