"""What a route demands beyond a good session."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import pytest

from gateway import reasons
from gateway.core.claims import Claims, Principal
from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.policy.assurance import (
    FOREVER,
    MULTI_FACTOR,
    NEVER_AGAIN,
    Requirements,
    fits,
    has_role,
    holds_until,
    unmet,
)
from gateway.policy.expression import Expression
from gateway.reasons import Reason

NOW = 1_800_000_000.0
SIGNED_IN = int(NOW) - 600
PAYLOAD: dict[str, Any] = {
    "role": "admin",
    "roles": ["editor", "author"],
    "level": 3,
    "paid": True,
    "org": {"id": "acme", "plan": "pro"},
}
CLAIMS = Claims(
    Principal("p", None, "u"),
    int(NOW),
    int(NOW) + 3600,
    SIGNED_IN,
    "ada@acme.test",
    True,
    None,
    "password",
    "totp",
    None,
    PAYLOAD,
)
CONTEXT = RequestContext("GET", "http", "app.test", parse_target("/x?y"), "", Headers(()))
CLIENT = ipaddress.ip_address("203.0.113.9")


def cel(source: str) -> Expression:
    return Expression(source, name="x")


def reason_of(demands: Requirements, **changes: Any) -> Reason | None:
    found = unmet(demands, dataclasses.replace(CLAIMS, **changes), NOW, CONTEXT, CLIENT)
    return found.reason if found is not None else None


ROWS: list[tuple[dict[str, Any], dict[str, Any], Reason | None]] = [
    ({}, {}, None),
    ({"verified_email": True}, {}, None),
    ({"verified_email": True}, {"email_verified": False}, reasons.EMAIL_NOT_VERIFIED),
    ({"verified_email": True}, {"email": None}, reasons.EMAIL_NOT_VERIFIED),
    ({"sign_in_providers": frozenset({"password"})}, {}, None),
    ({"sign_in_providers": frozenset({"google.com"})}, {}, reasons.PROVIDER_NOT_ALLOWED),
    ({"sign_in_providers": frozenset({"google.com"})}, {"sign_in_provider": None}, reasons.PROVIDER_NOT_ALLOWED),
    ({"roles": frozenset({"author", "x"})}, {}, None),
    ({"roles": frozenset({"admin"})}, {}, reasons.ROLE_MISSING),
    ({"roles": frozenset({"admin"}), "roles_claim": "role"}, {}, None),
    ({"roles": frozenset({"admin"}), "roles_claim": "absent"}, {}, reasons.ROLE_MISSING),
    ({"claims": (("role", "admin"), ("paid", True))}, {}, None),
    ({"claims": (("role", "admin"), ("paid", False))}, {}, reasons.CLAIM_MISSING),
    ({"claims": (("absent", "admin"),)}, {}, reasons.CLAIM_MISSING),
    ({"expression": cel("claims.level > 2 && request.path == '/x'")}, {}, None),
    ({"expression": cel("claims.level > 3")}, {}, reasons.EXPRESSION_FALSE),
    ({"expression": cel("claims.absent > 3")}, {}, reasons.EXPRESSION_FAILED),
    ({"second_factor": True}, {}, None),
    ({"second_factor": True}, {"second_factor": None}, reasons.STEP_UP_SECOND_FACTOR),
    ({"second_factor": True}, {"second_factor": ""}, reasons.STEP_UP_SECOND_FACTOR),
    ({"max_auth_age": 601}, {}, None),
    ({"max_auth_age": 600}, {}, reasons.STEP_UP_AUTH_AGE),
    ({"max_auth_age": 599}, {}, reasons.STEP_UP_AUTH_AGE),
    ({"max_auth_age": 60}, {"auth_time": int(NOW) + 5}, None),
    # What cannot be mended comes before what can.
    ({"max_auth_age": 1, "second_factor": True}, {"second_factor": None}, reasons.STEP_UP_SECOND_FACTOR),
    ({"max_auth_age": 1, "claims": (("role", "x"),)}, {}, reasons.CLAIM_MISSING),
    ({"second_factor": True, "verified_email": True}, {"second_factor": None, "email": None},
     reasons.EMAIL_NOT_VERIFIED),
    ({"max_auth_age": 1, "expression": cel("false")}, {}, reasons.EXPRESSION_FALSE),
    ({"max_auth_age": 1, "roles": frozenset({"x"})}, {}, reasons.ROLE_MISSING),
    ({"max_auth_age": 1, "sign_in_providers": frozenset({"x"})}, {}, reasons.PROVIDER_NOT_ALLOWED),
]  # fmt: skip


@pytest.mark.parametrize(("demands", "changes", "expected"), ROWS)
def test_the_first_unmet_demand_decides(
    demands: dict[str, Any], changes: dict[str, Any], expected: Reason | None
) -> None:
    """... refuses with the reason of the first demand that is not met, and only then."""
    assert reason_of(Requirements(**demands), **changes) is expected


def test_a_step_up_says_what_is_asked_for() -> None:
    """... says how old a sign-in may be, or which context it must have (RFC 9470)."""
    age = unmet(Requirements(max_auth_age=60), CLAIMS, NOW, CONTEXT, CLIENT)
    assert age is not None
    assert (age.max_age, age.acr_values) == (60, None)
    assert age.detail == "signed in 600 s ago, at most 60 s are allowed"
    factor = unmet(
        Requirements(second_factor=True), dataclasses.replace(CLAIMS, second_factor=None), NOW, CONTEXT, CLIENT
    )
    assert factor is not None
    assert (factor.max_age, factor.acr_values) == (None, MULTI_FACTOR)


DETAILS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"sign_in_providers": frozenset("x")}, {}, "signed in another way than sign_in_provider lists"),
    ({"verified_email": True}, {"email": None}, "the e-mail address is not verified"),
    ({"roles": frozenset("x")}, {}, "the claim roles holds none of the roles"),
    ({"claims": (("role", "x"),)}, {}, "the claim role is missing or another"),
    ({"expression": cel("claims.absent == 1")}, {}, "the expression refuses: a key is missing"),
    ({"expression": cel("false")}, {}, "the expression is false"),
    ({"second_factor": True}, {"second_factor": None}, "signed in without a second factor"),
]


@pytest.mark.parametrize(("demands", "changes", "detail"), DETAILS)
def test_the_operator_is_told_what_is_missing(demands: dict[str, Any], changes: dict[str, Any], detail: str) -> None:
    """... says in a few words which demand is not met."""
    found = unmet(Requirements(**demands), dataclasses.replace(CLAIMS, **changes), NOW, CONTEXT, CLIENT)
    assert found is not None
    assert found.detail == detail


def test_details_quote_no_claim() -> None:
    """... never shows the operator what stands in a user's token."""
    for demands in (Requirements(roles=frozenset({"x"})), Requirements(claims=(("role", "x"),))):
        found = unmet(demands, CLAIMS, NOW, CONTEXT, CLIENT)
        assert found is not None
        assert "admin" not in found.detail
        assert "editor" not in found.detail


def test_an_expression_sees_the_client() -> None:
    """... tells an expression the client's address, or an empty text when there is none."""
    seen = "request.client == '203.0.113.9' && request.method == 'GET' && request.host == 'app.test'"
    demands = Requirements(expression=cel(seen))
    assert unmet(demands, CLAIMS, NOW, CONTEXT, CLIENT) is None
    assert unmet(Requirements(expression=cel("request.client == ''")), CLAIMS, NOW, CONTEXT, None) is None


FITS: list[tuple[object, Any, bool]] = [
    ("a", "a", True),
    ("a", "A", False),
    ("1", 1, False),
    (1, "1", False),
    (1, 1, True),
    (1.0, 1, True),
    (1, 1.5, False),
    (True, True, True),
    (True, 1, False),
    (1, True, False),
    (False, 0, False),
    (0, False, False),
    (None, "a", False),
    (None, False, False),
    (["a", "b"], "b", True),
    (["a", "b"], "c", False),
    ([True], 1, False),
    ([["a"]], "a", False),
    ([], "a", False),
    ({"a": 1}, "a", False),
    ("b", ("a", "b"), True),
    ("c", ("a", "b"), False),
    (["c", "a"], ("a", "b"), True),
    ({"id": "acme", "plan": "pro"}, {"id": "acme"}, True),
    ({"id": "acme"}, {"id": "acme", "plan": "pro"}, False),
    ({"id": {"x": 1}}, {"id": {"x": 1}}, True),
    ("acme", {"id": "acme"}, False),
    ([{"id": "acme"}], {"id": "acme"}, False),
    (float("nan"), float("nan"), False),
]


@pytest.mark.parametrize(("value", "expected", "result"), FITS)
def test_types_are_exact(value: object, expected: Any, result: bool) -> None:
    """... compares a claim with what is demanded of it without any conversion."""
    assert fits(value, expected) is result


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("a", True),
        (["b", "a"], True),
        (["b"], False),
        ([1, None], False),
        (None, False),
        ({"a": 1}, False),
        (["A"], False),
    ],
)
def test_a_role_is_a_text_or_one_of_a_list(value: object, result: bool) -> None:
    """... takes a role from a text or a list of texts, and from nothing else."""
    assert has_role(value, frozenset({"a", "z"})) is result


def test_until_when_an_answer_holds() -> None:
    """... says until when a session goes on meeting the demands."""
    assert holds_until(Requirements(verified_email=True), CLAIMS) == FOREVER
    assert holds_until(Requirements(max_auth_age=900), CLAIMS) == SIGNED_IN + 900
    assert holds_until(Requirements(max_auth_age=900, expression=cel("request.path == '/'")), CLAIMS) == NEVER_AGAIN
    assert holds_until(Requirements(expression=cel("claims.level > 2")), CLAIMS) == FOREVER


NOTHING: dict[str, Any] = {}
COVERS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    (NOTHING, NOTHING, True),
    ({"verified_email": True}, NOTHING, True),
    (NOTHING, {"verified_email": True}, False),
    ({"second_factor": True}, NOTHING, True),
    (NOTHING, {"second_factor": True}, False),
    ({"roles": frozenset("a")}, {"roles": frozenset("ab")}, True),
    ({"roles": frozenset("a")}, {"roles": frozenset("a")}, True),
    ({"roles": frozenset("ab")}, {"roles": frozenset("a")}, False),
    (NOTHING, {"roles": frozenset("a")}, False),
    ({"roles": frozenset("a")}, NOTHING, True),
    ({"roles": frozenset("a"), "roles_claim": "x"}, {"roles": frozenset("a")}, False),
    ({"roles": frozenset("a"), "roles_claim": "x"}, NOTHING, True),
    ({"sign_in_providers": frozenset("a")}, {"sign_in_providers": frozenset("ab")}, True),
    (NOTHING, {"sign_in_providers": frozenset("a")}, False),
    ({"claims": (("a", 1), ("b", 2))}, {"claims": (("b", 2),)}, True),
    ({"claims": (("a", 1),)}, {"claims": (("b", 2),)}, False),
    ({"expression": cel("true")}, {"expression": cel("true")}, True),
    ({"expression": cel("true")}, {"expression": cel("false")}, False),
    (NOTHING, {"expression": cel("true")}, False),
    ({"expression": cel("true")}, NOTHING, True),
    ({"max_auth_age": 60}, {"max_auth_age": 60}, True),
    ({"max_auth_age": 60}, {"max_auth_age": 61}, True),
    ({"max_auth_age": 61}, {"max_auth_age": 60}, False),
    (NOTHING, {"max_auth_age": 60}, False),
]


@pytest.mark.parametrize(("these", "others", "result"), COVERS)
def test_which_demands_imply_which(these: dict[str, Any], others: dict[str, Any], result: bool) -> None:
    """... knows when meeting one route's demands means meeting another's."""
    assert Requirements(**these).covers(Requirements(**others)) is result
