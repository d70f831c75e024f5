"""A site for tests of the worker: provider, application and gateway in this process, all of them watched."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.blocking.builtin import record_sign_in_ip
from gateway.config.load import load
from gateway.core.ports import DecisionEvent
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.wiring import Gateway
from tests.support.ports import free_port

PROJECT: Final = "demo-browser"
API_KEY: Final = "k"
_OF_THE_HOP: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})

SIGN_IN: Final = """
async ([provider, key, email]) => {
  const answer = await fetch(`${provider}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=${key}`, {
    method: "POST", headers: {"content-type": "application/json"},
    body: JSON.stringify({email, password: "correct horse battery", returnSecureToken: true}),
  });
  const {localId: uid, idToken: accessToken, refreshToken, expiresIn} = await answer.json();
  const expirationTime = Date.now() + expiresIn * 1000;
  const rest = {emailVerified: false, isAnonymous: false, providerData: []};
  await window.record({uid, email, ...rest, stsTokenManager: {accessToken, refreshToken, expirationTime}});
  return uid;
}
"""
"""What the SDK does at a sign-in, as far as a worker can tell: a call to the provider, then one record."""

RECORD: Final = f"""
window.record = (value) => new Promise((resolve, reject) => {{
  const opening = indexedDB.open("firebaseLocalStorageDb", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("firebaseLocalStorage", {{keyPath: "fbase_key"}});
  opening.onerror = reject;
  opening.onsuccess = () => {{
    const transaction = opening.result.transaction("firebaseLocalStorage", "readwrite");
    const store = transaction.objectStore("firebaseLocalStorage");
    const key = "firebase:authUser:{API_KEY}:[DEFAULT]";
    if (typeof value === "function") {{
      const got = store.get(key);
      got.onsuccess = () => store.put({{fbase_key: key, value: value(got.result.value)}});
    }} else store.put({{fbase_key: key, value}});
    transaction.oncomplete = () => {{ opening.result.close(); resolve(); }};
  }};
}});
"""
"""For every page of a context: writes the SDK's record, or changes it with a function."""


@dataclass(slots=True)
class Site:
    """A running site. ``arrived`` holds path and user of everything that reached the application."""

    url: str
    provider: str
    arrived: list[tuple[str, str]] = field(default_factory=list)
    renewals: list[str] = field(default_factory=list)
    token_service_dead: bool = False
    lookups: list[str] = field(default_factory=list)

    def users(self, path: str) -> list[str]:
        """Who asked for ``path``, in order; empty for nobody."""
        return [user for seen, user in self.arrived if seen == path]


class _Silence:
    def record(self, event: DecisionEvent) -> None:
        """Nothing is kept."""


@contextlib.asynccontextmanager
async def running(
    settings: Mapping[str, Any], files: Mapping[str, tuple[str, str]] | None = None
) -> AsyncIterator[Site]:
    """A site on a free port, with ``settings`` over those below.

    ``files`` are more answers of the application: path to content type and text.
    """
    os.environ.pop("FIREBASE_AUTH_EMULATOR_HOST", None)
    provider = IdentityProvider(
        ProviderSettings(project_id=PROJECT, database=None, port=0, password_profile="testing"),
        before_sign_in=record_sign_in_ip,
    )
    port = free_port()
    site = Site(f"http://localhost:{port}", "")
    async with contextlib.AsyncExitStack() as stack:
        await provider.start()
        stack.push_async_callback(provider.close)
        site.provider = await stack.enter_async_context(_relay(provider.url, site))
        application = await stack.enter_async_context(TestServer(_application(site, files or {})))
        tree = {
            "firebase": {"project_id": PROJECT, "api_key": API_KEY},
            "firebase.emulator": site.provider.removeprefix("http://"),
            "listen": {"public": f"127.0.0.1:{port}", "admin": "off"},
            "upstream": [{"name": "app", "urls": [f"http://127.0.0.1:{application.port}"]}],
            "route": [
                {"match": {"path": "/public/**"}, "auth": "public"},
                {"match": {"path": "/open/**"}, "auth": "optional"},
                {"match": {"path": "/**"}},
            ],
            "log.decisions": "off",
        }
        gateway = Gateway(load(None, environment={}, overrides=tree | dict(settings)), audit=_Silence())
        stack.push_async_callback(gateway.close)
        await gateway.start()
        yield site


def _application(site: Site, files: Mapping[str, tuple[str, str]]) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        user = request.headers.get("X-Forwarded-User", "")
        site.arrived.append((request.path, user))
        if request.path in files:
            content_type, text = files[request.path]
            return web.Response(text=text, content_type=content_type)
        if "text/html" in request.headers.get("Accept", ""):
            return web.Response(text=f"<!doctype html><title>{user}</title><h1>Hello</h1>", content_type="text/html")
        return web.json_response({"user": user})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    return app


@contextlib.asynccontextmanager
async def _relay(target: str, site: Site) -> AsyncIterator[str]:
    """Stands in front of the provider, counts what matters, and can hang up on those who want a new token."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def relay(request: web.Request) -> web.Response:
            if request.method == "POST" and request.path.endswith("/v1/token"):
                site.renewals.append(request.path)
                if site.token_service_dead:
                    assert request.transport is not None
                    request.transport.abort()
            elif request.method == "POST" and request.path.endswith(
                "/v1/accounts:lookup"
            ):  # the gateway's name a project
                site.lookups.append(request.path)
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_THE_HOP}
            body = await request.read()
            async with session.request(request.method, target + request.path_qs, headers=headers, data=body) as got:
                kept = {name: value for name, value in got.headers.items() if name.lower() not in _OF_THE_HOP}
                return web.Response(status=got.status, headers=kept, body=await got.read())

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", relay)
        async with TestServer(app) as server:
            yield f"http://127.0.0.1:{server.port}"
