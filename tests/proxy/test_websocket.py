"""WebSockets through the proxy: handshakes judged like requests, bytes spliced behind them."""

from __future__ import annotations

import asyncio
import os

import aiohttp
import pytest
from aiohttp import web

from gateway.proxy.live import LiveSettings
from gateway.proxy.websocket import CLOSE_WAIT
from tests.support.backends import Conversation, answers, backend
from tests.support.wire import (
    GOOD,
    PATIENCE,
    Gateway,
    body_of,
    claims_of,
    eventually,
    gateway,
    head_of,
    read_answer,
    request,
    status_of,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3 has this pair
HANDSHAKE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=("chat", "echo"), max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            if message.data == "close":
                await socket.close(code=4001, message=b"as you wish")
            else:
                await socket.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def _echo_server() -> tuple[asyncio.Server, web.Server, str]:
    handler = web.Server(echo)
    server = await asyncio.get_running_loop().create_server(handler, "127.0.0.1", 0)
    return server, handler, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_messages_of_all_kinds_come_back() -> None:
    """carries text, binary, empty and large messages, the subprotocol, compression and the close code unchanged."""
    server, handler, url = await _echo_server()
    async with (
        gateway(url) as front,
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"http://127.0.0.1:{front.port}/ws",
            headers={"Authorization": f"Bearer {GOOD}"},
            protocols=("echo", "chat"),
            compress=15,
            max_msg_size=0,
        ) as socket,
    ):
        assert socket.protocol == "echo"
        assert socket.compress == 15
        for text in ("", "hello", "ü" * 1000, "x" * 300_000):
            await socket.send_str(text)
            assert await socket.receive_str(timeout=PATIENCE) == text
        blob = os.urandom(2_000_000)
        await socket.send_bytes(blob)
        assert await socket.receive_bytes(timeout=PATIENCE) == blob
        await socket.send_str("close")
        closing = await socket.receive(timeout=PATIENCE)
        assert (closing.type, socket.close_code, closing.extra) == (aiohttp.WSMsgType.CLOSE, 4001, "as you wish")
    server.close()
    await handler.shutdown(0)


async def _refused(front: Gateway, *fields: str, token: str | None = None) -> bytes:
    return await front.speak(request("GET /ws HTTP/1.1", *HANDSHAKE, *fields, token=token), until_close=True)


async def test_a_handshake_without_a_session_gets_a_plain_401() -> None:
    """refuses a handshake with a status and a problem document, never with a redirect or a page."""
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await _refused(front, "Accept: text/html", "Sec-Fetch-Mode: navigate")
        assert status_of(answer) == 401
        assert head_of(answer)["content-type"] == "application/problem+json"
        assert not server.conversations


async def test_a_handshake_from_a_foreign_page_is_refused() -> None:
    """refuses a handshake whose Origin is another site, token or not."""
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await _refused(front, "Origin: https://evil.example", token=GOOD)
        assert status_of(answer) == 403
        assert not server.conversations


async def test_nothing_behind_a_refused_handshake_is_a_request() -> None:
    """ends the connection with the refusal, so that bytes sent behind it are never answered."""
    async with backend(answers()) as server, gateway(server.url) as front:
        data = request("GET /ws HTTP/1.1", *HANDSHAKE, token=None) + request("GET /hidden HTTP/1.1")
        answer = await front.speak(data, until_close=True)
        assert status_of(answer) == 401
        assert answer.count(b"HTTP/1.1 ") == 1
        assert not server.conversations


async def test_the_upstreams_refusal_is_relayed() -> None:
    """relays an upstream's own answer to a handshake and ends the connection with it."""
    refusal = answers(b"not today", status=b"403 Forbidden", fields=[b"X-Why: mood"])
    async with backend(refusal) as server, gateway(server.url) as front:
        data = request("GET /ws HTTP/1.1", *HANDSHAKE) + request("GET /hidden HTTP/1.1")
        answer = await front.speak(data, until_close=True)
        assert (status_of(answer), body_of(answer)) == (403, b"not today")
        assert head_of(answer)["x-why"] == "mood"
        assert b"hidden" not in server.received


async def test_bytes_are_spliced_unread() -> None:
    """passes what follows the handshake on in both directions, even when it came in the same segment."""

    async def script(conversation: Conversation) -> None:
        head = await conversation.head()
        assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
        assert b"\r\nSec-WebSocket-Key: " + KEY.encode() in head
        await conversation.send(SWITCHED + b"\x81\x02hi")
        assert await conversation.exactly(6) == b"\x00any\xff!"
        await conversation.send(b"\x88\x00")

    async with backend(script) as server, gateway(server.url) as front:
        data = request("GET /ws HTTP/1.1", *HANDSHAKE) + b"\x00any\xff!"
        answer = await front.speak(data, until_close=True)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Protocol: chat" in head
    assert rest == b"\x81\x02hi\x88\x00"


@pytest.mark.parametrize(
    "answer",
    [
        SWITCHED.replace(ACCEPT.encode(), b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        SWITCHED.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        SWITCHED.replace(b"Sec-WebSocket-Accept", b"X-Other"),
    ],
)
async def test_a_wrong_switch_is_a_502(answer: bytes) -> None:
    """gives no 101 to the client unless the upstream answered the client's own key."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(answer)
        await conversation.to_end()

    async with backend(script) as server, gateway(server.url) as front:
        reply = await front.speak(request("GET /ws HTTP/1.1", *HANDSHAKE), until_close=True)
        assert status_of(reply) == 502
        await asyncio.wait_for(server.closed.wait(), 1.0)


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_when_one_side_ends_so_does_the_other(who: str) -> None:
    """ends the other connection within a second when one side of a WebSocket goes away."""
    let_go = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(SWITCHED)
        if who == "client":
            await conversation.to_end()
        else:
            await let_go.wait()

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /ws HTTP/1.1", *HANDSHAKE))
        async with asyncio.timeout(1.0):
            assert status_of(await read_answer(reader)) == 101
            if who == "client":
                writer.close()
                await server.closed.wait()
            else:
                let_go.set()
                assert await reader.read() == b""
        writer.close()


async def test_a_slow_reader_slows_its_sender() -> None:
    """stops reading from a client whose upstream does not read, so that frames of any size cost no memory."""
    release = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(SWITCHED)
        conversation.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await release.wait()

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /ws HTTP/1.1", *HANDSHAKE))
        assert status_of(await asyncio.wait_for(read_answer(reader), PATIENCE)) == 101
        sent = 0
        with pytest.raises(TimeoutError):  # noqa: PT012 - the loop is what stalls
            while sent < 100_000_000:
                writer.write(b"x" * 1_000_000)
                async with asyncio.timeout(0.5):
                    await writer.drain()
                sent += 1_000_000
        assert sent < 32_000_000
        writer.transport.abort()
        release.set()


async def test_an_upgrade_to_something_else_is_an_ordinary_request() -> None:
    """drops an Upgrade that is no WebSocket (h2c and the like) and forwards the request without it."""
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await front.speak(
            request(
                "GET /x HTTP/1.1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
            )
        )
        assert status_of(answer) == 200
        assert b"pgrade" not in server.received
        assert b"HTTP2" not in server.received


# ---- the gateway's own end ----


def _frame(size: int) -> bytes:
    return b"\x82\x7e" + size.to_bytes(2) + bytes(size)


class _Talk:
    """A WebSocket whose backend says ``said`` and then, when it is let, ``later``; keeps what the backend hears."""

    def __init__(self, said: bytes, later: bytes = b"") -> None:
        self.said = said
        self.later = later
        self.go_on = asyncio.Event()
        self.heard = b""
        self.over = asyncio.Event()

    async def script(self, conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(SWITCHED + self.said)
        telling = asyncio.create_task(self._tell(conversation))
        try:
            while piece := await conversation.reader.read(65_536):
                self.heard += piece
        finally:
            telling.cancel()
            self.over.set()

    async def _tell(self, conversation: Conversation) -> None:
        await self.go_on.wait()
        await conversation.send(self.later)


async def _revoke(front: Gateway) -> None:
    await eventually(lambda: bool(front.proxy.live._grown))
    front.revocation.revoke()
    front.proxy.live.changed(claims_of().principal)
    await eventually(lambda: front.proxy.live.ended.total() == 1)
    await asyncio.sleep(0)  # the one turn that it takes the two ends to hear of it


GOODBYE = b"\x88\x11\x11\x31session_revoked"


async def test_a_close_frame_waits_for_the_end_of_a_frame() -> None:
    """says goodbye between two frames: what is left of the backend's frame first, and nothing of the next one."""
    talk = _Talk(_frame(1000)[:500], _frame(1000)[500:] + _frame(10))
    async with backend(talk.script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /ws HTTP/1.1", *HANDSHAKE))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"\r\n\r\n")
            said = await reader.readexactly(500)
            await _revoke(front)
            writer.write(b"\x81\x82\0\0\0\0no")
            talk.go_on.set()
            said += await reader.readexactly(504 + len(GOODBYE))
            assert said == _frame(1000) + GOODBYE
            writer.write(b"\x88\x80\0\0\0\0")
            assert await reader.read() == b""
            await talk.over.wait()
        writer.close()
    # Nothing that the client said after the end of its session, and a masked Close frame with 1001.
    mask, code = talk.heard[2:6], talk.heard[6:]
    assert talk.heard[:2] == b"\x88\x82"
    assert bytes(byte ^ mask[index] for index, byte in enumerate(code)) == b"\x03\xe9"


async def test_a_frame_without_end_leaves_a_broken_connection() -> None:
    """breaks the connection when the backend does not finish its frame, rather than put anything into its middle."""
    talk = _Talk(_frame(1000)[:500])
    async with backend(talk.script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /ws HTTP/1.1", *HANDSHAKE))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(500) == _frame(1000)[:500]
            await _revoke(front)
            async with asyncio.timeout(1.0):
                assert await reader.read() == b""
                await talk.over.wait()
        writer.close()
    assert talk.heard == b""


async def test_in_the_middle_of_its_own_frame_a_client_is_told_all_the_same() -> None:
    """tells a client in the middle of a message that its session is over, and breaks the backend's connection."""
    talk = _Talk(b"")
    async with backend(talk.script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /ws HTTP/1.1", *HANDSHAKE) + b"\x82\xfe\x03\xe8\0\0\0\0half")
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"\r\n\r\n")
            await eventually(lambda: talk.heard.endswith(b"half"))
            await _revoke(front)
            assert await reader.readexactly(len(GOODBYE)) == GOODBYE
            await talk.over.wait()
            writer.write(bytes(996) + b"\x88\x80\0\0\0\0")
            assert await reader.read() == b""
        writer.close()
    assert talk.heard.endswith(b"half")


async def test_a_client_that_does_not_answer_is_not_waited_for() -> None:
    """closes the connection half a second after its Close frame, answered or not."""
    talk = _Talk(b"")
    async with backend(talk.script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /ws HTTP/1.1", *HANDSHAKE))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"\r\n\r\n")
            await _revoke(front)
            assert await reader.readexactly(len(GOODBYE)) == GOODBYE
            async with asyncio.timeout(CLOSE_WAIT + 0.5):
                assert await reader.read() == b""
        writer.close()


async def test_nothing_is_said_behind_a_close_frame() -> None:
    """says no second goodbye where the backend has said one."""
    talk = _Talk(b"\x88\x02\x03\xe8")
    async with backend(talk.script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /ws HTTP/1.1", *HANDSHAKE))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(4) == b"\x88\x02\x03\xe8"
            await _revoke(front)
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("who", ["client", "backend"])
async def test_a_message_above_the_limit_ends_it(who: str) -> None:
    """closes with 1009 when a message is larger than the limit, in either direction, and passes nothing of it on."""
    talk = _Talk(b"\x82\x03abc", _frame(2000) if who == "backend" else b"")
    settings = LiveSettings(max_message=1000)
    async with backend(talk.script) as server, gateway(server.url, live=settings) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /ws HTTP/1.1", *HANDSHAKE))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"\r\n\r\n\x82\x03abc")
            writer.write(b"\x82\x83\0\0\0\0abc")
            talk.go_on.set()
            if who == "client":
                writer.write(b"\x82\xfe\x07\xd0\0\0\0\0" + bytes(2000))
            assert await reader.readexactly(21) == b"\x88\x13\x03\xf1message_too_large"
            writer.close()
            await talk.over.wait()
            await eventually(lambda: front.proxy.live.ended["websocket", "message_too_large"] == 1)
    assert talk.heard.startswith(b"\x82\x83\0\0\0\0abc\x88\x82")
