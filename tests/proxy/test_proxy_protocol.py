"""The PROXY protocol: read exactly, from trusted proxies only, and required where it is switched on."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.proxy_protocol import MAX_V1, MAX_V2, SIGNATURE, Announced, read_announcement
from tests.proxy.test_replay import rested
from tests.support.backends import answers, backend
from tests.support.wire import GOOD, PATIENCE, claims_of, gateway, read_answer, request, status_of

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


def v2(body: bytes, *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body) if length is None else length) + body


V4 = ipaddress.ip_address("198.51.100.7").packed + ipaddress.ip_address("203.0.113.1").packed + b"\x11\x22\x00\x50"
V6 = ipaddress.ip_address("2001:db8::7").packed + ipaddress.ip_address("2001:db8::1").packed + b"\x11\x22\x00\x50"
MAPPED = ipaddress.ip_address("::ffff:198.51.100.7").packed * 2 + b"\x11\x22\x00\x50"

HEADERS: list[tuple[bytes, str | None]] = [
    (b"PROXY TCP4 198.51.100.7 203.0.113.1 56324 443\r\n", "198.51.100.7"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "2001:db8::7"),
    (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 0 65535\r\n", "198.51.100.7"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff whatever 65535\r\n", None),
    (v2(V4), "198.51.100.7"),
    (v2(V6, family=0x21), "2001:db8::7"),
    (v2(MAPPED, family=0x21), "198.51.100.7"),
    (v2(V4 + b"\x04\x00\x02ab"), "198.51.100.7"),
    (v2(b"", command=0x20, family=0x00), None),
    (v2(V4, command=0x20), None),
    (v2(b"\0" * 12, family=0x00), None),
    (v2(b"\0" * 216, family=0x31), ""),
]

BAD = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 56324\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 56324 443 1\r\n",
    b"PROXY  TCP4 198.51.100.7 203.0.113.1 56324 443\r\n",
    b"PROXY TCP4 2001:db8::7 203.0.113.1 56324 443\r\n",
    b"PROXY TCP6 198.51.100.7 2001:db8::1 56324 443\r\n",
    b"PROXY TCP4 198.51.100.07 203.0.113.1 56324 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::1 56324 443\r\n",
    b"PROXY TCP4 198.51.100.7 nowhere 56324 443\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 056 443\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 65536 443\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 -1 443\r\n",
    b"PROXY UDP4 198.51.100.7 203.0.113.1 56324 443\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4 " + b"1" * MAX_V1,
    b"proxy TCP4 198.51.100.7 203.0.113.1 56324 443\r\n",
    v2(V4, command=0x11),
    v2(V4, command=0x22),
    v2(V4, family=0x12),
    v2(V4, family=0x41),
    v2(V4[:-1]),
    v2(V6[:-1], family=0x21),
    v2(b"\0" * 215, family=0x31),
    v2(b"", length=MAX_V2),
    b"\r\n\r\n\x00\r\nQUIT\r" + b"\x21\x11\x00\x00",
]


@pytest.mark.parametrize(("header", "peer"), HEADERS)
def test_headers_of_both_versions(header: bytes, peer: str | None) -> None:
    """reads both versions, however the bytes arrive, and leaves what follows alone."""
    assert read_announcement(header + b"GET / HTTP/1.1\r\n") == Announced(peer, len(header))
    for end in range(len(header)):
        assert read_announcement(header[:end]) is None


@pytest.mark.parametrize("header", BAD)
def test_everything_else_is_refused(header: bytes) -> None:
    """refuses what is no header, and what is one with a fault."""
    with pytest.raises(ValueError, match=r"header|line|block"):
        read_announcement(header)


@given(data=st.binary(max_size=64), start=st.sampled_from([b"", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_bytes_have_an_answer(start: bytes, data: bytes) -> None:
    """never fails on bytes in any other way, and never reads past them."""
    try:
        found = read_announcement(start + data)
    except ValueError:
        return
    assert found is None or found.length <= len(start + data)


async def converse(pieces: Iterable[bytes], *, trusted: bool = True, **fields: str) -> tuple[bytes, list[str]]:
    """What a gateway that expects the header answers, and the X-Forwarded-For that its backend saw."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    async with (
        backend(answers()) as server,
        gateway(server.url, trusted=[LOOPBACK] if trusted else [], proxy_protocol=True, head_deadline=0.5) as front,
        asyncio.timeout(PATIENCE),
    ):
        reader, writer = await front.connect()
        try:
            for piece in [*pieces, request("GET / HTTP/1.1", *lines)]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            answer = await read_answer(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            answer = b""
        writer.close()
        seen = [value for name, value in server.fields() if name == "X-Forwarded-For"] if server.conversations else []
    return answer, seen


@pytest.mark.parametrize(
    ("pieces", "client"),
    [
        ([b"PROXY TCP4 198.51.100.7 203.0.113.1 1 2\r\n"], "198.51.100.7"),
        ([b"PROXY TC", b"P4 198.51.100.7 203.0.113.1 1 2\r", b"\n"], "198.51.100.7"),
        ([v2(V6, family=0x21)], "2001:db8::7"),
        ([v2(V4)[:9], v2(V4)[9:]], "198.51.100.7"),
        ([v2(b"", command=0x20, family=0)], "127.0.0.1"),
    ],
)
async def test_the_announced_address_is_the_peer(pieces: list[bytes], client: str) -> None:
    """takes the announced address for the peer's, and believes no header of that peer unless it is trusted."""
    answer, seen = await converse(pieces)
    assert (status_of(answer), seen) == (200, [client])
    if client != "127.0.0.1":
        answer, seen = await converse(pieces, X_Forwarded_For="6.6.6.6")
        assert seen == [client]


async def test_an_announced_proxy_is_believed_like_a_connected_one() -> None:
    """goes on with the forwarded chain where the announced peer is a trusted proxy itself."""
    answer, seen = await converse([b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n"], X_Forwarded_For="198.51.100.7")
    assert (status_of(answer), seen) == (200, ["198.51.100.7, 127.0.0.9"])


@pytest.mark.parametrize(
    ("pieces", "trusted"),
    [([], True), ([b"PROXY TCP4 nonsense\r\n"], True), ([b"PROXY TCP4 198.51.100.7 203.0.113.1 1 2\r\n"], False)],
)
async def test_connections_without_a_trusted_announcement_end(pieces: list[bytes], trusted: bool) -> None:
    """answers nobody who does not announce a peer or may not."""
    answer, seen = await converse(pieces, trusted=trusted)
    assert (answer, seen) == (b"", [])


async def test_waiting_for_an_announcement_is_bounded() -> None:
    """closes a connection whose announcement does not come."""
    async with (
        gateway("http://127.0.0.1:1", trusted=[LOOPBACK], proxy_protocol=True, head_deadline=0.2) as front,
        asyncio.timeout(PATIENCE),
    ):
        reader, writer = await front.connect()
        writer.write(b"PROXY ")
        assert await reader.read() == b""
        writer.close()


async def test_announced_peers_take_the_fast_path_each_for_itself() -> None:
    """replays behind a PROXY header, by the announced address: a session that moves is judged anew."""
    tokens = {GOOD: claims_of(signInIpAddress="198.51.100.7")}
    async with (
        backend(answers()) as server,
        gateway(server.url, trusted=[LOOPBACK], proxy_protocol=True, tokens=tokens) as front,
        asyncio.timeout(PATIENCE),
    ):
        found = []
        for client in ("198.51.100.7", "198.51.100.7", "203.0.113.9"):
            reader, writer = await front.connect()
            writer.write(f"PROXY TCP4 {client} 203.0.113.1 1 2\r\n".encode())
            for _ in range(2):
                writer.write(request())
                found.append(status_of(await read_answer(reader)))
                await rested(front)
            writer.close()
    assert found == [200, 200, 200, 200, 401, 401]
    assert front.replayed == 3
    assert b"X-Forwarded-For: 203.0.113.9" not in server.received
