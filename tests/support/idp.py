"""An identity provider in memory with a clock that the test moves, and a small REST client for it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import jwt
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.idp import IdentityProvider, ProviderSettings
from gateway.tokens.mint import generate_private_key
from tests.support.clock import FakeClock

PROJECT: Final = "demo-idp"
SETTINGS: Final = ProviderSettings(project_id=PROJECT, database=None, password_profile="testing", port=0)
OWNER: Final = {"Authorization": "Bearer owner"}
EMAIL: Final = "ada@example.com"
PASSWORD: Final = "correct horse"


@functools.cache
def _keys() -> itertools.cycle[rsa.RSAPrivateKey]:
    return itertools.cycle([generate_private_key() for _ in range(4)])


def key_source() -> rsa.RSAPrivateKey:
    """Hands out four RSA keys in turn: making one takes a tenth of a second."""
    return next(_keys())


class Reply:
    """Status, body and headers of one answer."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    @property
    def ok(self) -> dict[str, Any]:
        """The body of a success."""
        assert self.status == 200, self.body
        assert isinstance(self.body, dict)
        return self.body

    @property
    def error(self) -> str:
        """The message of a failure, after checking the shape of the envelope."""
        error = self.body["error"]
        assert error["code"] == self.status >= 400
        assert error["errors"] == [{"message": error["message"], "reason": "invalid", "domain": "global"}]
        assert ("status" in error) == (self.status != 400 or error.get("status") == "INVALID_ARGUMENT")
        return str(error["message"])


class Api:
    """Speaks to a provider the way SDKs in emulator mode do."""

    def __init__(self, provider: IdentityProvider, client: TestClient[Any, Any], clock: FakeClock) -> None:
        self.provider = provider
        self.client = client
        self.clock = clock

    async def request(self, method: str, path: str, **kwargs: Any) -> Reply:
        async with self.client.request(method, path, allow_redirects=False, **kwargs) as response:
            body = await response.json() if response.content_type == "application/json" else await response.text()
            return Reply(response.status, body, response.headers)

    async def call(self, method: str, /, **body: Any) -> Reply:
        """A client method of v1."""
        return await self.request("POST", f"/identitytoolkit.googleapis.com/v1/accounts:{method}?key=k", json=body)

    async def admin(self, suffix: str, http_method: str = "POST", /, **body: Any) -> Reply:
        """A privileged method; ``suffix`` comes behind the project."""
        path = f"/identitytoolkit.googleapis.com/v1/projects/{PROJECT}{suffix}"
        return await self.request(http_method, path, headers=OWNER, json=body if http_method == "POST" else None)

    async def refresh(self, refresh_token: str) -> Reply:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self.request("POST", "/securetoken.googleapis.com/v1/token?key=k", data=form)

    async def sign_up(self, email: str = EMAIL, password: str = PASSWORD) -> dict[str, Any]:
        return (await self.call("signUp", email=email, password=password, returnSecureToken=True)).ok

    async def sign_in(self, email: str = EMAIL, password: str = PASSWORD) -> Reply:
        return await self.call("signInWithPassword", email=email, password=password, returnSecureToken=True)

    async def account(self, uid: str) -> dict[str, Any]:
        """The user record, as an administrator sees it."""
        users = (await self.admin("/accounts:lookup", localId=[uid])).ok["users"]
        user = users[0]
        assert isinstance(user, dict)
        return user

    async def mail_code(self, request_type: str, **body: Any) -> str:
        """Have a code mailed and take it out of the mailbox."""
        before = len(self.provider.mailbox)
        (await self.call("sendOobCode", requestType=request_type, **body)).ok  # noqa: B018 - asserts success
        mails = list(self.provider.mailbox)
        assert len(mails) == before + 1
        return code_in(mails[-1].link)


def code_in(link: str) -> str:
    """The code of a mailed link."""
    return link.partition("oobCode=")[2].partition("&")[0]


def claims(token: str) -> dict[str, Any]:
    """The payload of a token, unverified."""
    payload: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return payload


@asynccontextmanager
async def running(
    *, clock: FakeClock | None = None, hooks: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Api]:
    """A provider behind a test server. ``hooks`` are arguments of the provider itself, the rest are settings."""
    clock = clock or FakeClock()
    provider = IdentityProvider(replace(SETTINGS, **settings), clock=clock, key_source=key_source, **(hooks or {}))
    async with TestClient(TestServer(provider.app)) as client:
        yield Api(provider, client, clock)
