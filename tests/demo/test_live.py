"""The backend's event stream and echo."""

from __future__ import annotations

import asyncio
import json

from aiohttp import ClientSession, WSMsgType

from gateway.demo.backend import DemoBackend
from gateway.demo.live import BEATS_EVERY, MAX_MESSAGE_BYTES

PATIENCE_SECONDS = 5.0


async def until_nobody_watches(backend: DemoBackend) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while backend.live.watching or backend.live.talking:  # noqa: ASYNC110 - no event tells that they left
            await asyncio.sleep(0)  # the loop's turn, not a span of time


async def test_events_arrive_one_by_one(ada: ClientSession, backend: DemoBackend) -> None:
    """The backend streams numbered events and keeps idle intermediaries awake."""
    ids, beats = [], 0
    async with asyncio.timeout(PATIENCE_SECONDS), ada.get("/events") as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        assert backend.live.watching == 1
        async for line in response.content:
            if line.startswith(b"id: "):
                ids.append(int(line[4:]))
            elif line.startswith(b"data: "):
                event = json.loads(line[6:])
                assert event.keys() == {"who", "what", "job", "watching"}
                assert event["watching"] == 1
            elif line.startswith(b":"):
                beats += 1
            if len(ids) > BEATS_EVERY:
                break
    assert ids == list(range(BEATS_EVERY + 1))
    assert beats == 1


async def test_the_stream_stops_when_the_visitor_leaves(ada: ClientSession, backend: DemoBackend) -> None:
    """The backend ends a stream whose visitor is gone."""
    response = await ada.get("/events")
    await response.content.readline()
    assert backend.live.watching == 1
    response.close()
    await until_nobody_watches(backend)


async def test_closing_ends_streams_and_sockets_at_once(ada: ClientSession, backend: DemoBackend) -> None:
    """The backend closes without waiting for listeners, who see a clean end."""
    response = await ada.get("/events")
    await response.content.readline()
    async with ada.ws_connect("/ws") as socket:
        await socket.receive_json()
        async with asyncio.timeout(PATIENCE_SECONDS):
            closing = asyncio.create_task(backend.close())
            assert (await socket.receive()).type is WSMsgType.CLOSE
            await response.content.read()
            await closing
    await until_nobody_watches(backend)


async def test_the_echo_greets_and_answers(ada: ClientSession) -> None:
    """The backend's echo names the visitor the gateway named, and returns every text unchanged."""
    async with ada.ws_connect("/ws") as socket:
        hello = await socket.receive_json()
        assert hello["type"] == "hello"
        assert hello["visitor"]["email"] == "ada@example.com"
        for text in ["", "ring ring", "🚲 <b>ö</b>", "x" * 1000]:
            await socket.send_str(text)
            assert await socket.receive_json() == {"type": "echo", "text": text}


async def test_the_echo_says_when_it_knows_nobody(nobody: ClientSession) -> None:
    """The backend's echo serves anonymous visitors and says that it does not know them."""
    async with nobody.ws_connect("/ws") as socket:
        assert await socket.receive_json() == {"type": "hello", "visitor": None}


async def test_the_echo_forgets_who_left(ada: ClientSession, backend: DemoBackend) -> None:
    """The backend keeps no socket whose visitor is gone."""
    async with ada.ws_connect("/ws") as socket:
        await socket.receive_json()
        assert backend.live.talking == 1
    await until_nobody_watches(backend)


async def test_the_echo_refuses_long_messages(ada: ClientSession) -> None:
    """The backend's echo closes on a message that is too long (RFC 6455, code 1009)."""
    async with ada.ws_connect("/ws") as socket:
        await socket.receive_json()
        await socket.send_str("x" * (MAX_MESSAGE_BYTES + 1))
        assert (await socket.receive()).data == 1009


async def test_a_plain_request_to_the_echo_is_refused(ada: ClientSession) -> None:
    """The backend answers 400 to somebody who opens the echo as a page."""
    async with ada.get("/ws") as response:
        assert response.status == 400
