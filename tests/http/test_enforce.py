"""What all enforcement points do with a request once they have read it. The decisions are in ``tests/enforcement``."""

from __future__ import annotations

import subprocess
import sys
import time
from ipaddress import ip_network

import pytest

from gateway import reasons
from gateway.clock import SystemClock
from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Decision
from gateway.core.target import parse_target
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints, LoginSettings
from gateway.http.enforce import OWN_ROUTE, Answered, Enforcer, Passed, new_request_id, request_id_of
from gateway.http.reply import Replies
from gateway.http.scripts import WorkerSettings
from gateway.policy.routes import Auth, Route, RouteTable
from tests.support.wire import GOOD, ROUTES, FakeAssets, FakeRevocation, FakeVerifier, Recorder

PROXIES = AddressResolver([ip_network("10.0.0.0/8")])


def parts() -> tuple[Enforcer, SessionGuard, Recorder, FakeVerifier]:
    audit, verifier = Recorder(), FakeVerifier()
    guard = SessionGuard(
        routes=RouteTable(ROUTES),
        verifier=verifier,
        revocation=FakeRevocation(),
        addresses=PROXIES,
        clock=SystemClock(),
    )
    assets = FakeAssets()
    replies = Replies(assets, title="Acme")
    endpoints = Endpoints(assets, replies, LoginSettings(api_key="k", project_id="demo"), WorkerSettings(api_key="k"))
    return Enforcer(endpoints, replies, audit), guard, audit, verifier


def context(
    path: str = "/x", *fields: tuple[str, str], peer: str = "192.0.2.1", token: str | None = GOOD
) -> RequestContext:
    lines = [(name.encode(), value.encode()) for name, value in fields]
    if token is not None:
        lines.append((b"Authorization", b"Bearer " + token.encode()))
    return RequestContext("GET", "http", "app.example", parse_target(path), peer, Headers(tuple(lines)))


async def no_body(_: int) -> bytes:
    return b""


def test_request_ids_cannot_be_guessed() -> None:
    """... makes an id of 128 random bits for each request."""
    assert len({new_request_id() for _ in range(1_000)}) == 1_000
    assert len(new_request_id()) == 32


FORKED = """
import os
from gateway.http.enforce import new_request_id
new_request_id()
child = os.fork()
for _ in range(300):
    os.write(1, new_request_id().encode() + b"\\n")
if child:
    os.waitpid(child, 0)
"""


def test_a_copy_of_the_process_gives_ids_of_its_own() -> None:
    """... draws new ids in a process that was forked, instead of giving those that its parent is going to give."""
    told = subprocess.run([sys.executable, "-c", FORKED], check=True, capture_output=True, text=True).stdout.split()
    assert len(told) == len(set(told)) == 600


@pytest.mark.parametrize(
    ("peer", "given", "kept"),
    [
        ("10.0.0.1", "abc-123", True),
        ("192.0.2.1", "abc-123", False),
        ("10.0.0.1", "a b", False),
        ("10.0.0.1", "x" * 129, False),
        ("10.0.0.1", 'a"b', False),
        ("", "abc-123", False),
    ],
)
def test_only_a_trusted_peers_harmless_id_is_kept(peer: str, given: str, kept: bool) -> None:
    """... keeps the id that a trusted proxy sent, when it is one, and makes a new one otherwise."""
    found = request_id_of(peer, Headers(((b"X-Request-Id", given.encode()),)), PROXIES)
    assert (found == given) is kept


async def test_what_passes_comes_back_with_its_route_and_is_recorded() -> None:
    """... says as whom and by which route a request passes, and records it under its id."""
    enforcer, guard, audit, _ = parts()
    heard: list[Decision] = []
    enforcer.on_decision = heard.append
    found = await enforcer.judge(context(), guard, "r-1", renewed=(("Set-Cookie", "a=1"),))
    assert isinstance(found, Passed)
    assert found.session is not None
    assert (found.session.principal.uid, found.route.name) == ("alice", "all")
    assert found.fields == (("Set-Cookie", "a=1"), ("Cache-Control", "private"))
    assert [event.request_id for event in audit.events] == ["r-1"]
    assert heard == [found.decision]


async def test_a_route_that_is_handed_in_is_the_one_that_counts() -> None:
    """... judges by a handed-in route without looking for another."""
    enforcer, guard, audit, _ = parts()
    own = Route("mine", "/**", "", Auth.OPTIONAL)
    found = await enforcer.judge(context(token=None), guard, "r-1", route=own)
    assert isinstance(found, Passed)
    assert found.route is own
    assert audit.reasons == ["anonymous"]


async def test_what_is_known_is_not_judged_again() -> None:
    """... takes a decision that was made already, and records only what was not recorded as passing."""
    enforcer, guard, audit, verifier = parts()
    decision = await guard.judge(context())
    asked = verifier.asked
    known = (decision, time.perf_counter())
    assert isinstance(await enforcer.judge(context(), guard, "r-1", known=known, again=True), Passed)
    assert verifier.asked == asked
    assert audit.events == []
    refused = (await guard.judge(context(token="forged.token.x")), time.perf_counter())
    assert isinstance(await enforcer.judge(context(), guard, "r-1", known=refused, again=True), Answered)
    assert audit.reasons == ["token_signature"]


async def test_a_malformed_chain_of_proxies_is_refused_on_a_handed_in_route_too() -> None:
    """... refuses a request whose client nobody can tell."""
    enforcer, guard, _, _ = parts()
    broken = context("/x", ("X-Forwarded-For", "nonsense"), peer="10.0.0.1")
    found = await enforcer.judge(broken, guard, "r-1", route=Route("mine", "/**", ""))
    assert isinstance(found, Answered)
    assert (found.reason, found.reply.status) == (reasons.FORWARDED_INVALID, 400)


async def test_its_own_addresses_are_counted_as_such() -> None:
    """... answers its own addresses, under a name of their own unless somebody was judged."""
    enforcer, guard, audit, _ = parts()
    page = await enforcer.answer_own(context("/.gateway/login"), guard, "r-1", no_body)
    assert (page.reply.status, page.route, page.reason) == (200, OWN_ROUTE, None)
    assert audit.events == []
    info = await enforcer.answer_own(context("/.gateway/userinfo"), guard, "r-2", no_body)
    assert (info.reply.status, info.reason) == (200, reasons.SESSION_VALID)
    assert audit.reasons == ["session_valid"]


def test_what_is_malformed_is_recorded_without_path_and_host() -> None:
    """... records a request that could not be read, and nothing of it that means nothing."""
    enforcer, _, audit, _ = parts()
    enforcer.record_malformed("GET", "192.0.2.1", reasons.REQUEST_MALFORMED, "r-1")
    (event,) = audit.events
    assert (event.host, event.path, event.client) == ("", "", "192.0.2.1")
