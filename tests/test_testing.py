"""The helper for tests of applications, used as an application's author uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import gateway
import gateway.testing
from gateway.clock import SystemClock
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.verifier import IdTokenVerifier

Client = TestClient[web.Request, web.Application]


async def notes(request: web.Request) -> web.Response:
    session = gateway.session_of(request)
    assert session is not None
    return web.json_response({"uid": session.principal.uid, "email": session.claims.email})


@gateway.require(roles="admin")
async def admin(request: web.Request) -> web.Response:
    return await notes(request)


@gateway.require(second_factor=True, max_auth_age=60)
async def money(request: web.Request) -> web.Response:
    return await notes(request)


def make_app(**tables: Any) -> web.Application:
    app = web.Application()
    app.add_routes([web.get("/notes", notes), web.get("/admin", admin), web.get("/money", money)])
    gateway.setup(app, {"firebase": {"project_id": "acme", "api_key": "k"}, **tables})
    return app


@asynccontextmanager
async def under_test(**tables: Any) -> AsyncIterator[tuple[Client, gateway.testing.Users]]:
    app = make_app(**tables)
    users = gateway.testing.users(app)
    async with TestClient(TestServer(app)) as client:
        yield client, users


async def test_one_line_signs_in() -> None:
    """... lets in whom the test signs in, and nobody else."""
    async with under_test() as (client, users):
        async with client.get("/notes") as response:
            assert response.status == 401
        async with client.get("/notes", headers=users.sign_in("ada")) as response:
            assert await response.json() == {"uid": "ada", "email": "ada@example.com"}


async def test_what_a_user_is_like_counts() -> None:
    """... judges roles, factors and ages of the users of a test as it does outside."""
    async with under_test() as (client, users):
        cases: list[tuple[str, dict[str, Any], int]] = [
            ("/admin", {}, 403),
            ("/admin", {"roles": ["admin"]}, 200),
            ("/money", {}, 401),
            ("/money", {"second_factor": "phone"}, 200),
            ("/money", {"second_factor": "phone", "age": 61}, 401),
            ("/notes", {"tenant": "other"}, 401),
            ("/notes", {"address": "192.0.2.9"}, 200),  # the client is on this machine, whose address says nothing
        ]
        for path, about, status in cases:
            async with client.get(path, headers=users.sign_in(**about)) as response:
                assert (path, about, response.status) == (path, about, status)


@pytest.mark.parametrize("end", ["revoke", "disable", "delete"])
async def test_sessions_end(end: str) -> None:
    """... refuses a user on the very next request after the test ended their sessions or their account."""
    async with under_test() as (client, users):
        headers = users.sign_in("ada")
        async with client.get("/notes", headers=headers) as response:
            assert response.status == 200
        getattr(users, end)("ada")
        async with client.get("/notes", headers=headers) as response:
            assert response.status == 401
        async with client.get("/notes", headers=users.sign_in("eve")) as response:
            assert response.status == 200


async def test_tokens_of_one_test_mean_nothing_elsewhere() -> None:
    """... signs with a key that a gateway outside of tests refuses by its name."""
    async with under_test() as (_, users):
        token = users.token()
    verifier = IdTokenVerifier(IdTokenRules("acme"), gateway.testing._OneKey(), SystemClock())
    with pytest.raises(gateway.UnknownKey):
        await verifier.verify(token)


async def test_it_says_when_it_is_too_early() -> None:
    """... says what is missing when a token is asked for before the application runs."""
    users = gateway.testing.users(make_app())
    with pytest.raises(RuntimeError, match="start the test client first"):
        users.sign_in()


async def test_the_cookie_works_too() -> None:
    """... takes the session cookie that the application itself sets for a token."""
    async with under_test() as (client, users):
        same_site = {"Origin": f"http://127.0.0.1:{client.port}", "Sec-Fetch-Site": "same-origin"}
        async with client.post("/.gateway/session", headers=users.sign_in() | same_site) as response:
            assert response.status in {200, 204}
            cookie = response.headers["Set-Cookie"].partition(";")[0]
        async with client.get("/notes", headers={"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}) as response:
            assert response.status == 200
