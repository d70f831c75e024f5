"""The client's side of a connection: the head's deadline, the parser's errors, failures inside."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import http_exceptions

from gateway import reasons
from gateway.proxy.limits import MAX_FIELD, MAX_REQUEST_LINE
from gateway.proxy.protocol import parser_reason
from gateway.reasons import Reason
from tests.support.backends import answers, backend
from tests.support.wire import PATIENCE, body_of, gateway, read_answer, request, status_of

DEADLINE = 0.3


@pytest.mark.parametrize("start", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_a_slow_head_is_dropped(start: bytes) -> None:
    """closes a connection whose head is not there in time, whether a byte of it came or none."""
    async with gateway("http://127.0.0.1:1", head_deadline=DEADLINE) as front:
        reader, writer = await front.connect()
        began = time.monotonic()
        writer.write(start)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        assert DEADLINE * 0.9 <= time.monotonic() - began < PATIENCE
        writer.close()


async def test_dripping_does_not_extend_the_deadline() -> None:
    """counts the deadline from the first byte, however many follow."""
    async with gateway("http://127.0.0.1:1", head_deadline=DEADLINE) as front:
        reader, writer = await front.connect()

        async def drip() -> None:
            while True:
                writer.write(b"X")
                await asyncio.sleep(0.02)

        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX-Drip: ")
        dripping = asyncio.create_task(drip())
        began = time.monotonic()
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        assert time.monotonic() - began < PATIENCE
        dripping.cancel()
        writer.close()


async def test_a_kept_connection_may_rest_but_not_dawdle() -> None:
    """lets a kept connection be idle longer than the deadline, and counts again from the next head's first byte."""
    async with backend(answers()) as server, gateway(server.url, head_deadline=DEADLINE) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                writer.write(request())
                assert status_of(await read_answer(reader)) == 200
                await asyncio.sleep(DEADLINE * 1.5)
            began = time.monotonic()
            writer.write(b"GET / HT")
            assert await reader.read() == b""
            assert time.monotonic() - began < PATIENCE
        writer.close()


async def test_a_long_body_is_not_held_to_the_heads_deadline() -> None:
    """gives a body all the time it needs as long as it moves."""
    async with backend(answers()) as server, gateway(server.url, head_deadline=DEADLINE) as front:
        reader, writer = await front.connect()
        writer.write(request("POST /u HTTP/1.1", "Content-Length: 2") + b"a")
        await asyncio.sleep(DEADLINE * 1.5)
        writer.write(b"b")
        async with asyncio.timeout(PATIENCE):
            assert status_of(await read_answer(reader)) == 200
        writer.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (http_exceptions.LineTooLong(b"GET", MAX_REQUEST_LINE), reasons.TARGET_TOO_LONG),
        (http_exceptions.LineTooLong(b"X", MAX_FIELD), reasons.HEADERS_TOO_LARGE),
        (http_exceptions.BadHttpMessage("Too many headers received"), reasons.HEADERS_TOO_LARGE),
        (http_exceptions.BadHttpMessage("Duplicate 'Host' header found."), reasons.HOST_INVALID),
        (http_exceptions.BadHttpMessage("Missing 'Host' header in request."), reasons.HOST_INVALID),
        (http_exceptions.BadStatusLine("x"), reasons.REQUEST_MALFORMED),
        (http_exceptions.InvalidHeader(b"x"), reasons.REQUEST_MALFORMED),
        (None, reasons.REQUEST_MALFORMED),
    ],
)
def test_every_parser_error_has_a_reason(error: Exception | None, reason: Reason) -> None:
    """gives each of the parser's errors a reason of its own table."""
    assert parser_reason(error) is reason


async def test_a_failure_inside_is_a_500_that_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """answers an unexpected failure with a plain 500, keeps its cause for the log, and serves on."""
    async with backend(answers()) as server, gateway(server.url) as front:

        async def fail(*_: object) -> None:
            raise RuntimeError("inner secret")

        def fail_at_once(*_: object) -> None:
            raise RuntimeError("inner secret")

        with monkeypatch.context() as patched:
            patched.setattr(front.proxy.guard, "judge", fail)
            patched.setattr(front.proxy.guard, "judge_at_once", fail_at_once)
            answer = await front.speak(request())
        assert status_of(answer) == 500
        assert b"inner secret" not in answer
        assert b'"internal"' in body_of(answer)
        assert "inner secret" in caplog.text
        assert status_of(await front.speak(request())) == 200
