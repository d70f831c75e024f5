"""What carries a live connection past the end of its token, and what does not."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.core.claims import Claims
from gateway.http.cookies import SessionCookieSettings
from gateway.policy.assurance import Requirements
from gateway.policy.routes import Route
from tests.support.backends import backend
from tests.support.live import (
    BOTH,
    IN_TIME,
    RENEWED,
    close_of,
    is_cut,
    talks,
    watching,
)
from tests.support.wire import (
    GOOD,
    ROUTES,
    claims_of,
    gateway,
    request,
    status_of,
)


@BOTH
@pytest.mark.parametrize(
    "renewal",
    [
        request("GET /.gateway/userinfo HTTP/1.1", token=RENEWED),
        request("GET /anything/download HTTP/1.1", token=RENEWED),
        request("POST /.gateway/session HTTP/1.1", "Sec-Fetch-Site: same-origin", "Content-Length: 0", token=RENEWED),
    ],
    ids=["userinfo", "request", "session"],
)
async def test_a_newer_token_of_the_session_carries_it_on(target: str, renewal: bytes) -> None:
    """carries a connection on when any request of its session showed a newer token, up to the end of that one."""
    first, second = time.time() + 0.6, time.time() + 1.6
    tokens = {GOOD: claims_of(expires_at=first), RENEWED: claims_of(expires_at=second)}
    session = SessionCookieSettings("id_token")
    async with watching(target, tokens=tokens, session=session) as client:
        reader, writer = await client.front.connect()
        writer.write(renewal)
        assert (await reader.readline())[:10] == b"HTTP/1.1 2"
        rest, _ = await client.ends()
        assert is_cut(target, rest, 4401, "token_expired")
        assert 0 <= time.time() - second < IN_TIME
        writer.close()


async def test_a_renewal_right_behind_the_opening_counts() -> None:
    """takes note of a newer token that arrives before the connection was looked at for the first time."""
    first = time.time() + 0.5
    tokens = {GOOD: claims_of(expires_at=first), RENEWED: claims_of()}
    async with backend(talks) as server, gateway(server.url, tokens=tokens) as front:
        reader, writer = await front.connect()
        writer.write(request("GET /events HTTP/1.1"))
        await reader.readuntil(b"data: 1\n\n\r\n")
        await front.speak(request("GET /.gateway/userinfo HTTP/1.1", token=RENEWED))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), first + 1 - time.time())
        writer.transport.abort()


OTHERS: dict[str, tuple[Claims, tuple[str, ...]]] = {
    "another user": (claims_of("mallory"), ()),
    "another session": (claims_of(auth_time=1_001), ()),
    "another network": (claims_of(), ("X-Forwarded-For: 198.51.100.7",)),
    "not newer": (claims_of(expires_at=1), ()),
}


@pytest.mark.parametrize("case", OTHERS)
async def test_nobody_else_prolongs_it(case: str) -> None:
    """lets no token of another user, another sign-in or another network carry a connection past its token's end."""
    renewed, fields = OTHERS[case]
    expires_at = time.time() + 0.8
    tokens = {GOOD: claims_of(expires_at=expires_at), RENEWED: renewed}
    options: dict[str, Any] = {"trusted": [ip_network("127.0.0.0/8")], "fields": ("X-Forwarded-For: 203.0.113.9",)}
    async with watching("/ws", tokens=tokens, **options) as client:
        answer = await client.front.speak(request("GET /.gateway/userinfo HTTP/1.1", *fields, token=RENEWED))
        assert status_of(answer) == 200
        assert close_of(await client.rest()) == (4401, "token_expired")
        assert 0 <= time.time() - expires_at < IN_TIME


async def test_a_neighbour_address_prolongs_it() -> None:
    """takes a newer token from the same IPv6 /64 for the same client: privacy addresses change."""
    expires_at = time.time() + 0.5
    tokens = {GOOD: claims_of(expires_at=expires_at), RENEWED: claims_of()}
    options: dict[str, Any] = {"trusted": [ip_network("127.0.0.0/8")], "fields": ("X-Forwarded-For: 2001:db8::1",)}
    async with watching("/ws", tokens=tokens, **options) as client:
        await client.front.speak(
            request("GET /.gateway/userinfo HTTP/1.1", "X-Forwarded-For: 2001:db8::2", token=RENEWED)
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), expires_at + IN_TIME - time.time())


async def test_a_renewed_token_is_judged_like_any_other() -> None:
    """ends a connection whose session's newer token lacks what the route asks for."""
    routes = (Route("admin", "/ws", "app", require=Requirements(roles=frozenset({"admin"}))), *ROUTES)
    tokens = {GOOD: claims_of(roles=["admin"], expires_at=4_000_000_000), RENEWED: claims_of(expires_at=4_000_000_001)}
    async with watching("/ws", tokens=tokens, routes=routes) as client:
        await client.front.speak(request("GET /.gateway/userinfo HTTP/1.1", token=RENEWED))
        rest, took = await client.ends()
        assert close_of(rest) == (4403, "role_missing")
        assert took < IN_TIME
