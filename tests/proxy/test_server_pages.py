"""Pages of other sites and trusted callers, through the whole proxy."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.http.trail import TrailReaders
from gateway.policy.assurance import Requirements
from gateway.policy.cross_site import Cors
from gateway.policy.routes import Auth, Route
from tests.support.backends import answers, backend
from tests.support.wire import GOOD, body_of, gateway, request, status_of

LISTED = "https://pages.test"
LISTS = Cors(frozenset({LISTED}), frozenset({"GET", "POST"}), ("authorization",), max_age=60)
ROUTES = [
    Route("api", "/api/**", "app", methods=frozenset({"GET", "POST"}), cors=LISTS),
    Route("open", "/open/**", "app", Auth.PUBLIC),
    Route("recent", "/recent/**", "app", require=Requirements(max_auth_age=900)),
    Route("rest", "/**", "app"),
]
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


def values(answer: bytes, name: str) -> list[str]:
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    pairs = [line.partition(": ") for line in head.split("\r\n")[1:]]
    return [value for field, _, value in pairs if field.lower() == name.lower()]


async def test_a_preflight_never_reaches_the_backend() -> None:
    """answers a preflight itself, without a session."""
    asked = request("OPTIONS /api/x HTTP/1.1", f"Origin: {LISTED}", "Access-Control-Request-Method: POST", token=None)
    async with backend(answers(b"hello")) as server, gateway(server.url, routes=ROUTES) as front:
        answer = await front.speak(asked)
        assert server.conversations == []
    assert (status_of(answer), values(answer, "Access-Control-Allow-Origin")) == (204, [LISTED])
    assert values(answer, "Access-Control-Allow-Methods") == ["GET, POST"]
    assert values(answer, "Vary") == [
        "Access-Control-Request-Method, Access-Control-Request-Headers",
        "Origin",
    ]
    assert front.audit.reasons == ["cors_preflight"]


@pytest.mark.parametrize(
    ("line", "origin", "token", "status", "allowed"),
    [
        ("POST /api/x HTTP/1.1", LISTED, GOOD, 200, [LISTED]),
        ("GET /api/x HTTP/1.1", LISTED, GOOD, 200, [LISTED]),
        ("GET /api/x HTTP/1.1", LISTED, "expired", 401, [LISTED]),
        ("GET /api/x HTTP/1.1", "https://evil.test", GOOD, 200, []),
        ("POST /api/x HTTP/1.1", "https://evil.test", GOOD, 403, []),
        ("POST /api/x HTTP/1.1", "null", GOOD, 403, []),
        ("POST /x HTTP/1.1", LISTED, GOOD, 403, []),
        ("OPTIONS /api/x HTTP/1.1", "https://evil.test", GOOD, 403, []),
    ],
)
async def test_a_page_reads_the_answers_of_its_route(
    line: str, origin: str, token: str, status: int, allowed: list[str]
) -> None:
    """lets a listed page read answers and refusals of its route, and puts its word in place of the backend's."""
    lines = [f"Origin: {origin}", "Content-Length: 0"]
    if line.startswith("OPTIONS"):
        lines.append("Access-Control-Request-Method: POST")
    theirs = [b"Access-Control-Allow-Origin: *"] if "/api/" in line else []
    async with backend(answers(b"hello", fields=theirs)) as server, gateway(server.url, routes=ROUTES) as front:
        answer = await front.speak(request(line, *lines, token=token))
    assert (status_of(answer), values(answer, "Access-Control-Allow-Origin")) == (status, allowed)
    assert ("Origin" in values(answer, "Vary")) is ("/api/" in line)


async def test_a_step_up_reaches_the_client() -> None:
    """tells a script how recent a sign-in must be."""
    async with backend(answers(b"hello")) as server, gateway(server.url, routes=ROUTES) as front:
        answer = await front.speak(request("GET /recent/x HTTP/1.1"))
    assert status_of(answer) == 401
    assert values(answer, "WWW-Authenticate")[0].endswith(", max_age=900")
    assert front.audit.reasons == ["step_up_auth_age"]


@pytest.mark.parametrize(
    ("line", "token", "part"),
    [
        ("GET /x HTTP/1.1", GOOD, "token=good until"),
        ("GET /x HTTP/1.1", "nobodys.token.at-all", "token=!token_signature"),
        ("GET /open/x HTTP/1.1", GOOD, "route=open (/open/**, auth public)"),
    ],
)
async def test_trusted_callers_see_the_trail(line: str, token: str, part: str) -> None:
    """tells callers whom the operator names how it came to its answer, without the token."""
    async with backend(answers(b"hello", fields=[b"Cache-Control: public"])) as server:
        async with gateway(server.url, routes=ROUTES, readers=TrailReaders([LOOPBACK])) as front:
            answer = await front.speak(request(line, token=token))
        async with gateway(server.url, routes=ROUTES) as front:
            untold = await front.speak(request(line, token=token))
    (trail,) = values(answer, "X-Gateway-Trail")
    assert part in trail
    assert token not in trail
    assert any("private" in value for value in values(answer, "Cache-Control"))
    assert values(untold, "X-Gateway-Trail") == []
    assert body_of(answer) == body_of(untold) or status_of(answer) >= 400
