"""Refusals as HTTP."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from gateway import reasons
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Challenge, Deny
from gateway.core.target import parse_target
from gateway.http.negotiate import PROBLEM, Form
from gateway.http.reply import Replies
from gateway.policy.routes import Unauthenticated
from gateway.reasons import Outcome, Reason
from tests.support.wire import FakeAssets

REFUSALS = [reason for reason in reasons.TABLE.values() if reason.outcome is not Outcome.ALLOW]
REPLIES = Replies(FakeAssets(), title="Acme", realm='Ac"me\\')


def context(target: str = "/a?b=c", method: str = "GET", accept: str = "text/html") -> RequestContext:
    headers = Headers(((b"Accept", accept.encode()), (b"X-Secret", b"s3cret")))
    return RequestContext(method, "http", "app.example", parse_target(target), "192.0.2.1", headers)


@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.id)
def test_every_refusal_is_a_complete_problem(reason: Reason) -> None:
    """answers scripts with an RFC 9457 problem that names the reason, and lets nobody store it."""
    reply = REPLIES.failure(reason, "the-id")
    headers, document = dict(reply.headers), json.loads(reply.body)
    assert reply.status == reason.status == document["status"]
    assert headers["Content-Type"] == "application/problem+json"
    assert (document["code"], document["type"], document["title"]) == (reason.id, reason.type_uri, reason.title)
    assert document["request_id"] == headers["X-Request-Id"] == "the-id"
    assert document.get("detail", "") == reason.advice
    assert "no-store" in headers["Cache-Control"]
    assert {"Authorization", "Cookie", "Accept"} <= set(headers["Vary"].split(", "))
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ("login_url" in document) == (reason.outcome is Outcome.CHALLENGE)
    assert ("WWW-Authenticate" in headers) == (reason.status == 401 or reason.bearer_error is not None)
    assert ("Retry-After" in headers) == (reason.status in {502, 503, 504})


@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.id)
def test_every_refusal_is_a_page(reason: Reason) -> None:
    """shows people what happened and what to do, with the request's id."""
    reply = REPLIES.failure(reason, "the-id", Form(page=True))
    headers = dict(reply.headers)
    assert len(headers) == len(reply.headers)
    assert headers["Content-Type"].startswith("text/html")
    assert f"{reason.status} {reason.id} the-id".encode() in reply.body
    assert "no-store" in headers["Cache-Control"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "reason",
    [reason for reason in REFUSALS if reason.status == 401 or reason.bearer_error is not None],
    ids=lambda reason: reason.id,
)
def test_the_challenge_is_well_formed(reason: Reason) -> None:
    """names an error only when a credential came (RFC 6750 section 3), and never breaks out of a quoted string."""
    challenge = dict(REPLIES.failure(reason, "id").headers)["WWW-Authenticate"]
    parameters = re.fullmatch(
        r'Bearer realm="Acme"(?:, error="([a-z_]+)", error_description="([ !#-\[\]-~]+)")?',
        challenge,
    )
    assert parameters is not None
    assert parameters.group(1) == reason.bearer_error


@pytest.mark.parametrize(
    ("demand", "told"),
    [
        ({"max_age": 900}, ", max_age=900"),
        ({"acr_values": "urn:x"}, ', acr_values="urn:x"'),
        ({"max_age": 0, "acr_values": "a b"}, ', max_age=0, acr_values="a b"'),
        ({}, ""),
    ],
)
def test_a_step_up_says_what_the_new_sign_in_must_have(demand: dict[str, Any], told: str) -> None:
    """tells clients in the challenge what to ask their user for (RFC 9470 section 3)."""
    decision = Challenge(reasons.STEP_UP_AUTH_AGE, "all", **demand)
    reply = REPLIES.refuse(decision, context(accept="*/*"), "id", Unauthenticated.AUTO)
    expected = (
        'Bearer realm="Acme", error="insufficient_user_authentication", '
        'error_description="Please confirm that it is you."'
    )
    assert (reply.status, dict(reply.headers)["WWW-Authenticate"]) == (401, expected + told)


def test_a_person_who_steps_up_is_sent_to_the_login_page() -> None:
    """leads a navigation to the login page, which learns from the reason what to ask for."""
    decision = Challenge(reasons.STEP_UP_AUTH_AGE, "all", max_age=900)
    reply = REPLIES.refuse(decision, context("/pay"), "id", Unauthenticated.AUTO)
    assert dict(reply.headers)["Location"] == "/.gateway/login?rd=/pay&reason=step_up_auth_age"


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
@pytest.mark.parametrize("setting", Unauthenticated)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_setting_has_its_form(accept: str, setting: Unauthenticated, method: str) -> None:
    """follows the route: a redirect only for GET, `401` for scripts whoever asks, `redirect` for people likewise."""
    decision = Challenge(reasons.SIGN_IN_REQUIRED, "all")
    reply = REPLIES.refuse(decision, context(method=method, accept=accept), "id", setting)
    person = setting is Unauthenticated.REDIRECT or (setting is Unauthenticated.AUTO and accept == "text/html")
    assert reply.status == (302 if person and method == "GET" else 401)
    if reply.status == 401:
        expected = "text/html" if person else "application/problem+json"
        assert dict(reply.headers)["Content-Type"].startswith(expected)


def test_a_navigation_is_sent_to_the_login_page() -> None:
    """redirects with 302, relatively, with the path and the reason, and lets nobody store it."""
    reply = REPLIES.refuse(
        Challenge(reasons.TOKEN_EXPIRED, "all"), context("/a%20b?q=1&r=2"), "id", Unauthenticated.AUTO
    )
    headers = dict(reply.headers)
    assert reply.status == 302
    assert headers["Location"] == "/.gateway/login?rd=/a%2520b%3Fq%3D1%26r%3D2&reason=token_expired"
    assert "no-store" in headers["Cache-Control"]


def test_a_very_long_path_is_not_carried_along() -> None:
    """leads back to the front page when the path would make the login address too long for a request line."""
    reply = REPLIES.refuse(
        Challenge(reasons.SIGN_IN_REQUIRED, "all"), context("/" + "a" * 8000), "id", Unauthenticated.AUTO
    )
    assert dict(reply.headers)["Location"] == "/.gateway/login?rd=/&reason=sign_in_required"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_unsafe_methods_are_not_redirected(method: str) -> None:
    """answers a form that was sent without a session with 401, since its body could not be replayed."""
    reply = REPLIES.refuse(
        Challenge(reasons.SIGN_IN_REQUIRED, "all"), context(method=method), "id", Unauthenticated.AUTO
    )
    assert reply.status == 401
    assert "Location" not in dict(reply.headers)


def test_a_denial_carries_its_time() -> None:
    """says when to try again, in seconds."""
    reply = REPLIES.refuse(
        Deny(reasons.KEYS_UNAVAILABLE, "all", retry_after=9), context(accept="*/*"), "id", Unauthenticated.AUTO
    )
    assert reply.status == 503
    assert dict(reply.headers)["Retry-After"] == "9"


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.id)
def test_nothing_of_the_request_is_repeated(reason: Reason, accept: str) -> None:
    """puts no field, host or path of the request into a refusal."""
    decision = Challenge(reason, "r0ute") if reason.outcome is Outcome.CHALLENGE else Deny(reason, "r0ute")
    reply = REPLIES.refuse(decision, context("/p4th", "POST", accept), "id", Unauthenticated.AUTO)
    text = repr(reply).lower()
    for part in ("s3cret", "app.example", "p4th", "r0ute"):
        assert part not in text


def test_a_reply_can_end_its_connection() -> None:
    """closes the connection behind a refusal that says so."""
    assert REPLIES.failure(reasons.REQUEST_MALFORMED, "id", PROBLEM, close=True).as_response().keep_alive is False
    assert REPLIES.failure(reasons.NO_ROUTE, "id").as_response().keep_alive is None
