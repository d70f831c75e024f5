"""The request as a backend gets it: target, Host and prefix, with the fast path on and off."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import pytest

from gateway.policy.rewrite import PathRewrite
from gateway.policy.routes import Auth, Route
from gateway.proxy.upstream import Upstream
from tests.support.backends import Conversation, answers, backend
from tests.support.wire import PATIENCE, gateway, read_answer, request, status_of

ROUTES = (
    Route("stripped", "/app/**", "app", rewrite=PathRewrite("/app")),
    Route("moved", "/old/api/**", "app", Auth.PUBLIC, rewrite=PathRewrite("/old/api", "/v2")),
    Route("added", "/x/**", "app", rewrite=PathRewrite("", "/base")),
    Route("all", "/**", "app"),
)

CASES = [
    ("/app", "/", "/app"),
    ("/app/", "/", "/app"),
    ("/app/a/%2e?b=%2F", None, None),
    ("/app/a/%C3%BC;p=1/?b=%2F&c", "/a/%C3%BC;p=1/?b=%2F&c", "/app"),
    ("/%61pp/a%20b", "/a%20b", "/app"),
    ("/apple", "/apple", None),
    ("/old/api", "/v2/", "/old/api"),
    ("/old/api/app/x", "/v2/app/x", "/old/api"),
    ("/x/y?z", "/base/x/y?z", None),
    ("/other", "/other", None),
]


def lines_of(head: bytes) -> list[str]:
    return head.decode("latin-1").split("\r\n")


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "ordinary"])
@pytest.mark.parametrize(("target", "seen", "prefix"), CASES)
async def test_paths_are_rewritten(target: str, seen: str | None, prefix: str | None, fast_path: bool) -> None:
    """asks the backend for the rewritten target, tells it what was taken off, and believes no client about that."""
    heads: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        while True:
            heads.append(await conversation.head())
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with backend(script) as server, gateway(server.url, routes=ROUTES, fast_path=fast_path) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                writer.write(request(f"GET {target} HTTP/1.1", "X-Forwarded-Prefix: /evil"))
                assert status_of(await read_answer(reader)) == (200 if seen is not None else 400)
                if seen is None:
                    break
        writer.close()
        if seen is not None:
            assert front.replayed == int(fast_path)
    if seen is None:
        assert not heads
        return
    first, second = (lines_of(head) for head in heads)
    assert first[0] == second[0] == f"GET {seen} HTTP/1.1"
    told = [line for line in first if line.lower().startswith("x-forwarded-prefix")]
    assert told == ([f"X-Forwarded-Prefix: {prefix}"] if prefix is not None else [])
    assert [line for line in first if not line.startswith("X-Request-Id")] == [
        line for line in second if not line.startswith("X-Request-Id")
    ]


async def test_rules_see_the_path_that_was_asked_for() -> None:
    """judges the client's path and never the rewritten one."""
    async with backend(answers()) as server, gateway(server.url, routes=ROUTES) as front:
        assert status_of(await front.speak(request("GET /old/api/x HTTP/1.1", token=None))) == 200
        assert status_of(await front.speak(request("GET /v2/x HTTP/1.1", token=None))) == 401
        assert status_of(await front.speak(request("GET /old/api/../x HTTP/1.1", token=None))) == 400
    assert server.received.count(b"GET ") == 1


async def test_uploads_are_rewritten_too() -> None:
    """rewrites the path of every method."""
    async with backend(answers()) as server, gateway(server.url, routes=ROUTES) as front:
        for _ in range(2):
            assert status_of(await front.speak(request("POST /app/in HTTP/1.1", body=b"data"))) == 200
    assert server.received.count(b"POST /in HTTP/1.1\r\n") == 2


async def test_a_websocket_is_rewritten_too() -> None:
    """rewrites the path and the Host of a WebSocket's handshake."""
    key = base64.b64encode(b"0123456789abcdef")
    accept = base64.b64encode(
        hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    )
    heads: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        heads.append(await conversation.head())
        await conversation.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        await conversation.to_end()

    async with backend(script) as server:
        upstream = Upstream("app", [server.url], host="ws.internal")
        async with gateway(upstream=upstream, routes=ROUTES) as front:
            reader, writer = await front.connect()
            writer.write(
                request(
                    "GET /app/live?a=b HTTP/1.1",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    "Sec-WebSocket-Version: 13",
                    f"Sec-WebSocket-Key: {key.decode()}",
                )
            )
            async with asyncio.timeout(PATIENCE):
                assert status_of(await read_answer(reader)) == 101
            writer.close()
    lines = lines_of(heads[0])
    assert lines[0] == "GET /live?a=b HTTP/1.1"
    assert "Host: ws.internal" in lines
    assert "X-Forwarded-Prefix: /app" in lines
