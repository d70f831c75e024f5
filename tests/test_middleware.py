"""The gateway as middleware of an aiohttp application: real requests, the real guard, fakes for its ports."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import gateway.middleware as module
from gateway.adapters.memory import MemoryDenyList
from gateway.clock import SystemClock
from gateway.core.claims import Claims
from gateway.core.client_ip import AddressResolver
from gateway.core.credential import CookieName
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints, LoginSettings
from gateway.http.enforce import Enforcer
from gateway.http.reply import Replies
from gateway.http.scripts import WorkerSettings
from gateway.http.sessions import SignOut
from gateway.http.trail import TrailReaders
from gateway.middleware import (
    ENFORCEMENT,
    Enforcement,
    install,
    optional,
    public,
    require,
    session_middleware,
    session_of,
)
from gateway.policy.routes import Auth, Route, RouteTable
from tests.support.wire import GOOD, FakeAssets, FakeRevocation, FakeVerifier, Recorder, claims_of

PLAIN = "plain.token.x"
ADMIN = "admin.token.x"
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def who(request: web.Request) -> web.Response:
    session = session_of(request)
    return web.json_response({"uid": session.principal.uid if session is not None else None})


@dataclass
class World:
    """An application with the middleware, and what it was built from."""

    client: TestClient[web.Request, web.Application]
    verifier: FakeVerifier
    revocation: FakeRevocation
    deny_list: MemoryDenyList
    audit: Recorder

    async def get(self, path: str, token: str | None = GOOD, **headers: str) -> tuple[int, Any]:
        fields = ({"Authorization": f"Bearer {token}"} if token else {}) | headers
        async with self.client.get(path, headers=fields, allow_redirects=False) as response:
            body = await response.json(content_type=None) if "json" in response.content_type else await response.text()
            return response.status, body


def enforcement_of(
    *routes: Route,
    tokens: dict[str, Claims] | None = None,
    readers: TrailReaders | None = None,
    cookies: Sequence[CookieName] = (),
) -> tuple[Enforcement, Any]:
    tokens = tokens or {
        GOOD: claims_of(),
        PLAIN: claims_of("eve"),
        ADMIN: claims_of("root", roles=["admin"], org={"id": 7}),
    }
    verifier, revocation, audit = FakeVerifier(tokens), FakeRevocation(), Recorder()
    deny_list = MemoryDenyList(SystemClock())
    default = Route("default", "/**", "")
    guard = SessionGuard(
        routes=RouteTable([*routes, default]),
        verifier=verifier,
        revocation=revocation,
        addresses=AddressResolver(),
        clock=SystemClock(),
        deny_list=deny_list,
        cookies=dict.fromkeys(cookies, verifier),
    )
    assets = FakeAssets()
    replies = Replies(assets, title="Acme")
    endpoints = Endpoints(
        assets,
        replies,
        LoginSettings(api_key="key", project_id="demo"),
        WorkerSettings(api_key="key"),
        sign_out=SignOut(replies, deny_list, revocation.revoke_now),
    )
    enforcement = Enforcement()
    enforcement.open(lambda: guard, Enforcer(endpoints, replies, audit, readers), default)
    return enforcement, (verifier, revocation, deny_list, audit)


@asynccontextmanager
async def serving(
    app: web.Application, *routes: Route, readers: TrailReaders | None = None, cookies: Sequence[CookieName] = ()
) -> AsyncIterator[World]:
    enforcement, parts = enforcement_of(*routes, readers=readers, cookies=cookies)
    install(app, enforcement)
    async with TestClient(TestServer(app)) as client:
        yield World(client, *parts)


def application(**handlers: Any) -> web.Application:
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_route("*", f"/{name}", handler)
    return app


# ---- who gets in ----


async def test_a_handler_without_a_mark_needs_a_session() -> None:
    """... answers 401 before the handler runs, and lets a good session in."""
    ran = []

    async def handler(request: web.Request) -> web.Response:
        ran.append(request)
        return await who(request)

    async with serving(application(plain=handler)) as world:
        status, body = await world.get("/plain", None)
        assert (status, body["code"]) == (401, "sign_in_required")
        assert not ran
        assert await world.get("/plain") == (200, {"uid": "alice"})


async def test_a_person_is_led_to_the_login_page() -> None:
    """... redirects a navigation to the login page, which the application itself serves."""
    async with serving(application(plain=who)) as world:
        headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        async with world.client.get("/plain?a=1", headers=headers, allow_redirects=False) as response:
            assert response.status == 302
            location = response.headers["Location"]
        assert location == "/.gateway/login?rd=/plain%3Fa%3D1&reason=sign_in_required"
        assert (await world.get(location, None))[0] == 200


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/service-worker.js", "text/javascript"),
        ("/.gateway/session.js", "text/javascript"),
        ("/.gateway/login", "text/html"),
        ("/.gateway/assets/app.css", "text/css"),
    ],
)
async def test_worker_and_pages_are_served(path: str, kind: str) -> None:
    """... serves the worker, the page helper and the login page inside the application."""
    async with serving(application()) as world, world.client.get(path) as response:
        assert (response.status, response.content_type) == (200, kind)


async def test_a_catch_all_of_the_application_hides_none_of_them() -> None:
    """... keeps its own addresses even where the application has a public handler for every path."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", public(who))
    async with serving(app) as world:
        assert (await world.get("/.gateway/userinfo", None))[0] == 401
        status, body = await world.get("/.gateway/userinfo")
        assert (status, body["uid"]) == (200, "alice")
        assert await world.get("/anything", None) == (200, {"uid": None})


async def test_marks_win_over_the_configuration() -> None:
    """... judges a marked handler by its mark, whatever the configured routes say of its path."""
    app = application(open=public(who), either=optional(who), closed=require()(who))
    async with serving(app, Route("all-open", "/closed", "", Auth.PUBLIC)) as world:
        assert await world.get("/open", None) == (200, {"uid": None})
        assert await world.get("/open") == (200, {"uid": None})
        assert await world.get("/either", None) == (200, {"uid": None})
        assert await world.get("/either") == (200, {"uid": "alice"})
        assert await world.get("/either", "forged") == (200, {"uid": None})
        assert (await world.get("/closed", None))[0] == 401


async def test_the_configured_routes_count_for_the_others() -> None:
    """... judges unmarked handlers by the configured routes."""
    async with serving(application(open=who, closed=who), Route("open", "/open", "", Auth.PUBLIC)) as world:
        assert await world.get("/open", None) == (200, {"uid": None})
        assert (await world.get("/closed", None))[0] == 401


async def test_demands() -> None:
    """... answers 403 with the reason when a session is good and not enough."""
    app = application(
        admin=require(roles="admin")(who),
        claim=require(claims={"plan": ["pro", "team"]})(who),
        table=require(claims={"org": {"id": 7}})(who),
        recent=require(max_auth_age=dt.timedelta(minutes=15))(who),
        factor=require(second_factor=True)(who),
        cel=require(expression='"admin" in claims.roles')(who),
    )
    async with serving(app) as world:
        assert await world.get("/admin", ADMIN) == (200, {"uid": "root"})
        assert await world.get("/cel", ADMIN) == (200, {"uid": "root"})
        assert await world.get("/table", ADMIN) == (200, {"uid": "root"})
        for path, status, code in (
            ("/admin", 403, "role_missing"),
            ("/claim", 403, "claim_missing"),
            ("/table", 403, "claim_missing"),
            ("/recent", 401, "step_up_auth_age"),
            ("/factor", 401, "step_up_second_factor"),
        ):
            found, body = await world.get(path, PLAIN)
            assert (found, body["code"]) == (status, code)
        assert (await world.get("/cel", PLAIN))[0] == 403


@pytest.mark.parametrize("age", [0, -1, dt.timedelta(0)])
def test_an_age_that_nobody_can_meet_is_told(age: Any) -> None:
    """... refuses an age below a second where it is written."""
    with pytest.raises(ValueError, match="less than a second"):
        require(max_auth_age=age)


# ---- handlers of all kinds ----


async def test_class_views() -> None:
    """... takes a view's mark for all its methods, and a method's own mark before that."""

    @require(roles="admin")
    class Thing(web.View):
        async def get(self) -> web.StreamResponse:
            return await who(self.request)

        @public
        async def post(self) -> web.StreamResponse:
            return await who(self.request)

        @require()
        async def put(self) -> web.StreamResponse:
            return await who(self.request)

    async with serving(application(thing=Thing)) as world:
        assert (await world.get("/thing"))[0] == 403
        assert (await world.get("/thing", ADMIN))[0] == 200
        async with world.client.post("/thing") as response:
            assert await response.json() == {"uid": None}
        async with world.client.put("/thing") as response:
            assert response.status == 401
        async with world.client.put("/thing", headers={"Authorization": f"Bearer {GOOD}"}) as response:
            assert await response.json() == {"uid": "alice"}


async def test_a_mark_that_is_hidden_still_counts() -> None:
    """... judges inside the handler when a wrapper hides its mark, so that no demand is lost."""

    def hiding(handler: Answer) -> Answer:
        async def wrapper(request: web.Request) -> web.StreamResponse:
            return await handler(request)

        return wrapper

    app = application(admin=hiding(require(roles="admin")(who)), open=hiding(public(who)))
    async with serving(app, readers=TrailReaders([LOOPBACK])) as world:
        status, body = await world.get("/admin")
        assert (status, body["code"]) == (403, "role_missing")
        assert await world.get("/admin", ADMIN) == (200, {"uid": "root"})
        assert (await world.get("/open", None))[0] == 401
        # Judged twice, told once.
        async with world.client.get("/admin", headers={"Authorization": f"Bearer {ADMIN}"}) as response:
            (trail,) = response.headers.getall("X-Gateway-Trail")
            assert "require=met" in trail


async def test_two_marks_both_count() -> None:
    """... demands what the outer and the inner mark demand."""
    handler = require(roles="admin")(require(claims={"plan": "pro"})(who))
    async with serving(application(both=handler)) as world:
        status, body = await world.get("/both", ADMIN)
        assert (status, body["code"]) == (403, "claim_missing")
        assert (await world.get("/both"))[1]["code"] == "role_missing"


async def test_a_well_behaved_decorator_changes_nothing() -> None:
    """... finds its mark below decorators that keep a function's attributes."""

    def logged(handler: Answer) -> Answer:
        @functools.wraps(handler)
        async def wrapper(request: web.Request) -> web.StreamResponse:
            return await handler(request)

        return wrapper

    async with serving(application(open=logged(public(who)))) as world:
        assert (await world.get("/open", None))[0] == 200


async def test_sub_applications() -> None:
    """... guards the handlers of applications below, marks included, and judges each request once."""
    inner = application(plain=who, open=public(who))
    inner.middlewares.append(session_middleware)
    app = application()
    app.add_subapp("/inner", inner)
    async with serving(app) as world:
        assert (await world.get("/inner/plain", None))[0] == 401
        assert await world.get("/inner/plain") == (200, {"uid": "alice"})
        assert await world.get("/inner/open", None) == (200, {"uid": None})
        assert len(world.audit.events) == 2


async def test_other_middlewares_may_stand_on_either_side() -> None:
    """... leaves the order to the application; what stands inside sees the session."""
    seen: list[str] = []

    @web.middleware
    async def outer(request: web.Request, handler: Answer) -> web.StreamResponse:
        seen.append(f"outer {session_of(request)}")
        return await handler(request)

    @web.middleware
    async def inner(request: web.Request, handler: Answer) -> web.StreamResponse:
        session = session_of(request)
        seen.append(f"inner {session.principal.uid if session else None}")
        return await handler(request)

    app = web.Application(middlewares=[outer, session_middleware, inner])
    app.router.add_get("/x", who)
    async with serving(app) as world:
        await world.get("/x")
        await world.get("/x", None)
    assert seen == ["outer None", "inner alice", "outer None"]


async def test_without_a_set_up_nothing_is_served(caplog: pytest.LogCaptureFixture) -> None:
    """... fails closed, and says what is missing, when the application was never set up."""
    app = web.Application(middlewares=[session_middleware])
    app.router.add_get("/x", who)
    app.router.add_get("/marked", require()(who))
    async with TestClient(TestServer(app)) as client:
        for path in ("/x", "/marked"):
            async with client.get(path) as response:
                assert response.status == 500
    assert "call gateway.setup(app, ...)" in caplog.text
    bare = web.Application()
    bare.router.add_get("/marked", require()(who))
    async with TestClient(TestServer(bare)) as client, client.get("/marked") as response:
        assert response.status == 500


async def test_two_applications_share_nothing() -> None:
    """... keeps what belongs to an application with that application."""
    one, other = application(x=who), application(x=who)
    async with serving(one) as first, serving(other) as second:
        assert one[ENFORCEMENT] is not other[ENFORCEMENT]
        first.verifier.tokens.clear()
        assert (await first.get("/x"))[0] == 401
        assert (await second.get("/x"))[0] == 200


# ---- what the answer gains ----


@pytest.mark.parametrize("hookable", [True, False])
async def test_answers_say_what_they_depend_on(monkeypatch: pytest.MonkeyPatch, hookable: bool) -> None:
    """... keeps private answers out of shared caches, without touching what the handler chose."""
    assert module._HOOKABLE, "this aiohttp calls it otherwise, so every request costs more"
    monkeypatch.setattr(module, "_HOOKABLE", hookable)

    async def chosen(_: web.Request) -> web.Response:
        return web.Response(text="x", headers={"Cache-Control": "no-store", "Vary": "Accept", "X-Own": "1"})

    async def shared(_: web.Request) -> web.Response:
        return web.Response(text="x", headers={"Cache-Control": "public, max-age=60"})

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        return response

    app = application(chosen=chosen, shared=shared, stream=stream, open=public(shared))
    async with serving(app) as world:
        auth = {"Authorization": f"Bearer {GOOD}"}
        async with world.client.get("/chosen", headers=auth) as response:
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers.getall("Vary") == ["Accept", "Authorization, Cookie"]
            assert response.headers["X-Own"] == "1"
            assert len(response.headers["X-Request-Id"]) == 32
        async with world.client.get("/shared", headers=auth) as response:
            assert response.headers["Cache-Control"] == "private, max-age=60"
        async with world.client.get("/stream", headers=auth) as response:
            assert response.headers["Cache-Control"] == "private"
            assert response.headers["Vary"] == "Authorization, Cookie"
        async with world.client.get("/open", headers=auth) as response:
            assert response.headers["Cache-Control"] == "public, max-age=60"
            assert "Vary" not in response.headers


async def test_an_exception_of_the_handler_is_an_answer_like_others() -> None:
    """... marks redirects and errors of the handler as private too."""

    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    async with serving(application(moved=moved)) as world:
        headers = {"Authorization": f"Bearer {GOOD}"}
        async with world.client.get("/moved", headers=headers, allow_redirects=False) as response:
            assert response.headers["Cache-Control"] == "private"


@pytest.mark.parametrize("target", ["/a/%2e%2e/open", "/open%00", "/%2fopen", "/open;x/../plain"])
async def test_a_target_with_two_readings_is_refused(target: str) -> None:
    """... refuses what the application and a proxy in front of it could read differently."""
    async with serving(application(plain=who)) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.client.port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()
        await writer.wait_closed()


async def test_decisions_are_recorded() -> None:
    """... records each decision with the request id that the answer carries."""
    async with serving(application(plain=who)) as world:
        async with world.client.get("/plain", headers={"Authorization": f"Bearer {GOOD}"}) as response:
            request_id = response.headers["X-Request-Id"]
        (event,) = world.audit.events
        assert (event.request_id, event.path, event.decision.reason.id) == (request_id, "/plain", "session_valid")
