"""Stand-ins for the account service: ``CountingDirectory`` in process, ``AccountServer`` on a real socket.

directory = CountingDirectory("ada", "bob")     users that exist; directory.users["ada"] = AccountRecord(...)
directory.batches                               the uids of each look-up so far; .revoked likewise
directory.down = True                           look-ups and revocations fail
directory.hold()                                look-ups hang until directory.release()

async with AccountServer(secret="owner") as server:   speaks accounts:lookup and accounts:update
    server.url, server.users, server.requests, server.answer = a function that replaces the real answer
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.core.claims import Principal
from gateway.core.ports import AccountRecord
from gateway.errors import RevocationUnavailable

GOOD = AccountRecord(disabled=False, valid_since=0)


def person(uid: str, tenant: str | None = None, project: str = "demo-project") -> Principal:
    return Principal(project, tenant, uid)


class CountingDirectory:
    """Implements :class:`gateway.core.ports.AccountDirectory` from a dict, and counts."""

    def __init__(self, *uids: str, now: Callable[[], float] = time.time) -> None:
        self.users: dict[str, AccountRecord] = dict.fromkeys(uids, GOOD)
        self.batches: list[tuple[str, ...]] = []
        self.asked: list[tuple[str | None, tuple[str, ...]]] = []
        self.revoked: list[Principal] = []
        self.down = False
        self.down_tenants: set[str | None] = set()
        self._now = now
        self._open = asyncio.Event()
        self._open.set()
        self.arrived = asyncio.Event()

    def hold(self) -> None:
        self._open.clear()
        self.arrived.clear()

    def release(self) -> None:
        self._open.set()

    async def look_up(self, tenant: str | None, uids: Sequence[str]) -> Mapping[str, AccountRecord]:
        assert 0 < len(uids) <= 100, len(uids)
        assert len(set(uids)) == len(uids), "a user stands twice in one look-up"
        self.batches.append(tuple(uids))
        self.asked.append((tenant, tuple(uids)))
        self.arrived.set()
        answer = {uid: self.users[uid] for uid in uids if uid in self.users}
        await self._open.wait()
        self._refuse_when_down(tenant)
        return answer

    async def revoke(self, principal: Principal) -> None:
        self._refuse_when_down(principal.tenant)
        self.revoked.append(principal)
        record = self.users.get(principal.uid)
        if record is None:
            return  # as the real adapter: who is gone has no session left
        self.users[principal.uid] = AccountRecord(record.disabled, int(self._now()))

    def _refuse_when_down(self, tenant: str | None) -> None:
        if self.down or tenant in self.down_tenants:
            raise RevocationUnavailable("the stand-in is down")


@dataclass(frozen=True)
class Seen:
    """One request that the server saw."""

    path: str
    authorization: str | None
    body: dict[str, Any]


class AccountServer:
    """The two calls of the Identity Toolkit that the gateway makes (identity-toolkit.md section 10.1), over HTTP."""

    def __init__(self, secret: str = "owner", project: str = "demo-project") -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.requests: list[Seen] = []
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self._secret = secret
        self._project = project
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self._server.make_url("/identitytoolkit.googleapis.com"))

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening."""
        await self._server.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else {}
        self.requests.append(Seen(request.path, request.headers.get("Authorization"), body))
        if self.answer is not None:
            return await self.answer(request)
        if request.headers.get("Authorization") != f"Bearer {self._secret}":
            return _error(401, "UNAUTHENTICATED")
        base, _, action = request.path.partition("/accounts:")
        _, _, tenant = base.partition("/tenants/")
        if not base.startswith(f"/identitytoolkit.googleapis.com/v1/projects/{self._project}"):
            return _error(404, "Not Found")
        known = {uid: user for uid, user in self.users.items() if user.get("tenantId", "") == tenant}
        if action == "lookup":
            users = [known[uid] for uid in body["localId"] if uid in known]
            return web.json_response(
                {"kind": "identitytoolkit#GetAccountInfoResponse"} | ({"users": users} if users else {})
            )
        if action == "update":
            if body["localId"] not in known:
                return _error(400, "USER_NOT_FOUND")
            known[body["localId"]]["validSince"] = str(body["validSince"])
            return web.json_response({"localId": body["localId"]})
        return _error(404, "Not Found")


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message, "errors": []}}, status=status)
