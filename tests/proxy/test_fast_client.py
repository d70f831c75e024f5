"""Uploads and waiting on the fast path: bodies in both directions, and every way in which one can end."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.core.claims import Claims, Principal
from gateway.core.ports import Standing
from gateway.http.cookies import SessionCookieSettings
from gateway.proxy import fast_client
from gateway.proxy.direct import DirectExchange
from gateway.proxy.fast_client import TURNS, FastHandler
from gateway.proxy.protocol import ClientProtocol
from gateway.proxy.upstream import Timeouts
from tests.proxy.test_replay import rested
from tests.support.backends import Conversation, Script, answers, backend
from tests.support.wire import (
    FAR_FUTURE,
    GOOD,
    PATIENCE,
    FakeRevocation,
    FakeVerifier,
    Gateway,
    body_of,
    claims_of,
    eventually,
    gateway,
    read_answer,
    request,
    status_of,
)

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = request("POST /x HTTP/1.1", "Content-Length: 10")
LARGE = 48 * 2**20


def first_well_then(script: Script) -> Script:
    """A backend that answers the first request of a connection, and follows the script from there."""

    async def whole(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(FINE)
        await script(conversation)

    return whole


async def primed(front: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client's connection behind one answered request, so that there is a backend's connection to use again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(request())
    assert status_of(await read_answer(reader)) == 200
    await rested(front)
    return reader, writer


def passed(front: Gateway) -> int:
    """Requests that took the fast path."""
    return front.replayed + front.judged


async def test_a_body_in_pieces() -> None:
    """passes a body on as it comes, without waiting for its end."""
    arrived = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.exactly(4)
        arrived.set()
        await conversation.exactly(6)
        await conversation.send(FINE)

    async with backend(first_well_then(script)) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(HEAD + b"some")
            await arrived.wait()
            writer.write(b"thing!")
            assert body_of(await read_answer(reader)) == b"ok"
        writer.close()
    assert passed(front) == 1
    assert server.received.endswith(b"\r\n\r\nsomething!")


async def test_what_is_behind_a_body_is_the_next_request() -> None:
    """takes exactly the body for the body, and the bytes behind it for the next request."""
    async with backend(answers()) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(HEAD + b"some")
            await eventually(lambda: passed(front) == 1)
            writer.write(b"thing!" + request("GET /next HTTP/1.1"))
            assert [status_of(await read_answer(reader)) for _ in range(2)] == [200, 200]
        writer.close()
    assert b"something!GET /next HTTP/1.1\r\n" in server.received


async def test_a_slow_backend_slows_the_client() -> None:
    """holds no more of a large body than the sockets do while the backend does not read, and loses none of it."""
    go = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await go.wait()
        left = LARGE
        while left:
            left -= len(await conversation.reader.read(2**20))
        await conversation.send(FINE)

    async with backend(first_well_then(script)) as server, gateway(server.url) as front:
        async with asyncio.timeout(30):
            reader, writer = await primed(front)
            writer.write(request("POST /x HTTP/1.1", f"Content-Length: {LARGE}"))
            sending = asyncio.create_task(sent(writer))
            await eventually(lambda: passed(front) == 1)
            (client,) = front.proxy._server.connections  # type: ignore[union-attr]
            assert isinstance(client, ClientProtocol)
            assert isinstance(client._passage, DirectExchange)
            exchange = client._passage
            await eventually(lambda: exchange.held)
            held_at = exchange.received
            assert held_at < LARGE // 2
            go.set()
            assert body_of(await read_answer(reader)) == b"ok"
            await sending
        writer.close()
    assert passed(front) == 1


async def sent(writer: asyncio.StreamWriter) -> None:
    piece = b"x" * 2**20
    for _ in range(LARGE // len(piece)):
        writer.write(piece)
        await writer.drain()


async def test_a_body_that_nobody_wants_is_thrown_away() -> None:
    """relays an answer that comes before the body's end, and finds the next request behind the rest."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await conversation.reader.read()

    async with backend(first_well_then(script)) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(HEAD + b"some")
            assert status_of(await read_answer(reader)) == 413
            server.script = answers()
            writer.write(b"thi")
            writer.write(b"ng!" + request("GET /next HTTP/1.1"))
            assert status_of(await read_answer(reader)) == 200
        writer.close()
    assert passed(front) >= 1
    assert b"thing!" not in server.received


async def test_such_a_body_has_to_come_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """waits for the rest of an unwanted body only so long, then ends the connection."""
    monkeypatch.setattr(fast_client, "LINGER", 0.1)

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(FINE)
        await conversation.reader.read()

    async with backend(first_well_then(script)) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(HEAD + b"some")
            assert status_of(await read_answer(reader)) == 200
            assert await reader.read() == b""
        writer.close()


async def test_a_client_gone_within_its_body() -> None:
    """breaks the backend's connection when the client leaves, so that half a body never looks whole."""
    async with backend(answers()) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            _, writer = await primed(front)
            writer.write(HEAD + b"some")
            await eventually(lambda: passed(front) == 1)
            server.closed.clear()
            writer.transport.abort()
            await server.closed.wait()
            await eventually(lambda: front.proxy.active == 0)
    assert b"POST /x HTTP/1.1\r\n" in server.received


async def test_a_client_silent_within_its_body() -> None:
    """answers 400 in its own words when the body stops coming, and breaks the backend's connection."""
    timeouts = Timeouts(idle=0.2)
    async with backend(answers()) as server, gateway(server.url, timeouts=timeouts) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            server.closed.clear()
            writer.write(HEAD + b"some")
            answer = await read_answer(reader)
            await server.closed.wait()
        writer.close()
    assert (status_of(answer), json.loads(body_of(answer))["code"]) == (400, "request_malformed")
    assert b"Connection: close\r\n" in answer
    assert passed(front) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_a_request_that_may_have_counted_is_not_repeated(method: str) -> None:
    """sends nothing with a body twice: a connection that dies before the answer is a 502."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()

    async with backend(first_well_then(script)) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(request(f"{method} /x HTTP/1.1", body=b"hello"))
            answer = await read_answer(reader)
            assert (status_of(answer), passed(front)) == (502, 1)
            assert server.received.count(b"/x HTTP/1.1") == 1
            server.script = answers()
            writer.write(request("GET /next HTTP/1.1"))
            assert status_of(await read_answer(reader)) == 200
        writer.close()


async def test_a_delete_without_a_body_is_repeated_once() -> None:
    """sends an idempotent request without a body again where the connection died before an answer."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()

    async with backend(first_well_then(script)) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            writer.write(request("DELETE /x HTTP/1.1"))
            await eventually(lambda: len(server.conversations) == 2)
            assert status_of(await read_answer(reader)) == 200
        writer.close()
    assert server.received.count(b"DELETE /x HTTP/1.1") == 2


# ---- requests that come a moment early ----


@pytest.mark.parametrize(("looks", "fast"), [(1, True), (TURNS, True), (TURNS + 1, False)])
async def test_a_request_waits_a_moment_for_aiohttp(monkeypatch: pytest.MonkeyPatch, looks: int, fast: bool) -> None:
    """keeps a request to the fast path that comes before aiohttp is ready, and parses it when that takes too long."""
    resting = vars(FastHandler)["resting"].fget
    left = 0

    def busy(handler: FastHandler) -> bool:
        nonlocal left
        left -= 1
        return left < 0 and resting(handler)

    async with backend(answers()) as server, gateway(server.url) as front, asyncio.timeout(PATIENCE):
        reader, writer = await primed(front)
        before = passed(front)
        monkeypatch.setattr(FastHandler, "resting", property(busy))
        left = looks
        writer.write(request("GET /x HTTP/1.1"))
        assert status_of(await read_answer(reader)) == 200
        assert passed(front) - before == (1 if fast else 0)
        monkeypatch.undo()
        writer.write(request("GET /next HTTP/1.1"))
        assert status_of(await read_answer(reader)) == 200
        writer.close()


# ---- judgements that have to wait ----


class Slow(FakeRevocation):
    """Knows of nobody until :attr:`known` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.known = asyncio.Event()
        self.asked = asyncio.Event()

    def peek(self, principal: Principal) -> Standing | None:
        return super().peek(principal) if self.known.is_set() else None

    async def standing(self, principal: Principal) -> Standing:
        self.asked.set()
        await self.known.wait()
        return await super().standing(principal)


async def test_a_judgement_that_waits() -> None:
    """passes a request on, its body included, when the judgement that it had to wait for is there."""
    slow = Slow()
    async with backend(answers()) as server, gateway(server.url, revocation=slow) as front:
        async with asyncio.timeout(PATIENCE):
            slow.known.set()
            reader, writer = await primed(front)
            slow.known.clear()
            slow.asked.clear()
            other = request("POST /api/x HTTP/1.1", "Content-Length: 10")
            writer.write(other + b"some")
            await slow.asked.wait()
            writer.write(b"thing!" + request("GET /next HTTP/1.1"))
            assert front.proxy.active == 1
            slow.known.set()
            assert [status_of(await read_answer(reader)) for _ in range(2)] == [200, 200]
        writer.close()
    assert front.judged == 1
    assert b"something!GET /next" in server.received


async def test_a_refusal_that_waited() -> None:
    """refuses by the judgement that was waited for, without a second one, and reads the next request rightly."""
    slow = Slow()
    async with backend(answers()) as server, gateway(server.url, revocation=slow) as front:
        async with asyncio.timeout(PATIENCE):
            slow.known.set()
            reader, writer = await primed(front)
            slow.known.clear()
            slow.asked.clear()
            asked = front.verifier.asked
            writer.write(request("GET /api/x HTTP/1.1"))
            await slow.asked.wait()
            slow.revoke()
            slow.known.set()
            answer = await read_answer(reader)
            assert (status_of(answer), json.loads(body_of(answer))["code"]) == (401, "session_revoked")
            assert front.verifier.asked == asked + 2  # at once, which did not do, and once more
            writer.write(request("GET /public/x HTTP/1.1", token=None))
            assert status_of(await read_answer(reader)) == 200
        writer.close()
        assert front.proxy.active == 0
        assert front.audit.reasons == ["session_valid", "session_revoked", "public_route"]


async def test_a_client_gone_before_its_judgement() -> None:
    """forgets a request whose client leaves while it is judged."""
    slow = Slow()
    async with backend(answers()) as server, gateway(server.url, revocation=slow) as front:
        async with asyncio.timeout(PATIENCE):
            slow.known.set()
            _, writer = await primed(front)
            slow.known.clear()
            slow.asked.clear()
            writer.write(request("GET /api/x HTTP/1.1"))
            await slow.asked.wait()
            writer.transport.abort()
            await eventually(lambda: front.proxy.active == 0)
            slow.known.set()
    assert len(server.conversations) == 1
    assert b"/api/x" not in server.received


# ---- what was true a moment ago ----

VISIT = request("GET /api/x HTTP/1.1", f"Cookie: __Host-session={GOOD}", token=None)
UPLOAD = request("POST /api/x HTTP/1.1", body=b"hello")


@pytest.mark.parametrize("data", [VISIT, UPLOAD, request("GET /api/x HTTP/1.1", f"Cookie: __Host-session={GOOD}")])
async def test_a_revocation_and_an_expiry_count_at_once(data: bytes) -> None:
    """lets no cookie and no upload through by an earlier decision once the session is revoked or over."""
    clock = [1_000_000.0]
    async with (
        backend(answers()) as server,
        gateway(server.url, session=SessionCookieSettings("id_token"), now=lambda: clock[0]) as front,
    ):
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)

            async def ask() -> int:
                writer.write(data)
                found = status_of(await read_answer(reader))
                await rested(front)
                return found

            assert [await ask(), await ask()] == [200, 200]
            assert (front.replayed, front.judged) == (1, 1)
            clock[0] = FAR_FUTURE
            assert [await ask(), front.replayed, front.judged] == [200, 1, 2]
            clock[0] = 1_000_000.0
            assert [await ask(), front.replayed] == [200, 2]
            front.revocation.revoke()
            assert [await ask(), front.replayed, front.judged] == [401, 2, 2]
        writer.close()


async def test_a_token_never_seen_is_judged_at_once() -> None:
    """judges each new token by itself within the same turn, and refuses those that are not good."""
    tokens: dict[str, Claims] = {GOOD: claims_of()} | {
        f"token.{number}": claims_of(f"u{number}") for number in range(5)
    }
    async with backend(answers()) as server, gateway(server.url, tokens=tokens) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            for number in range(5):
                writer.write(request(token=f"token.{number}"))
                assert status_of(await read_answer(reader)) == 200
                await rested(front)
            writer.write(request("GET /api/x HTTP/1.1", token="token.6"))
            assert status_of(await read_answer(reader)) == 401
        writer.close()
    assert (front.judged, front.replayed) == (5, 0)
    assert [server.received.count(b"X-Forwarded-User: u%d\r\n" % number) for number in range(5)] == [1] * 5


async def test_a_judge_that_breaks_is_the_ordinary_ways_to_answer_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """answers 500 when judging fails in a way nobody foresaw, and lets nothing through."""

    def fails(self: FakeVerifier, token: str) -> Claims | None:
        raise RuntimeError("unforeseen")

    async with backend(answers()) as server, gateway(server.url) as front:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await primed(front)
            monkeypatch.setattr(FakeVerifier, "peek", fails)
            writer.write(request("GET /api/x HTTP/1.1"))
            assert status_of(await read_answer(reader)) == 500
        writer.close()
    assert b"/api/x" not in server.received
