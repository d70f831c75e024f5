"""Who gets in, and what the others are told."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
from typing import Any

import pytest

from gateway import reasons
from gateway.proxy import admission as module
from gateway.proxy.admission import MAX_TURNED_AWAY, Admission
from gateway.proxy.limits import Limits
from gateway.reasons import Reason
from tests.support.wire import PATIENCE, eventually, gateway, head_of, read_answer, request, status_of


def admission(connections: int = 4, per_peer: int = 2, exempt: tuple[str, ...] = ()) -> Admission:
    def answer(reason: Reason, request_id: str) -> bytes:
        return f"{reason.id} {request_id}".encode()

    return Admission(
        Limits(connections=connections, per_peer=per_peer),
        exempt=lambda peer: peer in exempt,
        on_dropped=lambda reason, peer: f"{reason.status} {peer}",
        answer=answer,
    )


def test_connections_are_counted() -> None:
    """lets in as many as there may be in all and of one peer, and one more for each that leaves."""
    door = admission()
    assert [door.enter(peer) for peer in ("192.0.2.1", "192.0.2.1")] == [None, None]
    assert door.enter("192.0.2.1") is reasons.TOO_MANY_PEER_CONNECTIONS
    assert [door.enter(peer) for peer in ("192.0.2.2", "192.0.2.3")] == [None, None]
    assert door.enter("192.0.2.4") is reasons.TOO_MANY_CONNECTIONS
    assert door.open == 4
    door.leave("192.0.2.1")
    assert door.enter("192.0.2.1") is None
    for peer in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"):
        door.leave(peer)
    assert (door.open, door._peers) == (0, {})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("not:an:address", "not:an:address", True),
    ],
)
def test_a_peer_is_a_link(one: str, other: str, same: bool) -> None:
    """takes all addresses of an IPv6 /64 for one peer, and IPv4 in IPv6 for IPv4."""
    door = admission(per_peer=1)
    assert door.enter(one) is None
    assert (door.enter(other) is not None) is same


def test_trusted_proxies_and_unix_sockets_are_many() -> None:
    """holds trusted proxies, and whoever has no address, to the bound for all only."""
    door = admission(per_peer=1, exempt=("192.0.2.1",))
    assert [door.enter(peer) for peer in ("192.0.2.1", "192.0.2.1", "", "")] == [None] * 4
    assert door.enter("192.0.2.1") is reasons.TOO_MANY_CONNECTIONS
    door.leave("192.0.2.1")
    door.leave("")
    assert door.open == 2


async def test_above_the_bound_there_is_a_small_503() -> None:
    """answers the connection above the bound with a 503 and closes it, serves the others, and lets the next one in."""
    async with gateway("http://127.0.0.1:1", limits=Limits(connections=2, per_peer=2)) as front:
        kept = [await front.connect() for _ in range(2)]
        answer = await front.speak(request("POST /x HTTP/1.1", body=b"x" * 1_000), until_close=True)
        assert status_of(answer) == 503
        assert len(answer) < 1_000
        assert head_of(answer)["connection"] == "close"
        assert head_of(answer)["retry-after"]
        assert b'"too_many_connections"' in answer
        assert front.audit.reasons == ["too_many_connections"]
        for reader, writer in kept:
            writer.write(request("GET /.gateway/assets/app.css HTTP/1.1", token=None))
            assert status_of(await asyncio.wait_for(read_answer(reader), PATIENCE)) == 200
        kept[0][1].close()
        await kept[0][1].wait_closed()
        await eventually(lambda: front.proxy.bounds.admission.open == 1)
        assert status_of(await front.speak(request("GET /.gateway/assets/app.css HTTP/1.1", token=None))) == 200
        kept[1][1].close()


async def test_one_peer_does_not_get_everything() -> None:
    """turns a peer away that has its share, whatever is free."""
    async with gateway("http://127.0.0.1:1", limits=Limits(connections=10, per_peer=1)) as front:
        _, writer = await front.connect()
        answer = await front.speak(request(), until_close=True)
        assert b'"too_many_peer_connections"' in answer
        writer.close()


async def test_behind_a_proxy_header_the_client_is_the_peer() -> None:
    """counts the client that a PROXY header announces, not the trusted proxy, and turns it away by its share."""
    limits = Limits(connections=10, per_peer=1)
    loopback = ipaddress.ip_network("127.0.0.0/8")
    asset = request("GET /.gateway/assets/app.css HTTP/1.1", token=None)
    async with gateway("http://127.0.0.1:1", limits=limits, trusted=[loopback], proxy_protocol=True) as front:
        kept = []
        for client, status in (("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.1", 503)):
            reader, writer = await front.connect()
            writer.write(f"PROXY TCP4 {client} 192.0.2.9 1 80\r\n".encode() + asset)
            answer = await asyncio.wait_for(read_answer(reader), PATIENCE)
            assert status_of(answer) == status
            kept.append(writer)
        event = front.audit.events[-1]
        assert (event.decision.reason.id, event.client) == ("too_many_peer_connections", "192.0.2.1")
        for writer in kept:
            writer.close()
        await eventually(lambda: front.proxy.bounds.admission.open == 0)
        assert front.proxy.bounds.admission._peers == {}


async def test_a_crowd_is_reset(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """answers a few of a crowd at a time and resets the others, says so once, and closes on whoever stays mute."""
    monkeypatch.setattr(module, "TURN_AWAY_TIME", 0.3)
    async with gateway("http://127.0.0.1:1", limits=Limits(connections=1, per_peer=1)) as front:
        first = await front.connect()
        crowd = [await front.connect() for _ in range(MAX_TURNED_AWAY + 5)]

        async def end(reader: asyncio.StreamReader) -> str:
            try:
                return "answered" if await reader.read() else "closed"
            except ConnectionResetError:
                return "reset"

        async with asyncio.timeout(PATIENCE):
            ends = await asyncio.gather(*(end(reader) for reader, _ in crowd))
        assert ends.count("answered") == 0
        assert ends.count("reset") >= 5
        assert len(front.proxy.bounds.admission._turned_away) == 0
        for _, writer in (first, *crowd):
            writer.close()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_no_file_left_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """says once that no connection can be accepted, counts it, and leaves other errors to whoever took them before."""
    loop = asyncio.get_running_loop()
    seen: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: seen.append(context))
    door = admission()
    door.watch(loop)
    lack = {"message": "socket.accept() out of system resource", "exception": OSError(errno.EMFILE, "Too many files")}
    for _ in range(100):
        loop.call_exception_handler(lack)
    loop.call_exception_handler({"message": "something else"})
    loop.set_exception_handler(None)
    assert door.exhausted == 100
    assert [context["message"] for context in seen] == ["something else"]
    assert [record.getMessage() for record in caplog.records] == [
        "no connection can be accepted for now: Too many files"
    ]


async def test_other_errors_are_logged_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    """leaves errors that are not its own to the loop."""
    loop = asyncio.get_running_loop()
    admission().watch(loop)
    loop.call_exception_handler({"message": "something else", "exception": OSError(errno.EPIPE, "broken")})
    loop.set_exception_handler(None)
    assert "something else" in caplog.text
