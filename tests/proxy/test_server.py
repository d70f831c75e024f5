"""The proxy as a whole: judged per request, framing beyond doubt, refusals that say nothing of the request."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import socket

import pytest

from gateway.clock import SystemClock
from gateway.core.client_ip import AddressResolver
from gateway.errors import ConfigError
from gateway.guard import SessionGuard
from gateway.policy.routes import Auth, Route, RouteTable
from tests.support.backends import Conversation, answers, backend
from tests.support.wire import GOOD, KNOWN_REASONS, PATIENCE, body_of, gateway, head_of, read_answer, request, status_of

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


async def test_a_session_reaches_the_backend() -> None:
    """forwards a request with a good session and tells the backend who it is, without the token."""
    async with backend(answers(b"hello")) as server, gateway(server.url) as front:
        answer = await front.speak(request("GET /page HTTP/1.1", "X-Forwarded-User: eve"))
        fields = server.fields()
    assert (status_of(answer), body_of(answer)) == (200, b"hello")
    assert [value for name, value in fields if name == "X-Forwarded-User"] == ["alice"]
    assert GOOD not in str(fields)
    assert ("Host", "app.example") in fields
    assert front.audit.reasons == ["session_valid"]


@pytest.mark.parametrize(
    ("target", "token", "status", "reason"),
    [
        ("/", None, 401, "sign_in_required"),
        ("/", "forged", 401, "token_signature"),
        ("/", "expired", 401, "token_expired"),
        ("/", "down", 503, "keys_unavailable"),
        ("/public/x", "forged", 200, "public_route"),
        ("/optional/x", "forged", 200, "credential_ignored"),
        ("/optional/x", None, 200, "anonymous"),
        ("//x", GOOD, 400, "target_ambiguous"),
        ("/%2e%2e/x", GOOD, 400, "target_ambiguous"),
        ("/public/%2e%2e/x", None, 400, "target_ambiguous"),
        ("/public/..%2fx", None, 400, "target_ambiguous"),
        ("/public/..;/x", None, 400, "target_ambiguous"),
        ("/public//x", None, 400, "target_ambiguous"),
        ("/public/%5c..%5cx", None, 400, "target_ambiguous"),
        ("/public/%00", None, 400, "target_ambiguous"),
        ("/public/%252e%252e/x", None, 400, "target_ambiguous"),
        ("/public\\..\\x", None, 400, "target_ambiguous"),
        ("/public/%c0%ae%c0%ae/x", None, 400, "target_ambiguous"),
        ("/PUBLIC/x", None, 401, "sign_in_required"),
        ("/publicx", None, 401, "sign_in_required"),
        ("/x?/public/", None, 401, "sign_in_required"),
        ("/x#/public/", GOOD, 400, "request_malformed"),
        ("/%zz", GOOD, 400, "request_malformed"),
    ],
)
async def test_the_decision_is_the_guards(target: str, token: str | None, status: int, reason: str) -> None:
    """answers with the guard's decision, sends nothing refused to the backend, and records each decision once."""
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await front.speak(request(f"GET {target} HTTP/1.1", token=token))
        assert status_of(answer) == status
        assert front.audit.reasons == [reason]
        assert bool(server.conversations) == (status == 200)
        if status == 200:
            assert f"GET {target} HTTP/1.1\r\n".encode() in server.received
            assert not [
                value for name, value in server.fields() if name.lower() in {"x-forwarded-user", "authorization"}
            ]


async def test_revocation_and_sign_out_bite_at_once() -> None:
    """judges every request of a connection anew, so that a revocation and a sign-out count from the next one on."""
    async with backend(answers()) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            for data, status in ((request(), 200), (request(token=None), 401), (request(), 200)):
                writer.write(data)
                assert status_of(await read_answer(reader)) == status
            front.revocation.revoke()
            writer.write(request())
            answer = await read_answer(reader)
            assert status_of(answer) == 401
            assert json.loads(body_of(answer))["code"] == "session_revoked"
        writer.close()


async def test_pipelined_requests_are_judged_each() -> None:
    """gives each of several requests in one segment its own verdict, in order."""
    async with backend(answers()) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(
            request() + request(token="forged") + request("GET /public/ HTTP/1.1", token=None) + request(token=None)
        )
        async with asyncio.timeout(PATIENCE):
            statuses = [status_of(await read_answer(reader)) for _ in range(4)]
        writer.close()
        assert statuses == [200, 401, 200, 401]
        assert server.received.count(b" HTTP/1.1\r\n") == 2


@pytest.mark.parametrize("framing", ["Content-Length: {size}", "Transfer-Encoding: chunked"])
async def test_the_unread_body_of_a_refused_request_is_no_request(framing: str) -> None:
    """ends the connection behind a refusal with a body, so that the body is never answered as a request."""
    smuggled = request("GET /smuggled HTTP/1.1")
    if "chunked" in framing:
        smuggled = b"%x\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled)
    async with backend(answers()) as server, gateway(server.url) as front:
        data = request("POST /p HTTP/1.1", framing.format(size=len(smuggled)), token=None) + smuggled
        answer = await front.speak(data, until_close=True)
        assert status_of(answer) == 401
        assert head_of(answer)["connection"] == "close"
        assert answer.count(b"HTTP/1.1 ") == 1
        assert not server.conversations


MALFORMED = [
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400, "request_malformed"),
    (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400, "request_malformed"),
    (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400, "request_malformed"),
    (b"GET /\r\n\r\n", 400, "request_malformed"),
    (b"GET /\nHTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_malformed"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "request_malformed"),
    (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_malformed"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request_malformed"),
    (b"GET / HTTP/1.1\r\n\r\n", 400, "host_invalid"),
    (b"GET / HTTP/1.0\r\n\r\n", 400, "host_invalid"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host_invalid"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host_invalid"),
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "host_invalid"),
    (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_invalid"),
    (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_malformed"),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_malformed"),
    (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "method_not_allowed"),
    (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400, "request_malformed"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, "request_malformed"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400, "request_malformed"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, "request_malformed"),
    (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, None),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "request_malformed",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        400,
        "request_malformed",
    ),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, "request_malformed"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", 400, "request_malformed"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400, "request_malformed"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na", 400, "request_malformed"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, "request_malformed"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400, "request_malformed"),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        400,
        "request_malformed",
    ),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400, "request_malformed"),
    (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "request_malformed"),
    (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "target_too_long"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431, "headers_too_large"),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X: %d\r\n" % number for number in range(200)) + b"\r\n",
        431,
        "headers_too_large",
    ),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"a" * 8_000 + b"\r\n") * 9 + b"\r\n", 431, "headers_too_large"),
]


@pytest.mark.parametrize(("data", "status", "reason"), MALFORMED, ids=lambda value: repr(value)[:60])
async def test_malformed_requests_end_here(data: bytes, status: int, reason: str | None) -> None:
    """answers a malformed request once, with a small problem, sends nothing to the backend and ends the connection."""
    async with (
        backend(answers()) as server,
        gateway(server.url, routes=[Route("p", "/**", "app", Auth.PUBLIC)]) as front,
    ):
        answer = await front.speak(data, until_close=True)
        assert status_of(answer) == status
        assert answer.count(b"HTTP/1.1 ") == 1
        assert len(answer) < 2_000
        document = json.loads(body_of(answer))
        assert reason in {None, document["code"]}
        assert document["code"] in KNOWN_REASONS
        assert not server.conversations
        assert len(front.audit.events) == 1


@pytest.mark.parametrize("token", ["A" * 65_536, "A" * 300_000])
async def test_a_huge_token_is_refused_and_not_repeated(token: str, caplog: pytest.LogCaptureFixture) -> None:
    """answers an oversized token with 431, in a small answer and a log that hold nothing of it."""
    caplog.set_level(logging.DEBUG)
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await front.speak(request(token=token), until_close=True)
        assert answer.split(b" ")[1] == b"431"
        assert len(answer) < 2_000
        assert b"AAAA" not in answer
        assert "AAAA" not in caplog.text
        assert not server.conversations


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        (("Authorization: Bearer a", f"Authorization: Bearer {GOOD}"), 400, "credential_ambiguous"),
        ((f"Authorization: Bearer {GOOD}, Bearer a",), 400, "credential_ambiguous"),
        ((f"Authorization: Bearer {GOOD} x",), 401, "credential_unsupported"),
        (("Authorization: Basic YTpi",), 401, "credential_unsupported"),
        ((f"Authorization_: Bearer {GOOD}",), 401, "sign_in_required"),
        ((f"X-Authorization: Bearer {GOOD}",), 401, "sign_in_required"),
    ],
)
async def test_exactly_one_credential_counts(fields: tuple[str, ...], status: int, code: str) -> None:
    """takes one bearer token in one Authorization field and no other shape of it."""
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await front.speak(request("GET / HTTP/1.1", *fields, token=None))
        assert (status_of(answer), json.loads(body_of(answer))["code"]) == (status, code)
        assert not server.conversations


async def test_people_are_redirected_and_scripts_are_told() -> None:
    """redirects a navigation to the login page and answers a script with 401 and a challenge."""
    async with backend(answers()) as server, gateway(server.url) as front:
        page = await front.speak(request("GET /a?b=1 HTTP/1.1", "Accept: text/html", token=None))
        script = await front.speak(request("GET /a?b=1 HTTP/1.1", token="forged"))
        api = await front.speak(request("GET /api/a HTTP/1.1", "Accept: text/html", token=None))
    assert head_of(page)["location"] == "/.gateway/login?rd=/a%3Fb%3D1&reason=sign_in_required"
    assert status_of(page) == 302
    assert 'error="invalid_token"' in head_of(script)["www-authenticate"]
    assert status_of(api) == 401
    assert "error" not in head_of(api)["www-authenticate"]
    for answer in (page, script, api):
        assert "no-store" in head_of(answer)["cache-control"]
        assert head_of(answer)["server"] == "session-gateway"


async def test_an_unmatched_path_is_denied() -> None:
    """answers 403 for what no route publishes."""
    async with backend(answers()) as server, gateway(server.url, routes=[Route("a", "/a/**", "app")]) as front:
        answer = await front.speak(request("GET /b HTTP/1.1"))
        assert (status_of(answer), json.loads(body_of(answer))["code"]) == (403, "no_route")


async def test_the_request_id_is_one_for_all() -> None:
    """gives client, backend and log the same fresh id, whatever an untrusted client sent."""
    async with backend(answers()) as server, gateway(server.url) as front:
        answer = await front.speak(request("GET / HTTP/1.1", "X-Request-Id: mine"))
        given = head_of(answer)["x-request-id"]
        assert given != "mine"
        assert ("X-Request-Id", given) in server.fields()
        assert front.audit.events[0].request_id == given


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-123", True), ("a b", False), ("x" * 129, False), ("<b>", False), ("", False)]
)
async def test_a_trusted_peers_request_id_is_kept(sent: str, kept: bool) -> None:
    """keeps a request id from a trusted proxy when it is harmless."""
    async with backend(answers()) as server, gateway(server.url, trusted=[LOOPBACK]) as front:
        answer = await front.speak(request("GET / HTTP/1.1", f"X-Request-Id: {sent}"))
        assert (head_of(answer)["x-request-id"] == sent) is kept


async def test_a_malformed_proxy_chain_is_refused() -> None:
    """refuses a request whose trusted proxy reported nonsense, rather than guessing an address."""
    async with backend(answers()) as server, gateway(server.url, trusted=[LOOPBACK]) as front:
        answer = await front.speak(request("GET / HTTP/1.1", "X-Forwarded-For: nonsense"))
        assert (status_of(answer), json.loads(body_of(answer))["code"]) == (400, "forwarded_invalid")


async def test_a_new_guard_counts_from_the_next_request() -> None:
    """judges by the guard that is set, on connections that exist already."""
    async with backend(answers()) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            writer.write(request())
            assert status_of(await read_answer(reader)) == 200
            front.proxy.replace(
                SessionGuard(
                    routes=RouteTable([]),
                    verifier=front.verifier,
                    revocation=None,
                    addresses=AddressResolver(),
                    clock=SystemClock(),
                    generation=1,
                ),
                {"app": front.upstream},
            )
            writer.write(request())
            assert status_of(await read_answer(reader)) == 403
        writer.close()


async def test_a_route_without_upstream_is_refused_at_start() -> None:
    """says which route names no upstream, before anything is served."""
    with pytest.raises(ConfigError, match="elsewhere"):
        async with gateway("http://127.0.0.1:1", routes=[Route("r", "/**", "elsewhere")]):
            pass


async def test_a_port_that_is_taken_is_named() -> None:
    """says which port is taken and what to do about it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with gateway("http://127.0.0.1:1") as front:
            with pytest.raises(ConfigError, match=f"port {port} is already in use") as caught:
                await front.proxy.start("127.0.0.1", port)
    assert "--port" in caught.value.hint


async def test_closing_waits_for_what_is_in_flight() -> None:
    """lets a request in flight finish when it closes, and takes no new connection meanwhile."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.body(await conversation.head())
        arrived.set()
        await go_on.wait()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request("POST /p HTTP/1.1", body=b"x"))
        async with asyncio.timeout(PATIENCE):
            await arrived.wait()
            closing = asyncio.create_task(front.proxy.close(PATIENCE))
            await asyncio.sleep(0)
            with contextlib.suppress(OSError):
                await front.connect()
                pytest.fail("a new connection was taken")
            go_on.set()
            assert body_of(await read_answer(reader)) == b"done"
            await closing
            assert await reader.read() == b""
        writer.close()


async def test_closing_cuts_what_takes_too_long() -> None:
    """ends after its grace however long a request would take."""
    arrived = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        arrived.set()
        await conversation.to_end()

    async with backend(script) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        writer.write(request())
        async with asyncio.timeout(PATIENCE):
            await arrived.wait()
            await front.proxy.close(0.05)
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("start", [b"", b"GET / HT", request(token=None)])
async def test_closing_does_not_wait_for_idle_clients(start: bytes) -> None:
    """ends connections that are idle, or within a head, without waiting for them."""
    async with gateway("http://127.0.0.1:1") as front:
        reader, writer = await front.connect()
        writer.write(start)
        if len(start) > 10:
            assert status_of(await read_answer(reader)) == 401
        async with asyncio.timeout(1.0):
            await front.proxy.close(PATIENCE)
            assert await reader.read() == b""
        writer.close()
