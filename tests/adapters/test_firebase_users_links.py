"""Links that verify an address: firebase-admin against the embedded provider and a stand-in."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.adapters.firebase_users import BearerSecret, FirebaseDirectory
from gateway.errors import RevocationUnavailable
from gateway.idp import IdentityProvider
from tests.support.accounts import AccountServer
from tests.support.idp import EMAIL, PASSWORD, PROJECT, SETTINGS, key_source


async def test_a_link_for_an_account_that_exists() -> None:
    """has a link made for an address that somebody has, and none for one that nobody has."""
    provider = IdentityProvider(SETTINGS, key_source=key_source)
    async with TestServer(provider.app) as server:
        endpoint = str(server.make_url("/identitytoolkit.googleapis.com"))
        directory = FirebaseDirectory(PROJECT, BearerSecret("owner"), endpoint=endpoint)
        try:
            assert await directory.verification_link(None, EMAIL) is None
            await provider.create_account(EMAIL, PASSWORD)
            assert "oobCode=" in (await directory.verification_link(None, EMAIL) or "")
        finally:
            await directory.close()


@pytest.mark.parametrize("body", [{}, {"oobLink": ""}, {"oobLink": 7}])
async def test_an_answer_without_a_link_is_a_failure(body: dict[str, Any]) -> None:
    """fails when the account service answers without a link, and when it is away; the address is in no text."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(body)

    async with AccountServer() as server:
        server.answer = answer
        directory = FirebaseDirectory("demo-project", BearerSecret("owner"), endpoint=server.url)
        with pytest.raises(RevocationUnavailable) as raised:
            await directory.verification_link(None, EMAIL)
        assert EMAIL not in str(raised.value)
    with pytest.raises(RevocationUnavailable):
        await directory.verification_link(None, EMAIL)
    await directory.close()
