"""A provider in memory with a clock that the test moves, and a small REST client."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import jwt
import pytest
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.idp import IdentityProvider, ProviderSettings
from gateway.tokens.mint import PrivateKeySource, generate_private_key

PROJECT = "demo-idp"
SETTINGS = ProviderSettings(project_id=PROJECT, database=None, password_profile="testing", port=0)
START = 1_800_000_000.0
OWNER = {"Authorization": "Bearer owner"}


class MovableClock:
    """Stands still until moved."""

    def __init__(self, now: float = START) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time - START

    def advance(self, seconds: float) -> None:
        self.time += seconds


class Reply:
    """Status and body of one answer."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    @property
    def ok(self) -> dict[str, Any]:
        assert self.status == 200, self.body
        assert isinstance(self.body, dict)
        return self.body

    @property
    def error(self) -> str:
        """The message, after checking the shape of the envelope."""
        error = self.body["error"]
        assert error["code"] == self.status >= 400
        assert error["errors"] == [{"message": error["message"], "reason": "invalid", "domain": "global"}]
        assert ("status" in error) == (self.status != 400 or error.get("status") == "INVALID_ARGUMENT")
        return str(error["message"])


class Api:
    """Speaks to a provider the way SDKs in emulator mode do."""

    def __init__(self, provider: IdentityProvider, client: TestClient[Any, Any], clock: MovableClock) -> None:
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

    async def sign_up(self, email: str = "ada@example.com", password: str = "correct horse") -> dict[str, Any]:
        return (await self.call("signUp", email=email, password=password, returnSecureToken=True)).ok

    async def sign_in(self, email: str = "ada@example.com", password: str = "correct horse") -> Reply:
        return await self.call("signInWithPassword", email=email, password=password, returnSecureToken=True)

    async def account(self, uid: str) -> dict[str, Any]:
        """The user record, as an administrator sees it."""
        users = (await self.admin("/accounts:lookup", localId=[uid])).ok["users"]
        assert isinstance(users, list)
        user = users[0]
        assert isinstance(user, dict)
        return user

    def code(self, to: str) -> str:
        """The code in the newest mail to an address."""
        mail = self.provider.mailbox.latest(to)
        assert mail is not None
        return mail.link.partition("oobCode=")[2].partition("&")[0]


def claims(token: str) -> dict[str, Any]:
    """The payload of a token, unverified."""
    payload: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return payload


@pytest.fixture(scope="session")
def key_source() -> PrivateKeySource:
    """Hands out four RSA keys in turn: generating one takes a tenth of a second."""
    keys = [generate_private_key() for _ in range(4)]
    turns = itertools.cycle(keys)

    def source() -> rsa.RSAPrivateKey:
        return next(turns)

    return source


Start = Callable[..., Awaitable[Api]]


@pytest.fixture
async def start(key_source: PrivateKeySource) -> AsyncIterator[Start]:
    """Starts providers: keyword arguments are settings or the provider's own."""
    async with AsyncExitStack() as stack:

        async def begin(
            *, clock: MovableClock | None = None, hooks: Mapping[str, Any] | None = None, **settings: Any
        ) -> Api:
            clock = clock or MovableClock()
            provider = IdentityProvider(
                replace(SETTINGS, **settings), clock=clock, key_source=key_source, **(hooks or {})
            )
            client = TestClient(TestServer(provider.app))
            await stack.enter_async_context(client)
            return Api(provider, client, clock)

        yield begin


@pytest.fixture
async def api(start: Start) -> Api:
    """A provider with the default settings, in memory."""
    return await start()
