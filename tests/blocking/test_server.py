"""Blocking functions over HTTP."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.blocking import BlockingFunctions, HttpsError
from gateway.blocking.server import MAX_BODY, _is_this_machine
from tests.support import events
from tests.support.clock import eventually


@asynccontextmanager
async def serving(functions: BlockingFunctions) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(functions.application())) as client:
        yield client


async def post(client: TestClient[Any, Any], path: str, data: bytes, **headers: str) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    # As a file, because aiohttp's client warns of a megabyte in bytes.
    async with client.post(path, data=io.BytesIO(data), headers=headers) as response:
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(await response.read())


def example() -> BlockingFunctions:
    functions = events.functions()
    functions.before_create(lambda user, context: {"displayName": "Gäst"})
    functions.before_sign_in(lambda user, context: None)
    return functions


async def test_an_event_is_answered() -> None:
    """... answers a POST with 200 and a JSON object, in UTF-8."""
    async with serving(example()) as client:
        record = {"displayName": "Gäst", "updateMask": "displayName"}
        assert await post(client, "/", events.body(events.token())) == (200, {"userRecord": record})
        assert await post(client, "/any/path", events.body(events.token("beforeSignIn"))) == (200, {})


@pytest.mark.parametrize("path", ["/before-create", "/hooks/beforeCreate", "/beforeUserCreated/", "/before_create"])
async def test_a_path_may_name_its_event(path: str) -> None:
    """... takes one event only at an address that names it."""
    async with serving(example()) as client:
        assert (await post(client, path, events.body(events.token())))[0] == 200
        status, answer = await post(client, path, events.body(events.token("beforeSignIn")))
    assert (status, answer["error"]["message"]) == (400, 'Expected "beforeCreate" but received "beforeSignIn".')


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_only_post_is_a_call(method: str) -> None:
    """... refuses other methods with the documented error."""
    async with serving(example()) as client, client.request(method, "/") as response:
        assert (response.status, (await response.json())["error"]) == (
            400,
            {"code": 400, "message": f'Request has invalid method "{method}".', "status": "INVALID_ARGUMENT"},
        )


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("APPLICATION/JSON;charset=UTF-8", 200),
        ("text/plain", 400),
        ("text/plain; x=application/json", 400),
        ("application/json2", 400),
        ("application/x-www-form-urlencoded", 400),
        ("", 400),
    ],
)
async def test_a_call_is_json(content_type: str, status: int) -> None:
    """... takes JSON in any spelling of its media type, with parameters, and nothing else."""
    async with serving(example()) as client:
        token = events.body(events.token("beforeSignIn"))
        found, answer = await post(client, "/", token, **{"Content-Type": content_type})
    assert found == status
    assert status == 200 or answer["error"]["status"] == "INVALID_ARGUMENT"
    assert status == 200 or f'"{content_type}"' in answer["error"]["message"]


@pytest.mark.parametrize("size", [MAX_BODY + 1, 1024 * 1024, 3 * 1024 * 1024])
async def test_a_large_body_is_refused(size: int) -> None:
    """... refuses a body beyond the limit, a megabyte say, as a wrong call."""
    async with serving(example()) as client:
        status, answer = await post(client, "/", b"x" * size)
        assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert (await post(client, "/", events.body(events.token())))[0] == 200


async def test_a_broken_encoding_is_refused() -> None:
    """... refuses a body that is not compressed as it says."""
    async with serving(example()) as client:
        status, answer = await post(client, "/", b"not gzip", Content_Encoding="gzip")
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_what_stands_beside_the_token_is_not_believed() -> None:
    """... reads the event out of the token alone, whatever else the body and the headers say."""
    functions = events.functions()
    functions.before_create(lambda user, context: {"displayName": f"{user.email} {context.ip_address}"})
    body = json.loads(events.body(events.token()))
    body |= {"user_record": {"uid": "evil", "email": "evil@evil.test"}, "ip_address": "6.6.6.6"}
    body["data"] |= {"user_record": {"email": "evil@evil.test"}, "user": {"email": "evil@evil.test"}}
    async with serving(functions) as client:
        _, answer = await post(client, "/", json.dumps(body).encode(), X_Forwarded_For="6.6.6.6", Authorization="x")
    assert answer["userRecord"]["displayName"] == "ada@example.com 203.0.113.9"


@pytest.mark.parametrize(("code", "status"), [("cancelled", 499), ("data-loss", 500), ("deadline-exceeded", 504)])
async def test_each_code_has_its_http_status(code: str, status: int) -> None:
    """... answers with the status of the code, also with the one that HTTP does not know."""
    functions = events.functions()

    @functions.before_create
    def refuse(user: Any, context: Any) -> None:
        raise HttpsError(code, "No – nein")

    async with serving(functions) as client:
        found, answer = await post(client, "/", events.body(events.token()))
    assert (found, answer["error"]["code"], answer["error"]["message"]) == (status, status, "No – nein")


async def test_the_application_can_be_mounted() -> None:
    """... answers below a path of somebody else's application, started and stopped with it."""
    functions = example()
    app = web.Application()
    app.add_subapp("/hooks/", functions.application())
    async with TestClient(TestServer(app)) as client:
        assert (await post(client, "/hooks/before-create", events.body(events.token())))[0] == 200
        assert (await client.get("/elsewhere")).status == 404


async def test_deferred_work_outlives_the_answer() -> None:
    """... does deferred work after the answer, and finishes it before the server is gone."""
    functions = events.functions()
    let_go = asyncio.Event()
    done: list[bool] = []

    async def work() -> None:
        await let_go.wait()
        done.append(True)

    functions.before_create(lambda user, context: context.defer(work))
    async with serving(functions) as client:
        assert await post(client, "/", events.body(events.token())) == (200, {})
        assert not done
        asyncio.get_running_loop().call_soon(let_go.set)
    assert done == [True]


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """... answers in time when the body never arrives."""
    functions = events.functions(deadline=0.1)
    server = TestServer(functions.application())
    await server.start_server()
    try:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
        assert b" 504 " in head
        writer.close()
        await writer.wait_closed()
    finally:
        await server.close()


async def test_the_emulators_events_come_from_this_machine() -> None:
    """... takes unsigned events from this machine."""
    functions = events.functions(emulator=True)
    functions.before_create(lambda user, context: None)
    async with serving(functions) as client:
        assert await post(client, "/", events.body(events.unsigned(events.claims()))) == (200, {})


@pytest.mark.parametrize(
    ("remote", "ours"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::ffff:127.0.0.1", True), (None, True), ("", True),
        ("203.0.113.9", False), ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("fe80::1%eth0", False), ("x", False),
    ],
)  # fmt: skip
def test_this_machine_is_told_by_its_address(remote: str | None, ours: bool) -> None:
    """... knows the addresses of this machine, IPv4-mapped ones included."""
    assert _is_this_machine(remote) is ours


async def test_a_stranger_gets_no_unsigned_event_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """... refuses a call from another machine while unsigned events are taken."""
    monkeypatch.setattr("gateway.blocking.server._is_this_machine", lambda remote: False)
    functions = events.functions(emulator=True)
    functions.before_create(lambda user, context: None)
    async with serving(functions) as client:
        status, answer = await post(client, "/", events.body(events.unsigned(events.claims())))
    assert (status, answer["error"]["status"]) == (403, "PERMISSION_DENIED")


async def test_the_server_survives_a_client_that_leaves() -> None:
    """... goes on when a client is gone before its answer, and does the deferred work all the same."""
    functions = events.functions()
    entered, let_go = asyncio.Event(), asyncio.Event()
    done: list[bool] = []

    @functions.before_create
    async def wait(user: Any, context: Any) -> None:
        context.defer(done.append, True)
        entered.set()
        await let_go.wait()

    async with serving(functions) as client:
        call = asyncio.create_task(post(client, "/", events.body(events.token())))
        await entered.wait()
        call.cancel()
        await asyncio.wait({call})
        let_go.set()
        await eventually(lambda: done)
        functions.before_sign_in(lambda user, context: None)
        assert (await post(client, "/", events.body(events.token("beforeSignIn"))))[0] == 200


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("details", [{1: 2}, {None: 1}, nested(64), nested(65), nested(900)])
async def test_odd_details_change_no_refusal(details: Any) -> None:
    """... sends the refusal as it is, whatever its details are."""
    functions = events.functions()

    @functions.before_create
    def refuse(user: Any, context: Any) -> None:
        raise HttpsError("aborted", "No.", details)

    async with serving(functions) as client:
        status, answer = await post(client, "/", events.body(events.token()))
    assert (status, answer["error"]["message"]) == (409, "No.")
    assert ("details" in answer["error"]) == (details == nested(64))


async def test_claims_as_deep_as_they_may_be() -> None:
    """... sends claims that were taken, however deep they are."""
    functions = events.functions()
    functions.before_create(lambda user, context: {"customClaims": {"a": nested(63)}})
    async with serving(functions) as client:
        status, answer = await post(client, "/", events.body(events.token()))
    assert (status, answer["userRecord"]["customClaims"]) == (200, {"a": nested(63)})


@pytest.mark.parametrize("limit", [10, 0])
async def test_the_limit_is_ours_wherever_we_are_mounted(limit: int) -> None:
    """... reads bodies up to its own limit, whatever that of the application around it is."""
    application = web.Application(client_max_size=limit)
    application.add_subapp("/hooks/", example().application())
    async with TestClient(TestServer(application)) as client:
        assert (await post(client, "/hooks/x", events.body(events.token())))[0] == 200
        status, answer = await post(client, "/hooks/x", b"{" + b" " * MAX_BODY)
    assert (status, answer["error"]["message"]) == (400, f"Request body is longer than {MAX_BODY} bytes.")
