"""What a backend is told of a session on a route."""

from __future__ import annotations

import ipaddress

import jwt
import pytest

from gateway.core.session import NetworkLevel, Session
from gateway.mutators.assertion import AssertionForm, Assertions, AssertionSettings, KeyRing
from gateway.mutators.identity import FOREVER, IdentityWriter
from gateway.policy.routes import Route
from tests.support.clock import NOW
from tests.support.wire import claims_of

PLAIN = Route("plain", "/**", "app")
SIGNED = Route("signed", "/**", "app", assertion="/projects/1")


def session() -> Session:
    return Session(claims_of("alice"), ipaddress.ip_address("192.0.2.7"), NetworkLevel.SAME)


@pytest.mark.parametrize("form", list(AssertionForm))
def test_a_route_that_asks_for_it_gets_the_assertion_beside_the_fields(form: AssertionForm) -> None:
    """... sends the assertion for the route's audience in the form's own field, and says until when it is fresh."""
    writer = IdentityWriter(Assertions(KeyRing.fresh(NOW), AssertionSettings("https://app.example", form)))
    fields, until = writer.write(session(), SIGNED, NOW)
    told = dict(fields)
    assert told[b"X-Forwarded-User"] == b"alice"
    payload = jwt.decode(told[form.field], options={"verify_signature": False})
    assert payload["aud"] == "/projects/1"
    assert NOW < until < payload["exp"]
    assert writer.write(session(), SIGNED, until - 1)[0] == fields
    assert writer.write(session(), SIGNED, until)[0] != fields


def test_nobody_else_does() -> None:
    """... signs nothing for nobody, and nothing for routes that do not ask for it."""
    writer = IdentityWriter(Assertions(KeyRing.fresh(NOW), AssertionSettings("https://app.example")))
    assert writer.write(None, SIGNED, NOW) == ([], FOREVER)
    fields, until = writer.write(session(), PLAIN, NOW)
    assert until == FOREVER
    assert b"X-Gateway-Jwt-Assertion" not in dict(fields)
