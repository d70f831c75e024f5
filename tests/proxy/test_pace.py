"""The rate floor: what hardly moves is ended, what waits for others is not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.proxy.pace import Floor, Outflow, pending, reset
from tests.support.wire import PATIENCE, eventually

WINDOW = 0.2
RATE = 1_000
LEAST = int(WINDOW * RATE)


class Moving:
    """A transfer of which a test says how far it is."""

    def __init__(self) -> None:
        self.total: int | None = 0
        self.asked = 0
        self.slow = asyncio.Event()
        self.on_ask: Callable[[], None] = lambda: None

    def moved(self) -> int | None:
        self.asked += 1
        self.on_ask()
        return self.total


async def test_what_does_not_move_is_ended_once() -> None:
    """ends a transfer of which too little moves in a window, and is then done with it."""
    floor, still = Floor(RATE, WINDOW), Moving()
    floor.watch("a", still.moved, still.slow.set)
    floor.watch("a", still.moved, lambda: pytest.fail("watched twice"))
    assert len(floor) == 1
    await asyncio.wait_for(still.slow.wait(), PATIENCE)
    assert len(floor) == 0


async def test_a_fast_beginning_does_not_buy_time() -> None:
    """counts each window anew, however much moved before."""
    floor, moving = Floor(RATE, WINDOW), Moving()
    moving.total = 1_000_000
    floor.watch("a", moving.moved, moving.slow.set)
    await asyncio.wait_for(moving.slow.wait(), PATIENCE)
    assert moving.asked == 8


async def test_what_moves_goes_on() -> None:
    """lets a transfer be that moves just fast enough, for as long as it takes."""
    floor, moving = Floor(RATE, WINDOW), Moving()

    def move() -> None:
        assert moving.total is not None
        moving.total += LEAST // 4

    moving.on_ask = move
    floor.watch("a", moving.moved, lambda: pytest.fail("fast enough"))
    await eventually(lambda: moving.asked >= 20)
    floor.close()
    assert len(floor) == 0


async def test_waiting_for_somebody_else_does_not_count() -> None:
    """counts no time in which the client is not who is waited for."""
    floor, moving = Floor(RATE, WINDOW), Moving()
    moving.total = None
    floor.watch("a", moving.moved, moving.slow.set)
    await eventually(lambda: moving.asked >= 12)
    assert not moving.slow.is_set()
    moving.total = 0
    await asyncio.wait_for(moving.slow.wait(), PATIENCE)
    assert moving.asked >= 16


async def test_nothing_is_looked_at_for_nothing() -> None:
    """keeps no timer where nothing is watched, and watches nothing where there is no floor."""
    none, moving = Floor(0, WINDOW), Moving()
    none.watch("a", moving.moved, moving.slow.set)
    assert len(none) == 0
    floor = Floor(RATE, WINDOW)
    floor.watch("a", moving.moved, moving.slow.set)
    floor.forget("a")
    floor.forget("never watched")
    await eventually(lambda: floor._timer is None)
    assert (moving.asked, moving.slow.is_set()) == (0, False)


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """A transport with small buffers and the plain socket at its other end, which nobody reads."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    client = socket.create_connection(listener.getsockname())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
    other, _ = listener.accept()
    listener.close()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=client)
    try:
        yield transport, other
    finally:
        transport.abort()
        other.close()


async def test_what_the_kernel_holds_is_not_taken() -> None:
    """knows what a client has taken although the kernel holds the rest of it."""
    async with pair() as (transport, other):
        transport.write(b"x" * 1_000_000)
        before = pending(transport)
        # What the other end's kernel has acknowledged is no longer ours to wait for.
        assert transport.get_write_buffer_size() < before <= 1_000_000
        outflow = Outflow(transport)
        assert outflow.moved() <= 1_000_000
        loop = asyncio.get_running_loop()
        other.setblocking(False)
        taken = 0
        async with asyncio.timeout(PATIENCE):
            while taken < 500_000:
                taken += len(await loop.sock_recv(other, 65_536))
        moved = outflow.moved()
        assert moved > 300_000
        transport.write(b"y" * 100_000)
        assert outflow.moved() >= moved


async def test_a_reset_is_seen() -> None:
    """ends a connection so that its client cannot take what came for all of it."""
    async with pair() as (transport, other):
        transport.write(b"x" * 1_000_000)
        reset(transport)
        other.setblocking(False)

        async def to_end() -> None:
            while await asyncio.get_running_loop().sock_recv(other, 65_536):
                pass

        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(to_end(), PATIENCE)
