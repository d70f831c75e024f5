"""The notes application: whose notes, who may pin, and pages that end with their session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

import gateway.testing
from tests.examples.test_five_lines import load

APP = Path(__file__).parents[2] / "examples" / "notes" / "app.py"
Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def notes() -> AsyncIterator[tuple[Client, gateway.testing.Users]]:
    app = load(APP, "notes_example").make_app()
    users = gateway.testing.users(app)
    async with TestClient(TestServer(app)) as client:
        yield client, users


async def test_each_user_sees_their_own() -> None:
    """... shows a user their notes, and nobody else's."""
    async with notes() as (client, users):
        ada, eve = users.sign_in("ada"), users.sign_in("eve")
        async with client.post("/notes", data={"text": "<of ada>"}, headers=ada) as response:
            assert "&lt;of ada&gt;" in await response.text()
        async with client.get("/notes", headers=eve) as response:
            assert "of ada" not in await response.text()
        async with client.get("/notes") as response:
            assert response.status == 401
        async with client.get("/") as response:
            assert response.status == 200


async def test_only_editors_pin_and_not_with_an_old_sign_in() -> None:
    """... lets editors pin who signed in within the hour."""
    async with notes() as (client, users):
        for about, status in (
            ({}, 403),
            ({"roles": ["editor"], "age": 3_700}, 401),
            ({"roles": ["editor"]}, 200),
        ):
            headers = users.sign_in("eve", **about)
            async with client.post("/pinned", data={"text": "for all"}, headers=headers) as response:
                assert response.status == status
        async with client.get("/notes", headers=users.sign_in("ada")) as response:
            assert "for all" in await response.text()


async def test_an_open_page_ends_with_its_session() -> None:
    """... tells an open page of new notes, and closes it when the session is revoked."""
    async with notes() as (client, users):
        headers = users.sign_in("ada")
        async with client.ws_connect("/live", headers=headers) as socket:
            async with client.post("/notes", data={"text": "new"}, headers=headers) as response:
                assert response.status == 200
            assert await socket.receive_str(timeout=5) == "new"
            users.revoke("ada")
            message = await socket.receive(timeout=5)
            assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4401, "session_revoked")


async def test_a_foreign_page_cannot_post_a_note() -> None:
    """... refuses a note that another site's page sends, even with the user's token."""
    async with notes() as (client, users):
        headers = users.sign_in("ada") | {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        async with client.post("/notes", data={"text": "x"}, headers=headers) as response:
            assert response.status == 403
