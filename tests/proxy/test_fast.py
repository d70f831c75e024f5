"""The fast path's trial of aiohttp, and that it is really taken."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
from aiohttp import web

from gateway.proxy.fast import aiohttp_fits
from gateway.proxy.protocol import ClientProtocol, ClientServer
from tests.proxy.test_replay import rested
from tests.support.backends import answers, backend
from tests.support.wire import PATIENCE, gateway, read_answer, request, status_of


async def test_this_aiohttp_fits() -> None:
    """finds the installed aiohttp to be the one it knows, so that the fast path is on where it is measured."""
    async with backend(answers()) as server, gateway(server.url) as front:
        assert front.proxy.fast is not None
        assert isinstance(front.proxy._server, ClientServer)
        assert await front.proxy._server.try_fast_path() == ""


async def test_another_aiohttp_goes_the_ordinary_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """says once that the fast path is off, and serves everything without it, where a private name is missing."""
    monkeypatch.setattr(ClientProtocol, "resting", property(lambda self: self._no_such_name))
    async with backend(answers()) as server, gateway(server.url) as front:
        assert front.proxy.fast is None
        monkeypatch.undo()
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                writer.write(request())
                assert status_of(await read_answer(reader)) == 200
        writer.close()
        assert front.replayed == 0
    assert [record.getMessage().split(",")[0] for record in caplog.records] == ["the fast path is off"]


async def test_an_aiohttp_that_behaves_otherwise_is_noticed() -> None:
    """notices a server protocol that rests while a request is handled, or cannot be made."""

    class Restless(web.RequestHandler):
        resting = True

    def make(server: web.Server) -> Any:
        return Restless(server, loop=asyncio.get_running_loop())

    assert "rest" in await aiohttp_fits(make)

    def fail(server: web.Server) -> Any:
        raise TypeError("no such argument")

    assert "cannot be made" in await aiohttp_fits(fail)


async def test_few_system_calls_a_request() -> None:
    """makes four system calls on its sockets for a request that it replays: one to read and one to write on each."""
    async with backend(answers(b"hello")) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                writer.write(request())
                await read_answer(reader)
                await rested(front)
            (client,) = front.proxy._server.connections  # type: ignore[union-attr]
            # All other sockets of this process belong to the client and to the backend of this test.
            own = {client.transport.get_extra_info("socket").fileno()}  # type: ignore[union-attr]
            backends = {one.writer.get_extra_info("peername")[1] for one in server.conversations}
            calls: list[str] = []

            def count(_: FrameType, event: str, called: Any) -> None:
                wire = getattr(called, "__self__", None)
                if event != "c_call" or not isinstance(wire, socket.socket):
                    return
                if wire.fileno() in own or wire.getsockname()[1] in backends:
                    calls.append(called.__name__)

            sys.setprofile(count)
            try:
                for _ in range(5):
                    writer.write(request())
                    await read_answer(reader)
            finally:
                sys.setprofile(None)
        writer.close()
    assert front.replayed == 6
    assert Counter(calls) == {"recv": 10, "send": 10}
