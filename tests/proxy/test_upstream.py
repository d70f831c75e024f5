"""A backend with several addresses: who gets a request, who is left out, and how connections are made."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy import pool as module
from gateway.proxy import upstream as upstream_module
from gateway.proxy.address import BackendTls
from gateway.proxy.upstream import Timeouts, Upstream
from tests.support.authority import Authority
from tests.support.backends import Backend, Conversation, Script, answers, backend
from tests.support.wire import PATIENCE, body_of, eventually, gateway, request, status_of

DEAD = "http://127.0.0.1:1"


async def idle(conversation: Conversation) -> None:
    await conversation.to_end()


@asynccontextmanager
async def backends(*scripts: Script) -> AsyncIterator[list[Backend]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(backend(script)) for script in scripts]


def test_a_backend_has_an_address() -> None:
    """refuses a backend without any, and one whose address cannot be used."""
    with pytest.raises(ConfigError, match="no address"):
        Upstream("app", [])
    with pytest.raises(ConfigError, match="upstream app"):
        Upstream("app", ["http://169.254.169.254"])


async def test_the_next_address_is_tried() -> None:
    """goes on to the next address when connecting fails, and leaves the dead one alone from then on."""
    async with backend(idle) as server:
        upstream = Upstream("app", [DEAD, server.url])
        for _ in range(3):
            connection = await upstream.acquire(repeatable=False, fresh=True)
            connection.close()
        dead, alive = upstream.standings()
        assert (dead.healthy, dead.faults, alive.healthy, alive.faults) == (False, 1, True, 0)
        assert dead.why == "Connection refused"


async def test_a_lack_of_files_is_no_fault_of_the_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """waits for a file where the process has none left, and does not blame the backend for it."""
    async with backend(idle) as server:
        upstream = Upstream("app", [server.url])
        monkeypatch.setattr(upstream_module, "FILES_PAUSE", 0.0)
        loop = asyncio.get_running_loop()
        connect, lacks = loop.create_connection, iter((errno.EMFILE, errno.ENFILE))

        async def create_connection(*words: Any, **options: Any) -> Any:
            if (lack := next(lacks, None)) is not None:
                raise OSError(lack, "no file")
            return await connect(*words, **options)

        monkeypatch.setattr(loop, "create_connection", create_connection)
        connection = await upstream.acquire(repeatable=False, fresh=True)
        connection.close()
        assert [standing.faults for standing in upstream.standings()] == [0]
        assert next(lacks, None) is None


async def test_no_address_at_all_is_said_so() -> None:
    """says that no address takes a connection, and tries all of them each time."""
    upstream = Upstream("app", [DEAD, "http://127.0.0.1:2"])
    for tries in (1, 2):
        with pytest.raises(UpstreamUnreachable):
            await upstream.acquire(repeatable=True)
        assert [standing.faults for standing in upstream.standings()] == [tries, tries]


async def test_an_address_that_came_back_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """gives an address another chance when its pause is over, and forgives it after a whole answer."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    async with backend(answers()) as other, gateway(f"http://127.0.0.1:{port}", other.url) as front:
        assert status_of(await front.speak(request())) == 200
        assert [standing.healthy for standing in front.upstream.standings()] == [False, True]
        back = await asyncio.start_server(_answer, "127.0.0.1", port)
        async with asyncio.timeout(PATIENCE):
            while body_of(await front.speak(request())) != b"back":
                pass
        assert [standing.healthy for standing in front.upstream.standings()] == [True, True]
        back.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nback")
    writer.close()


async def test_connecting_has_a_deadline() -> None:
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


async def test_requests_go_where_fewest_are_under_way() -> None:
    """spreads requests over addresses by what each has to do, and lets equals take turns."""
    async with backends(idle, idle, idle) as servers:
        upstream = Upstream("app", [server.url for server in servers])
        first = [await upstream.acquire(repeatable=True) for _ in range(6)]
        assert [standing.busy for standing in upstream.standings()] == [2, 2, 2]
        for connection in first[:3]:
            upstream.release(connection)
        upstream.release(first[3])  # the first address has none left, the others one each
        assert first[3].pool is first[0].pool
        assert (await upstream.acquire(repeatable=True)).pool is first[0].pool
        assert [standing.busy for standing in upstream.standings()] == [1, 1, 1]
        for connection in first:
            connection.close()
        await upstream.close()


async def test_one_after_the_other_takes_turns() -> None:
    """gives each address its share of a quiet time, over kept connections."""
    async with backends(answers(), answers(), answers()) as servers:
        async with gateway(*(server.url for server in servers)) as front:
            for _ in range(9):
                assert status_of(await front.speak(request())) == 200
        share = Counter(server.url for server in servers for _ in range(server.received.count(b"GET ")))
        assert sorted(share.values()) == [3, 3, 3]
        assert [len(server.conversations) for server in servers] == [1, 1, 1]


async def test_the_fast_path_takes_turns_too() -> None:
    """spreads replayed requests of one client connection over all addresses."""
    async with backends(answers(), answers()) as servers:
        async with gateway(*(server.url for server in servers)) as front:
            reader, writer = await front.connect()
            async with asyncio.timeout(PATIENCE):
                for _ in range(20):
                    writer.write(request())
                    await reader.readuntil(b"\r\n\r\nok")
            writer.close()
            assert front.replayed >= 16
        assert [server.received.count(b"GET ") for server in servers] == [10, 10]
        assert [len(server.conversations) for server in servers] == [1, 1]


async def test_broken_answers_in_a_row_take_an_address_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """leaves an address alone that answers nonsense, while another is well."""

    async def nonsense(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(b"nonsense\r\n\r\n")

    monkeypatch.setattr(module, "FIRST_PAUSE", 60.0)
    async with backends(nonsense, answers()) as (bad, good), gateway(bad.url, good.url) as front:
        found = [status_of(await front.speak(request("POST / HTTP/1.1"))) for _ in range(12)]
        assert found.count(502) == module.FAULTS_ALLOWED
        assert len(bad.conversations) == module.FAULTS_ALLOWED
        assert front.upstream.standings()[0].why == "the answer's status line is malformed"


async def test_error_statuses_are_answers() -> None:
    """takes no address out for saying 500: an application's error is not a server's."""
    async with backend(answers(status=b"500 Oops")) as server, gateway(server.url, DEAD) as front:
        for _ in range(6):
            assert status_of(await front.speak(request())) == 500
        assert front.upstream.standings()[0].faults == 0


async def test_when_none_is_well_all_are_tried() -> None:
    """never leaves all addresses alone: with the last one out, each is tried again."""
    async with backends(idle, idle) as servers:
        upstream = Upstream("app", [server.url for server in servers])
        for pool in upstream._pools:
            pool.fault(asyncio.get_running_loop().time(), "test", weight=module.FAULTS_ALLOWED)
            pool.sound = False
        assert not any(standing.healthy for standing in upstream.standings())
        connections = [await upstream.acquire(repeatable=True) for _ in range(2)]
        assert {connection.pool for connection in connections} == set(upstream._pools)
        for connection in connections:
            connection.close()


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


async def test_a_closed_pool_keeps_nothing() -> None:
    """closes idle connections when it is closed, and later ones when they are given back."""
    async with backend(idle) as server:
        upstream = Upstream("app", [server.url])
        early, late = await upstream.acquire(repeatable=True), await upstream.acquire(repeatable=True)
        upstream.release(early)
        await upstream.close()
        assert not early.usable
        upstream.release(late)
        assert not late.usable


# ---- how connections are made ----


@asynccontextmanager
async def secure_backend(context: ssl.SSLContext) -> AsyncIterator[str]:
    """A server behind TLS that answers with the name of its client's certificate."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                peer = writer.get_extra_info("peercert") or {}
                name = dict(pair[0] for pair in peer.get("subject", ())).get("commonName", "nobody").encode()
                body = name + b" " + head.split(b"\r\nHost: ")[1].split(b"\r\n")[0]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_backend_proves_who_it_is(tmp_path: Path) -> None:
    """speaks to a backend whose certificate its authority signed, and to no other."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    async with secure_backend(authority.issue("127.0.0.1").server()) as url:
        for file, status in ((authority.file, 200), (stranger.file, 502)):
            upstream = Upstream("app", [url], tls=BackendTls(authorities=file))
            async with gateway(upstream=upstream) as front:
                assert status_of(await front.speak(request())) == status
        async with gateway(url) as front:  # the system's authorities know nothing of it
            assert status_of(await front.speak(request())) == 502
            assert "certificate verify failed" in front.upstream.standings()[0].why
        async with gateway(upstream=Upstream("app", [url], tls=BackendTls(verify=False))) as front:
            assert status_of(await front.speak(request())) == 200


async def test_the_name_in_the_certificate_counts(tmp_path: Path) -> None:
    """wants the address's host in the certificate, or the name that it was told instead."""
    authority = Authority(tmp_path)
    async with secure_backend(authority.issue("app.internal").server()) as url:
        for name, status in (("", 502), ("app.internal", 200), ("other.internal", 502)):
            tls = BackendTls(authorities=authority.file, server_name=name)
            async with gateway(upstream=Upstream("app", [url], tls=tls)) as front:
                assert status_of(await front.speak(request())) == status


async def test_the_gateway_proves_who_it_is(tmp_path: Path) -> None:
    """shows its own certificate to a backend that wants one, over connections that are kept."""
    authority = Authority(tmp_path)
    papers, server = authority.issue("gateway.internal"), authority.issue("127.0.0.1")
    async with secure_backend(server.server(clients=authority.file)) as url:
        tls = BackendTls(authority.file, papers.certificate, papers.key)
        async with gateway(upstream=Upstream("app", [url], tls=tls)) as front:
            for _ in range(3):
                assert body_of(await front.speak(request())) == b"gateway.internal app.example"
            assert [(found.idle, found.busy) for found in front.upstream.standings()] == [(1, 0)]
        async with gateway(upstream=Upstream("app", [url], tls=BackendTls(authority.file))) as front:
            assert status_of(await front.speak(request())) == 502


def test_not_checking_is_for_this_machine() -> None:
    """refuses not to look at the certificate of a server elsewhere, and papers without an https address."""
    with pytest.raises(ConfigError, match="this machine only"):
        Upstream("app", ["https://10.0.0.1"], tls=BackendTls(verify=False))
    with pytest.raises(ConfigError, match="without an https address"):
        Upstream("app", ["http://127.0.0.1"], tls=BackendTls())


async def test_a_backend_behind_a_unix_socket(tmp_path: Path) -> None:
    """forwards to a unix socket, over connections that are kept."""
    running = Backend(answers(b"local"))
    server = await asyncio.start_unix_server(running._serve, tmp_path / "app.sock")
    async with gateway(f"unix:{tmp_path}/app.sock") as front:
        for _ in range(3):
            assert body_of(await front.speak(request())) == b"local"
    server.close()
    assert len(running.conversations) == 1
    async with gateway(f"unix:{tmp_path}/none.sock") as front:
        assert status_of(await front.speak(request())) == 502


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize(("host", "seen"), [("keep", "app.example"), ("replace", ""), ("other.example:81", None)])
async def test_the_backend_sees_the_host_that_it_should(host: str, seen: str | None, fast_path: bool) -> None:
    """keeps the client's Host, replaces it by the address or by a fixed name, and tells the client's beside it."""
    async with backend(answers()) as server:
        upstream = Upstream("app", [server.url], host=host)
        expected = host if seen is None else seen or server.url.removeprefix("http://")
        async with gateway(upstream=upstream, fast_path=fast_path) as front:
            reader, writer = await front.connect()
            async with asyncio.timeout(PATIENCE):
                for _ in range(3):
                    writer.write(request())
                    await reader.readuntil(b"\r\n\r\nok")
            writer.close()
            assert front.replayed == (2 if fast_path else 0)
        heads = bytes(server.received).split(b"\r\n\r\n")[:3]
        for head in heads:
            lines = head.decode().split("\r\n")
            assert [line for line in lines if line.startswith("Host:")] == [f"Host: {expected}"]
            assert "X-Forwarded-Host: app.example" in lines


async def test_a_probe_asks_every_address() -> None:
    """tells what each address says when it is asked once."""
    async with backend(answers(status=b"404 Not Found")) as server:
        upstream = Upstream("app", [server.url, DEAD])
        found = await upstream.probe(1.0)
        assert found[server.url] == 404
        assert isinstance(found[DEAD], ConnectionRefusedError)
        assert server.received.startswith(b"HEAD / HTTP/1.1\r\n")
