"""The fast path's trial of aiohttp, and that it is really taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from gateway.proxy.fast import aiohttp_fits, new_request_id
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


async def test_few_system_calls_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """writes once to the backend and once to the client for a replayed request, head and body together."""
    async with backend(answers(b"hello")) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(request())
            await read_answer(reader)
            await rested(front)
            (client,) = front.proxy._server.connections  # type: ignore[union-attr]
            backend_connection = front.upstream._idle[-1]
            writes: list[str] = []
            transports = (("client", client.transport), ("backend", backend_connection._transport))
            for name, transport in transports:
                original = transport.write  # type: ignore[union-attr]

                def counted(data: bytes, name: str = name, original: Any = original) -> None:
                    writes.append(name)
                    original(data)

                monkeypatch.setattr(transport, "write", counted, raising=False)
            for _ in range(3):
                writer.write(request())
                await read_answer(reader)
            assert (writes, front.replayed) == (["backend", "client"] * 3, 3)
        writer.close()


def test_request_ids() -> None:
    """never gives an id twice."""
    assert len({new_request_id() for _ in range(100)}) == 100
    assert len(new_request_id()) == 32
