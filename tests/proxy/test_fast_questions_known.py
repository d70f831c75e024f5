"""Questions that are known by their bytes, and a proxy's connection that takes questions of everybody."""

from __future__ import annotations

import asyncio

import pytest

from gateway.forward_auth import Dialect
from gateway.mutators.assertion import MAX_LIFETIME, Assertions, AssertionSettings, KeyRing
from gateway.mutators.identity import IdentityWriter
from gateway.policy.routes import Auth, Route
from tests.proxy.test_fast_questions import OTHER, asked, connected, counted, known, normal, question
from tests.support.wire import GOOD, PATIENCE, ROUTES, head_of, read_answer, status_of

NGINX, ENVOY = question(Dialect.NGINX), question(Dialect.ENVOY)
ID = b"X-Request-Id: abc-1\r\n"
HOSTILE = {
    "a target behind the head's end": NGINX.replace(b"X-Original-URI: /x\r\n", b"")[:-2]
    + b"\r\nX-Original-URI: /x\r\n",
    "an id behind the head's end": NGINX[:-2] + b"\r\n" + ID,
    "an id twice": NGINX.replace(ID, ID * 2),
    "an id in another spelling beside it": NGINX.replace(ID, ID + ID.lower()),
    "an id with a bare CR": NGINX.replace(b"abc-1", b"abc\rX-Forwarded-User: root"),
    "an id with a bare LF": NGINX.replace(b"abc-1", b"abc\nX-Forwarded-User: root"),
    "an id with a NUL": NGINX.replace(b"abc-1", b"abc\x00"),
    "a target with a bare LF": NGINX.replace(b"URI: /x", b"URI: /x\nX-Forwarded-User: root"),
    "a target with a space": NGINX.replace(b"URI: /x", b"URI: /x HTTP/1.1"),
    "an empty target": NGINX.replace(b"URI: /x", b"URI: "),
    "another method": NGINX.replace(b"Method: GET", b"Method: DELETE"),
    "another method of Envoy's": ENVOY.replace(b"GET", b"DELETE"),
    "Envoy's target with a space": ENVOY.replace(b"envoy/x", b"envoy/x HTTP/1.1"),
    "an older version": ENVOY.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a target on a route for other methods": NGINX.replace(b"URI: /x", b"URI: /reading/x").replace(b"GET\r", b"POST\r"),
    "no head's end": NGINX[:-2] + NGINX,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_known_is_known_whole(name: str) -> None:
    """... reads a question anew, and says what the ordinary way says, where its bytes are put together otherwise."""
    routes = (Route("reading", "/reading/**", "app", Auth.PUBLIC, methods=frozenset({"GET"})), *ROUTES)
    answers = []
    for fast in (True, False):
        async with asked(fast=fast, routes=routes) as front:
            async with connected(front) as proxy:
                for data in (NGINX, ENVOY, question(Dialect.NGINX, "/reading/x")) * 3:
                    await proxy.ask(data)
            before = known(front) if fast else 0
            reader, writer = await front.connect()
            async with asyncio.timeout(PATIENCE):
                writer.write(HOSTILE[name])
                given = await read_answer(reader)
            writer.close()
            if fast:
                assert before >= 3
                assert known(front) == before
            answers.append(normal(given))
    assert answers[0] == answers[1]


async def test_an_assertion_is_renewed() -> None:
    """... tells a known question's assertion for half its life, and a new one from then on."""
    at = [1_700_000_000.0]
    assertions = Assertions(KeyRing.fresh(at[0]), AssertionSettings("https://app.example"))
    routes = (Route("all", "/**", "app", assertion="app"),)
    identity = IdentityWriter(assertions)
    async with asked(routes=routes, identity=identity, now=lambda: at[0]) as front, connected(front) as proxy:
        told = []
        for later in (0, 0, 0, MAX_LIFETIME / 2 - 1, 1, 0, 0):
            at[0] += later
            told.append(head_of(await proxy.ask(NGINX))["x-gateway-jwt-assertion"])
    assert told == [told[0]] * 4 + [told[4]] * 3
    assert told[0] != told[4]
    assert known(front) == 3


# ---- one connection ----


async def test_a_connection_takes_questions_of_everybody() -> None:
    """... answers each question on a proxy's connection for whoever it is about, and requests between them too."""
    async with asked() as front, connected(front) as proxy:
        for token, name in [(GOOD, "alice"), (OTHER, "bob")] * 3:
            answer = await proxy.ask(question(Dialect.NGINX, f"/of/{name}", token=token))
            assert head_of(answer)["x-forwarded-user"] == name
            assert status_of(await proxy.ask(b"GET /.gateway/login HTTP/1.1\r\nHost: app.example\r\n\r\n")) == 200
        assert counted(front) == (4, 2)


async def test_questions_in_one_piece() -> None:
    """... answers questions that come together, or in pieces, one after the other."""
    async with asked() as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(question(Dialect.NGINX) + question(Dialect.NGINX, token=OTHER))
            names = [head_of(await read_answer(reader)).get("x-forwarded-user") for _ in range(2)]
            whole = question(Dialect.NGINX)
            writer.write(whole[:60])
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(whole[60:])
            names.append(head_of(await read_answer(reader)).get("x-forwarded-user"))
        writer.close()
        assert names == ["alice", "bob", "alice"]


async def test_the_last_answer_says_so() -> None:
    """... tells the proxy, while it closes, that its connection ends."""
    async with asked() as front, connected(front) as proxy:
        assert head_of(await proxy.ask(question(Dialect.NGINX))).get("connection") is None
        assert front.proxy._server is not None
        front.proxy._server.part()
        answer = await proxy.ask(question(Dialect.NGINX))
        assert (status_of(answer), head_of(answer)["connection"]) == (200, "close")


async def test_questions_are_counted() -> None:
    """... counts an answered question under the route of the original request."""
    counts: list[tuple[str, int]] = []
    async with asked() as front, connected(front) as proxy:
        front.proxy.on_answer(lambda route, status: counts.append((route, status)))
        for target in ("/x", "/x", "/api/x"):
            await proxy.ask(question(Dialect.ENVOY, target))
    assert counts == [("all", 200), ("all", 200), ("api", 200)]


async def test_the_date_is_of_now() -> None:
    """... dates every answer with the second that it was given in."""
    at = [1_700_000_000.0]
    async with asked(now=lambda: at[0]) as front, connected(front) as proxy:
        dates = []
        for second in (0, 0.5, 1):
            at[0] = 1_700_000_000.0 + second
            dates.append(head_of(await proxy.ask(question(Dialect.NGINX)))["date"])
    assert dates == ["Tue, 14 Nov 2023 22:13:20 GMT"] * 2 + ["Tue, 14 Nov 2023 22:13:21 GMT"]
