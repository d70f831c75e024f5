"""Everything around the browser, in this process: provider, backend, foreign site, and the gateway between them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.blocking.builtin import record_sign_in_ip
from gateway.config.load import load
from gateway.config.model import Config
from gateway.core.ports import DecisionEvent
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.wiring import Gateway
from tests.engines.backend import Recorder, application
from tests.support.ports import free_port

PROJECT: Final = "demo-engines"
API_KEY: Final = "k"
PASSWORD: Final = "correct horse battery"  # made up


@dataclass(slots=True)
class Decisions:
    """An audit sink that remembers the reasons, by path."""

    seen: list[tuple[str, str, str]] = field(default_factory=list)

    def record(self, event: DecisionEvent) -> None:
        """Keep method, path and the reason's id."""
        self.seen.append((event.method, event.path, event.decision.reason.id))

    def of(self, path: str) -> list[tuple[str, str]]:
        """Method and reason of everything that was asked for at ``path``."""
        return [(method, reason) for method, seen, reason in self.seen if seen == path]


@dataclass(slots=True)
class World:
    """What a run of the table needs.

    ``site`` is the gateway's address with the session cookie switched off, ``with_cookie`` the same with it, empty
    where this gateway has none. ``foreign`` is another site altogether: another host name, not only another port.
    """

    site: str
    with_cookie: str
    foreign: str
    provider: str
    recorder: Recorder
    decisions: Decisions
    http: aiohttp.ClientSession
    provider_calls: list[str]

    async def account(self, email: str) -> dict[str, str]:
        """Create an account; the answer of ``accounts:signUp``."""
        url = f"{self.provider}/identitytoolkit.googleapis.com/v1/accounts:signUp?key={API_KEY}"
        body = {"email": email, "password": PASSWORD, "returnSecureToken": True}
        async with self.http.post(url, json=body) as response:
            response.raise_for_status()
            answer: dict[str, str] = await response.json()
            return answer


def _settings(provider: str, backend: str, port: int, **more: Any) -> dict[str, Any]:
    return {
        "firebase": {"project_id": PROJECT, "api_key": API_KEY},
        "firebase.emulator": provider.removeprefix("http://"),
        "listen": {"public": f"127.0.0.1:{port}", "admin": "off"},
        "upstream": [{"name": "app", "urls": [backend]}],
        "route": [
            {"match": {"path": "/r/*/must-*/**"}, "forward_authorization": True},
            # Optional: what arrives without a session is to be seen, not refused.
            {"match": {"path": "/r/**"}, "auth": "optional", "forward_authorization": True},
            {"match": {"path": "/lab/**"}, "auth": "optional"},
        ],
        "log.decisions": "off",
    } | more


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Start everything; close it afterwards."""
    os.environ.pop("FIREBASE_AUTH_EMULATOR_HOST", None)
    recorder, decisions = Recorder(), Decisions()
    provider = IdentityProvider(
        ProviderSettings(project_id=PROJECT, database=None, port=0, password_profile="testing"),
        before_sign_in=record_sign_in_ip,
    )
    calls: list[str] = []
    async with contextlib.AsyncExitStack() as stack:
        await provider.start()
        stack.push_async_callback(provider.close)
        counted = await stack.enter_async_context(_counting(provider.url, calls))
        port = free_port()
        foreign_server = TestServer(application(recorder, "foreign", foreign=f"http://localhost:{port}"))
        await stack.enter_async_context(foreign_server)
        foreign = f"http://127.0.0.1:{foreign_server.port}"
        backend = await stack.enter_async_context(TestServer(application(recorder, "own", foreign=foreign)))
        address = f"http://127.0.0.1:{backend.port}"
        has_cookie = "session" in Config.__struct_fields__
        off = {"session.cookie": "off"} if has_cookie else {}
        await _start(stack, _settings(counted, address, port, **off), decisions)
        cookie_port = 0
        if has_cookie:
            cookie_port = free_port()
            await _start(stack, _settings(counted, address, cookie_port), decisions)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield World(
            f"http://localhost:{port}",
            f"http://localhost:{cookie_port}" if cookie_port else "",
            foreign,
            counted,
            recorder,
            decisions,
            http,
            calls,
        )


async def _start(stack: contextlib.AsyncExitStack, settings: dict[str, Any], decisions: Decisions) -> None:
    gateway = Gateway(load(None, environment={}, overrides=settings), audit=decisions)
    stack.push_async_callback(gateway.close)
    await gateway.start()


@contextlib.asynccontextmanager
async def _counting(target: str, calls: list[str]) -> AsyncIterator[str]:
    """A relay in front of the provider that notes every call, and that is all it does."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def relay(request: web.Request) -> web.Response:
            if "Access-Control-Request-Method" not in request.headers:
                calls.append(f"{request.method} {request.path}")
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_THE_HOP}
            async with session.request(
                request.method,
                target + quote(request.path_qs, safe="/?&=:%+,;@"),
                headers=headers,
                data=await request.read(),
            ) as response:
                kept = {name: value for name, value in response.headers.items() if name.lower() not in _OF_THE_HOP}
                return web.Response(status=response.status, headers=kept, body=await response.read())

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", relay)
        async with TestServer(app) as server:
            yield f"http://127.0.0.1:{server.port}"


_OF_THE_HOP: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
