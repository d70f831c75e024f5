"""Where backends fetch the keys of assertions."""

from __future__ import annotations

import json

import pytest

from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.http.assertion_keys import JWKS_PATH, PATHS, PEM_PATH, AssertionKeysEndpoint
from gateway.http.endpoints import Endpoints, LoginSettings
from gateway.http.reply import Replies
from gateway.http.scripts import WorkerSettings
from gateway.mutators.assertion import CACHING, Assertions, AssertionSettings, KeyRing
from tests.support.clock import NOW, FakeClock
from tests.support.wire import FakeAssets

ASSERTIONS = Assertions(KeyRing.fresh(NOW).rotated(NOW), AssertionSettings("https://app.example"))
REPLIES = Replies(FakeAssets(), title="Acme")
ENDPOINT = AssertionKeysEndpoint(ASSERTIONS, REPLIES, FakeClock())


def asked(path: str, method: str = "GET") -> RequestContext:
    return RequestContext(method, "http", "app.example", parse_target(path), "192.0.2.1", Headers(()))


def test_both_forms_hold_every_key_that_a_verifier_may_meet() -> None:
    """... publishes the key that signs and the one that will, in both forms, and nothing private."""
    kids = {key.kid for key in ASSERTIONS.ring.keys}
    jwks = ENDPOINT.answer(asked(JWKS_PATH), "r")
    assert {key["kid"] for key in json.loads(jwks.body)["keys"]} == kids
    pems = ENDPOINT.answer(asked(PEM_PATH), "r")
    assert set(json.loads(pems.body)) == kids
    for reply in (jwks, pems):
        assert ("Cache-Control", f"public, max-age={CACHING}") in reply.headers
        assert b"PRIVATE" not in reply.body
        assert b'"d"' not in reply.body


@pytest.mark.parametrize("path", PATHS)
def test_they_are_only_read(path: str) -> None:
    """... takes GET and HEAD alone."""
    reply = ENDPOINT.answer(asked(path, "POST"), "r")
    assert (reply.status, dict(reply.headers)["Allow"]) == (405, "GET, HEAD")


def test_the_addresses_are_the_gateways_where_assertions_are_made() -> None:
    """... keeps the addresses for itself only where assertions are made."""
    parts = FakeAssets(), REPLIES, LoginSettings(api_key="k", project_id="demo"), WorkerSettings(api_key="k")
    for path in PATHS:
        assert Endpoints(*parts, assertion_keys=ENDPOINT).own(parse_target(path))
        assert not Endpoints(*parts).own(parse_target(path))
