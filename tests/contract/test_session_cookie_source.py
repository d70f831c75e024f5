"""What makes Firebase session cookies: firebase-admin against the embedded provider and a stand-in."""

from __future__ import annotations

import aiohttp
import jwt
import pytest

from gateway.adapters.firebase_users import BearerSecret, FirebaseDirectory
from gateway.core.ports import SessionCookieSource
from gateway.errors import RevocationUnavailable
from gateway.idp import IdentityProvider, ProviderSettings
from tests.support.accounts import AccountServer

PROJECT = "demo-project"
HOUR = 3_600


async def test_a_cookie_for_the_tokens_user() -> None:
    """... has a cookie made that names the same user, for as long as was asked."""
    provider = IdentityProvider(
        ProviderSettings(project_id=PROJECT, database=None, port=0, password_profile="testing"),
    )
    await provider.start()
    endpoint = f"{provider.url}/identitytoolkit.googleapis.com"
    directory = FirebaseDirectory(PROJECT, BearerSecret("owner"), endpoint=endpoint)
    source: SessionCookieSource = directory
    body = {"email": "ada@example.com", "password": "correct horse", "returnSecureToken": True}
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{endpoint}/v1/accounts:signUp?key=k", json=body) as response,
        ):
            account = await response.json()
        cookie = await source.create_session_cookie(account["idToken"], HOUR)
        with pytest.raises(RevocationUnavailable) as refused:
            await source.create_session_cookie("no.token.atall", HOUR)
        assert "no.token.atall" not in str(refused.value)
    finally:
        await directory.close()
        await provider.close()
    payload = jwt.decode(cookie, options={"verify_signature": False})
    assert (payload["iss"], payload["sub"]) == (f"https://session.firebase.google.com/{PROJECT}", account["localId"])
    assert payload["exp"] - payload["iat"] == HOUR


async def test_no_cookie_without_the_account_service() -> None:
    """... fails closed when the account service refuses, or is down."""
    async with AccountServer() as server:
        directory = FirebaseDirectory(PROJECT, BearerSecret("owner"), endpoint=server.url)
        with pytest.raises(RevocationUnavailable):
            await directory.create_session_cookie("a.b.c", HOUR)
        assert server.requests[-1].path.endswith(f"/v1/projects/{PROJECT}:createSessionCookie")
        assert server.requests[-1].body == {"idToken": "a.b.c", "validDuration": HOUR}
    with pytest.raises(RevocationUnavailable):
        await directory.create_session_cookie("a.b.c", HOUR)
    await directory.close()
