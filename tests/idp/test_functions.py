"""blocking-functions.md sections 1.2 and 3.4: registering functions and calling them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.errors import ConfigError
from gateway.idp import FunctionSettings
from gateway.idp.functions import INVALID_EVENT, INVALID_URI, MAX_ANSWER, Caller, is_absolute
from gateway.idp.provider import check_settings
from tests.support.idp import EMAIL, OWNER, PASSWORD, PROJECT, SETTINGS, Api, running

CONFIG = f"/identitytoolkit.googleapis.com/v2/projects/{PROJECT}/config"
URL = "https://fn.example.test/f"


async def patch(api: Api, blocking: Any, mask: str = "blockingFunctions") -> Any:
    return await api.request(
        "PATCH", f"{CONFIG}?updateMask={mask}", json={"blockingFunctions": blocking}, headers=OWNER
    )


async def registered(api: Api) -> dict[str, Any]:
    blocking: dict[str, Any] = (await api.request("GET", CONFIG, headers=OWNER)).ok["blockingFunctions"]
    return blocking


async def test_registration_replaces_the_whole(api: Api) -> None:
    """the provider registers what is sent, with the time, and switches off what is absent."""
    triggers = {event: {"functionUri": URL} for event in ("beforeCreate", "beforeSendSms")}
    flags = {"idToken": True, "accessToken": False}
    (await patch(api, {"triggers": triggers, "forwardInboundCredentials": flags})).ok  # noqa: B018 - asserts success
    blocking = await registered(api)
    assert {event: trigger["functionUri"] for event, trigger in blocking["triggers"].items()} == {
        "beforeCreate": URL,
        "beforeSendSms": URL,
    }
    assert all(trigger["updateTime"].endswith("Z") for trigger in blocking["triggers"].values())
    assert blocking["forwardInboundCredentials"] == {"idToken": True}
    await patch(api, {"triggers": {"beforeSignIn": {"functionUri": URL}}})
    blocking = await registered(api)
    assert list(blocking["triggers"]) == ["beforeSignIn"]
    assert "forwardInboundCredentials" not in blocking
    await patch(api, {})
    assert await registered(api) == {}


async def test_masks_name_the_part(api: Api) -> None:
    """the provider leaves alone what the mask does not name."""
    both = {"triggers": {"beforeCreate": {"functionUri": URL}}, "forwardInboundCredentials": {"idToken": True}}
    await patch(api, both)
    await patch(api, {}, mask="blockingFunctions.triggers")
    assert await registered(api) == {"forwardInboundCredentials": {"idToken": True}}
    await patch(api, both, mask="signIn.allowDuplicateEmails")
    assert await registered(api) == {"forwardInboundCredentials": {"idToken": True}}


@pytest.mark.parametrize(
    ("triggers", "message"),
    [
        ({"beforeLunch": {"functionUri": URL}}, INVALID_EVENT),
        ({"beforeCreate": {"functionUri": "/relative"}}, INVALID_URI),
        ({"beforeCreate": {"functionUri": ""}}, INVALID_URI),
        ({"beforeCreate": {"functionUri": "ftp://fn.test/"}}, INVALID_URI),
        ({"beforeSignIn": {"functionUri": "https://"}}, INVALID_URI),
        ({"beforeCreate": {"functionUri": URL}, "beforeSignIn": {"functionUri": "x"}}, INVALID_URI),
    ],
)
async def test_what_cannot_be_registered(api: Api, triggers: dict[str, Any], message: str) -> None:
    """the provider refuses unknown events and addresses that are none, and then registers nothing of it."""
    reply = await patch(api, {"triggers": triggers})
    assert (reply.status, reply.error) == (400, message)
    assert await registered(api) == {}


async def test_only_administrators_register(api: Api) -> None:
    """the provider lets nobody without the administrator's credential read or write the configuration."""
    for method in ("GET", "PATCH"):
        assert (await api.request(method, f"{CONFIG}?key=k", json={})).status in {400, 401}


@asynccontextmanager
async def function(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A function's server; any path."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/a/path?with=query"))


async def test_call_on_the_wire() -> None:
    """the provider posts exactly one token to exactly the registered address, signed with the key of ID tokens."""
    seen: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, str(request.url), dict(request.headers), await request.json()))
        return web.json_response({})

    async with function(answer) as url, running(functions=FunctionSettings(triggers={"beforeSignIn": url})) as api:
        user = await api.sign_up()
        realm = api.provider._opened()
        key = (await realm.db.run(realm.id_keys.signer)).private_key.public_key()
    ((method, called, headers, body),) = seen
    assert (method, called, headers["Content-Type"]) == ("POST", url, "application/json")
    assert "Authorization" not in headers
    assert "Cookie" not in headers
    assert list(body) == ["data"]
    token = body["data"]["jwt"]
    header = jwt.get_unverified_header(token)
    assert set(header) == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == ("RS256", "JWT")
    options: Any = {"verify_exp": False, "verify_iat": False}
    event = jwt.decode(token, key, algorithms=["RS256"], audience=url, options=options)
    assert (event["sub"], event["event_type"]) == (user["localId"], "beforeSignIn")


async def test_unsigned_events() -> None:
    """the provider sends events as the emulator does where it is told to: no signature, no key, two dots."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((await request.json())["data"]["jwt"])
        return web.json_response({})

    async with function(answer) as url:
        settings = FunctionSettings(triggers={"beforeCreate": url}, unsigned=True)
        async with running(functions=settings) as api:
            await api.sign_up()
    (token,) = seen
    assert token.count(".") == 2
    assert token.endswith(".")
    assert jwt.get_unverified_header(token) == {"alg": "none", "typ": "JWT"}


PREFIX = "BLOCKING_FUNCTION_ERROR_RESPONSE : "


async def test_functions_that_do_not_answer() -> None:
    """the provider refuses when a function stalls, redirects, breaks off or answers without end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match (await request.json())["data"]["jwt"] and state["mode"]:
            case "stall":
                await released.wait()
            case "redirect":
                raise web.HTTPFound("/elsewhere")
            case "break":
                assert request.transport is not None
                request.transport.close()
        return web.Response(body=b" " * (MAX_ANSWER + 1))

    released = asyncio.Event()
    state = {"mode": "stall"}
    refusals: dict[str, str] = {}
    async with function(answer) as url:
        settings = FunctionSettings(triggers={"beforeCreate": url}, deadline=0.2)
        async with running(functions=settings) as api:
            for mode in ("stall", "redirect", "break", "endless"):
                state["mode"] = mode
                refusals[mode] = (await api.call("signUp", email=EMAIL, password=PASSWORD)).error
            assert "users" not in (await api.admin("/accounts:lookup", email=[EMAIL])).ok
        released.set()
    assert refusals["stall"] == PREFIX + "Cloud function deadline exceeded."
    assert refusals["redirect"].startswith(PREFIX + "HTTP Cloud Function returned an error: 302")
    assert refusals["break"] == PREFIX + "HTTP Cloud Function returned an error: the function could not be reached"
    assert refusals["endless"] == refusals["break"]


async def test_nobody_is_there() -> None:
    """the provider refuses when nobody listens where the function should be."""
    settings = FunctionSettings(triggers={"beforeCreate": "http://127.0.0.1:1/"})
    async with running(functions=settings) as api:
        assert "could not be reached" in (await api.call("signUp", email=EMAIL, password=PASSWORD)).error


async def test_functions_in_process() -> None:
    """the provider calls a function of its own process by the address it is registered under, in the wire's form."""
    bodies: list[bytes] = []

    async def respond(body: bytes) -> tuple[int, dict[str, Any]]:
        bodies.append(body)
        return 200, {"userRecord": {"displayName": "Guest", "updateMask": "displayName"}}

    settings = FunctionSettings(triggers={"beforeCreate": URL})
    async with running(hooks={"functions": {URL: respond}}, functions=settings) as api:
        user = await api.sign_up()
        assert (await api.account(user["localId"]))["displayName"] == "Guest"
    (body,) = bodies
    assert list(json.loads(body)) == ["data"]


async def test_closing_what_was_never_used() -> None:
    """the provider closes without having called anybody."""
    await Caller().close()


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        (FunctionSettings(triggers={"beforeLunch": URL}), "no blocking event"),
        (FunctionSettings(triggers={"beforeCreate": "x"}), "no URL"),
        (FunctionSettings(deadline=0), "deadline"),
        (FunctionSettings(deadline=61), "deadline"),
        (FunctionSettings(error_format="x"), "error format"),  # type: ignore[arg-type]  # that is the point
    ],
)
def test_settings_that_cannot_work(functions: FunctionSettings, words: str) -> None:
    """the provider does not start with functions that cannot work."""
    with pytest.raises(ConfigError, match=words):
        check_settings(replace(SETTINGS, functions=functions))


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        ("https://fn.test/x?y=z", True),
        ("http://127.0.0.1:8081", True),
        ("http://[::1]:8081/", True),
        ("https://", False),
        ("//fn.test/", False),
        ("http://[x/", False),
        ("http://fn.test:99999/", False),
        ("http://fn.test/\n", False),
        ("http://user:secret@fn.test/", False),
    ],
)
def test_absolute_addresses(uri: str, good: bool) -> None:
    """the provider tells addresses of functions from what is none."""
    assert is_absolute(uri) is good


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/a%2fb?x=%7e&y=a+b", "/a%2fb?x=%7e&y=a+b"),
        ("/a/../b;c=d|e", "/a/../b;c=d|e"),
        ("", "/"),
        ("/a b/é", "/a%20b/%C3%A9"),
    ],
)
async def test_a_function_is_called_at_the_registered_url(path: str, target: str) -> None:
    """the provider calls the very URL that is registered, spelled as it is wherever a request can be."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.json_response({})

    application, caller = web.Application(), Caller()
    application.router.add_post("/{path:.*}", answer)
    async with TestServer(application) as server:
        assert await caller.post(f"http://127.0.0.1:{server.port}{path}", "token") == (200, b"{}")
    await caller.close()
    assert asked == [target]
