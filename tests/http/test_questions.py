"""What both ways of answering a proxy's question share."""

from __future__ import annotations

import pytest

from gateway.http.questions import removed
from gateway.policy.routes import Route

ALWAYS = (
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "authorization",
    "x-gateway-fetch",
    "x-gateway-jwt-assertion",
    "x-goog-iap-jwt-assertion",
    "cookie",
)


@pytest.mark.parametrize("told", [(), ("x-forwarded-user",), ("cookie", "authorization"), ALWAYS])
def test_what_was_not_told_is_removed(told: tuple[str, ...]) -> None:
    """... has the proxy remove every field that could have been told and was not, in one order, each once."""
    route = Route("all", "/**", "app")
    assert removed(told, route) == ",".join(name for name in ALWAYS if name not in told)


def test_fields_for_claims_are_removed_too() -> None:
    """... names the fields that a route has of its own, also where one of them is a usual one."""
    route = Route("all", "/**", "app", claim_fields=(("X-Forwarded-Role", "role"), ("X-Forwarded-User", "user_id")))
    assert removed(("cookie",), route).split(",") == [*ALWAYS[:3], "x-forwarded-role", *ALWAYS[3:-1]]
    assert removed(("x-forwarded-role", "x-forwarded-user"), route).split(",") == list(ALWAYS[1:])
