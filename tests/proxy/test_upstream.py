"""Addresses of a backend and the pool of its connections."""

from __future__ import annotations

import socket

import pytest

from gateway.errors import ConfigError, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy import upstream as module
from gateway.proxy.upstream import Address, Timeouts, Upstream
from tests.support.backends import Conversation, backend
from tests.support.wire import eventually

DEAD = "http://127.0.0.1:1"


async def idle(conversation: Conversation) -> None:
    await conversation.to_end()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:3000", Address("127.0.0.1", 3000, False)),
        ("http://app", Address("app", 80, False)),
        ("https://app/", Address("app", 443, True)),
        ("http://[::1]:8080", Address("::1", 8080, False)),
    ],
)
def test_an_address_is_scheme_host_and_port(url: str, address: Address) -> None:
    """reads http and https addresses with their usual ports."""
    assert Address.parse(url, "x") == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app:3000",
        "ftp://app",
        "http://",
        "http://app:port",
        "http://app:99999",
        "http://app/base",
        "http://app?x=1",
        "http://user:secret@app",
        "http://169.254.169.254",
        "http://[fe80::1]",
        "http://metadata.google.internal",
        "http://METADATA.google.internal.",
    ],
)
def test_other_addresses_are_refused_at_start(url: str) -> None:
    """refuses what is no plain address, and metadata services of clouds, without repeating a password."""
    with pytest.raises(ConfigError) as caught:
        Upstream("app", [url])
    assert "secret" not in str(caught.value)


def test_a_backend_has_an_address() -> None:
    """refuses a backend without any."""
    with pytest.raises(ConfigError, match="no address"):
        Upstream("app", [])


async def test_the_next_address_is_tried() -> None:
    """goes on to the next address when connecting fails, and begins with the good one from then on."""
    async with backend(idle) as server:
        upstream = Upstream("app", [DEAD, server.url])
        for _ in range(2):
            connection = await upstream.acquire(repeatable=False)
            connection.close()
        assert upstream._last_good == 1


async def test_no_address_at_all_is_said_so() -> None:
    """says that no address takes a connection."""
    with pytest.raises(UpstreamUnreachable):
        await Upstream("app", [DEAD, DEAD]).acquire(repeatable=True)


async def test_connecting_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """gives up connecting to a host that never answers."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = []
        for _ in range(4):  # the kernel takes one or two more than it was told
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        with pytest.raises(UpstreamTimeout):
            await Upstream("app", [f"http://127.0.0.1:{address[1]}"], Timeouts(connect=0.1)).acquire(repeatable=True)
        for filler in fillers:
            filler.close()


async def test_the_last_connection_used_is_used_first() -> None:
    """takes the most recently used connection, so that idle ones can grow old."""
    async with backend(idle) as server:
        upstream = Upstream("app", [server.url])
        first, second = await upstream.acquire(repeatable=True), await upstream.acquire(repeatable=True)
        upstream.release(first)
        upstream.release(second)
        assert await upstream.acquire(repeatable=True) is second
        assert await upstream.acquire(repeatable=True) is first
        assert await upstream.acquire(repeatable=True, fresh=True) not in {first, second}
        await upstream.close()
        first.close()
        second.close()


async def test_a_dead_connection_is_not_handed_out() -> None:
    """drops a pooled connection that the upstream closed meanwhile."""
    async with backend(idle) as server:
        upstream = Upstream("app", [server.url])
        connection = await upstream.acquire(repeatable=True)
        upstream.release(connection)
        await eventually(lambda: bool(server.conversations))
        server.conversations[0].writer.close()
        await eventually(lambda: not connection.usable)
        replacement = await upstream.acquire(repeatable=True)
        assert replacement is not connection
        replacement.close()


async def test_an_old_connection_is_not_trusted_with_a_post(monkeypatch: pytest.MonkeyPatch) -> None:
    """sends what must not be repeated only over a connection that was used a moment ago, or a new one."""
    async with backend(idle) as server:
        upstream = Upstream("app", [server.url])
        connection = await upstream.acquire(repeatable=True)
        upstream.release(connection)
        monkeypatch.setattr(module, "FRESH_ENOUGH", -1.0)
        other = await upstream.acquire(repeatable=False)
        assert other is not connection
        assert await upstream.acquire(repeatable=True) is connection
        upstream.release(connection)
        monkeypatch.setattr(module, "MAX_IDLE_TIME", -1.0)
        assert await upstream.acquire(repeatable=True) is not connection
        assert not connection.usable
        other.close()
        await upstream.close()


async def test_the_pool_is_bounded_and_closes() -> None:
    """keeps a limited number of idle connections and none once it is closed."""
    async with backend(idle) as server:
        upstream = Upstream("app", [server.url])
        connections = [await upstream.acquire(repeatable=True) for _ in range(module.MAX_IDLE + 1)]
        for connection in connections:
            upstream.release(connection)
        assert sum(connection.usable for connection in connections) == module.MAX_IDLE
        await upstream.close()
        assert not any(connection.usable for connection in connections)
        late = await upstream.acquire(repeatable=True)
        upstream.release(late)
        assert not late.usable
