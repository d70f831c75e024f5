"""Live connections judged again, on real sockets: WebSockets, event streams, downloads and uploads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from gateway.core.claims import Principal
from gateway.policy.routes import Auth, Route
from gateway.proxy.live import LiveSettings
from gateway.proxy.live_connections import BATCH, LiveConnections
from gateway.reasons import Reason
from tests.proxy.test_websocket import HANDSHAKE
from tests.support.backends import Conversation, backend
from tests.support.live import (
    ALICE,
    BOTH,
    IN_TIME,
    QUIET,
    Client,
    another_guard,
    close_of,
    is_cut,
    talks,
    watching,
)
from tests.support.wire import (
    GOOD,
    PATIENCE,
    ROUTES,
    claims_of,
    eventually,
    gateway,
    request,
    status_of,
)


@BOTH
async def test_a_revocation_ends_them(target: str) -> None:
    """ends a WebSocket with 4401 and the reason, and an event stream, within a second of hearing of a revocation."""
    async with watching(target) as client:
        client.front.revocation.revoke()
        client.front.proxy.live.changed(ALICE)
        rest, took = await client.ends()
        assert is_cut(target, rest, 4401, "session_revoked")
        assert took < IN_TIME
        assert client.front.audit.reasons == ["session_valid", "session_revoked"]
        (request_id,) = {event.request_id for event in client.front.audit.events}
        assert f"X-Request-Id: {request_id}" in client.head.decode()
        await asyncio.wait_for(client.server.closed.wait(), IN_TIME)


@BOTH
async def test_a_revocation_nobody_told_of_is_found(target: str) -> None:
    """asks again at every interval, so that a revocation is found that no event announced."""
    async with watching(target, settings=LiveSettings(recheck=0.2)) as client:
        client.front.revocation.revoke()
        rest, took = await client.ends()
        assert is_cut(target, rest, 4401, "session_revoked")
        assert took < 0.2 + IN_TIME


@BOTH
async def test_their_tokens_end_ends_them(target: str) -> None:
    """ends a WebSocket with 4401 and an event stream when the token expires, not before and at most a second after."""
    expires_at = time.time() + 0.8
    async with watching(target, tokens={GOOD: claims_of(expires_at=expires_at)}) as client:
        rest, _ = await client.ends()
        assert is_cut(target, rest, 4401, "token_expired")
        assert 0 <= time.time() - expires_at < IN_TIME
        assert client.front.audit.reasons == ["session_valid", "token_expired"]


@BOTH
async def test_a_grace_is_kept(target: str) -> None:
    """lets a connection live past its token for the configured grace, and not longer."""
    expires_at = time.time() + 0.5
    settings = LiveSettings(grace=1.0, recheck=0.3)
    async with watching(target, tokens={GOOD: claims_of(expires_at=expires_at)}, settings=settings) as client:
        rest, _ = await client.ends()
        assert is_cut(target, rest, 4401, "token_expired")
        assert 1.0 <= time.time() - expires_at < 1.0 + IN_TIME


@BOTH
async def test_signing_out_ends_them(target: str) -> None:
    """ends what a session opened within a second of its sign-out, and nothing of the same user's other sessions."""
    tokens = {GOOD: claims_of(), "other": claims_of(auth_time=2_000)}
    async with watching(target, tokens=tokens) as client:
        reader, writer = await client.front.connect()
        writer.write(request("GET /ws HTTP/1.1", *HANDSHAKE, token="other"))
        await asyncio.wait_for(reader.readuntil(b"\x81\x02hi"), PATIENCE)
        out = request("POST /.gateway/logout HTTP/1.1", "Origin: http://app.example", "Content-Length: 0")
        assert status_of(await client.front.speak(out)) == 204
        rest, took = await client.ends()
        assert is_cut(target, rest, 4401, "session_signed_out")
        assert took < IN_TIME
        assert client.front.proxy.live.active()["websocket"] == 1
        writer.transport.abort()


RELOADS: dict[str, tuple[tuple[Route, ...], str | None, int, str]] = {
    "nothing changes": (ROUTES, GOOD, 0, ""),
    "no route any more": ((Route("other", "/other/**", "app"),), GOOD, 4403, "no_route"),
    "nobody any more": ((Route("all", "/**", "app"),), None, 4401, "sign_in_required"),
    "public now": ((Route("all", "/**", "app", Auth.PUBLIC),), GOOD, 0, ""),
}


@BOTH
@pytest.mark.parametrize("case", RELOADS)
async def test_a_changed_configuration_is_applied(target: str, case: str) -> None:
    """judges everything again by a new configuration, ends what that forbids and leaves the rest alone."""
    routes, token, code, reason = RELOADS[case]
    path = f"/public{target}" if token is None else target
    async with watching(path, token=token) as client:
        client.front.proxy.replace(another_guard(client.front, *routes), {"app": client.front.upstream})
        if code:
            rest, took = await client.ends()
            assert is_cut(path, rest, code, reason)
            assert took < IN_TIME
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), QUIET)


@pytest.mark.parametrize("path", ["/public/ws", "/optional/ws", "/public/events"])
async def test_what_nobody_in_particular_opened_stays(path: str) -> None:
    """never ends what was opened without a session because of what happens to somebody's session."""
    async with watching(path, token=None, settings=LiveSettings(recheck=0.1)) as client:
        client.front.revocation.revoke()
        client.front.revocation.down = True
        client.front.proxy.live.changed(ALICE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), QUIET)
        assert client.still_open()


async def test_somebodys_connection_never_becomes_nobodys() -> None:
    """ends what a session opened on an optional route when the session is over, instead of going on for nobody."""
    async with watching("/optional/ws") as client:
        client.front.revocation.revoke()
        client.front.proxy.live.changed(ALICE)
        assert close_of(await client.rest()) == (4401, "session_revoked")


async def test_what_cannot_be_judged_is_ended() -> None:
    """closes a WebSocket with 1013, try again later, when the account service cannot tell of its user any more."""
    async with watching("/ws", settings=LiveSettings(recheck=0.1)) as client:
        client.front.revocation.down = True
        assert close_of(await client.rest()) == (1013, "revocation_unavailable")


async def test_a_judgement_that_fails_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    """closes a WebSocket with 1011 when judging it fails in a way that nobody foresaw, and logs that."""
    async with watching("/ws") as client:

        def broken(principal: Principal) -> None:
            raise ZeroDivisionError

        client.front.revocation.valid_since = 1  # another epoch, so that the guard is asked
        live = client.front.proxy.live
        await eventually(lambda: live.active()["websocket"] == 1)
        guard = client.front.proxy.guard
        guard.judge_again = broken  # type: ignore[method-assign,assignment]
        live.changed(ALICE)
        assert close_of(await client.rest()) == (1011, "internal")
    assert "could not be judged again" in caplog.text


async def test_a_change_that_changes_nothing_ends_nothing() -> None:
    """goes on with a connection whose user was revoked before it began."""
    async with watching("/ws", settings=LiveSettings(recheck=0.1)) as client:
        client.front.revocation.valid_since = 500
        client.front.proxy.live.changed(ALICE)
        asked = client.front.verifier.asked
        await eventually(lambda: client.front.verifier.asked > asked)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), QUIET)
        # The new standing counts from now on, so the guard is not asked each time.
        assert client.front.verifier.asked == asked + 1


async def test_a_download_is_ended_by_a_revocation() -> None:
    """breaks a long download off, visibly, when its user is revoked."""
    async with watching("/download") as client:
        client.front.revocation.revoke()
        client.front.proxy.live.changed(ALICE)
        rest, took = await client.ends()
        assert (rest, took < IN_TIME) == (b"", True)


async def test_a_download_outlives_its_token_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """gives an ordinary request thirty seconds from its beginning, whenever its token ends, and no more."""
    monkeypatch.setattr("gateway.proxy.live_connections.PATIENCE", 1.5)
    began = time.monotonic()
    async with watching("/download", tokens={GOOD: claims_of(expires_at=time.time() + 0.5)}) as client:
        await client.rest()
        assert 1.5 <= time.monotonic() - began < 1.5 + IN_TIME
        assert client.front.audit.reasons == ["session_valid", "token_expired"]


async def test_where_the_end_of_the_connection_ends_an_answer_it_is_reset() -> None:
    """resets the connection of an HTTP/1.0 client, to whom an orderly end would look like the whole answer."""
    async with backend(talks) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /events HTTP/1.0"))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"data: 1\n\n")
            front.revocation.revoke()
            front.proxy.live.changed(ALICE)
            with pytest.raises(ConnectionResetError):
                await reader.read()
        writer.close()


async def test_a_late_event_stream_ends_with_its_token_too() -> None:
    """ends an event stream at its token's end also when its head came late, though other answers have longer."""

    async def late(conversation: Conversation) -> None:
        await conversation.head()
        await asyncio.sleep(0.6)  # the gateway has looked at the request by then
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await conversation.to_end()

    expires_at = time.time() + 0.8
    tokens = {GOOD: claims_of(expires_at=expires_at)}
    async with backend(late) as server, gateway(server.url, tokens=tokens) as front:
        await front.speak(request("GET /events HTTP/1.1"), until_close=True)
        assert 0 <= time.time() - expires_at < IN_TIME


async def test_an_upload_is_ended_by_a_revocation() -> None:
    """breaks an upload off when its user is revoked, and the backend never sees a complete request."""

    async def takes(conversation: Conversation) -> None:
        await conversation.to_end()

    async with backend(takes) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("PUT /file HTTP/1.1", "Content-Length: 1000") + b"half")
        await eventually(lambda: server.received.endswith(b"half") or bool(server.conversations))
        await eventually(lambda: front.proxy.live.active()["transfer"] == 1)
        front.revocation.revoke()
        front.proxy.live.changed(ALICE)
        async with asyncio.timeout(IN_TIME):
            assert await reader.read() == b""
            await server.closed.wait()
        writer.close()


async def test_a_silent_websocket_is_closed() -> None:
    """closes a WebSocket with 1001 when nothing moved on it for the configured time, and no sooner."""
    async with watching("/ws", settings=LiveSettings(idle=0.6)) as client:
        reader, writer = client.reader, client.writer
        for _ in range(4):
            writer.write(b"\x89\x80abcd")  # a ping
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.3)
        assert close_of(await client.rest()) == (1001, "connection_idle")
        assert client.front.proxy.live.ended["websocket", "connection_idle"] == 1


async def test_a_stopping_server_says_goodbye() -> None:
    """closes WebSockets with 1001 as soon as it stops, and gives event streams the time that it gives every answer."""
    async with watching("/ws") as client:
        reader, writer = await client.front.connect()
        writer.write(request("GET /events HTTP/1.1"))
        await asyncio.wait_for(reader.readuntil(b"data: 1\n\n\r\n"), PATIENCE)
        async with asyncio.timeout(PATIENCE):
            stopping = asyncio.create_task(client.front.proxy.close(1.0))
            assert close_of(await client.rest()) == (1001, "shutting_down")
            client.writer.close()
            assert not stopping.done()
            assert await reader.read() == b""
            await stopping
        writer.close()


async def test_what_is_over_is_forgotten() -> None:
    """keeps nothing of a connection that has ended."""
    async with watching("/ws") as client:
        live = client.front.proxy.live
        await eventually(lambda: bool(live._grown))
        client.writer.transport.abort()
        await eventually(lambda: not (live._grown or live._young or live._by_user or any(live._slots.values())))
        assert live.active().total() == 0


def _hundreds(client: Client) -> Callable[[], bool]:
    return lambda: len(client.front.proxy.live._grown) >= 1


async def test_thousands_are_judged_without_stopping_anybody() -> None:
    """judges connections in small batches, so that a reload with many of them stops nobody's requests."""
    async with watching("/ws") as client:
        await eventually(_hundreds(client))
        live: LiveConnections = client.front.proxy.live
        (one,) = live._grown
        ended: list[str] = []

        def end(reason: Reason, code: int) -> bool:
            ended.append(f"{code} {reason.id}")
            return True

        for index in range(BATCH * 3):
            live.begin("websocket", one.decision, one.guard, str(index), one.context, end)
        client.front.revocation.revoke()
        largest = 0
        async with asyncio.timeout(PATIENCE):
            while len(ended) < BATCH * 3:
                before = len(ended)
                await asyncio.sleep(0)
                largest = max(largest, len(ended) - before)
        assert 0 < largest <= BATCH
        assert set(ended) == {"4401 session_revoked"}
