"""Frozen values that are made quickly."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gateway import reasons
from gateway.core.claims import Claims, Principal, make_claims
from gateway.core.context import Headers, RequestContext, make_context
from gateway.core.credential import Carrier
from gateway.core.decision import Allow, Conditions, make_allow, make_conditions
from gateway.core.quick import maker
from gateway.core.session import NetworkAction, NetworkLevel, Session, make_session
from gateway.core.target import parse_target

CLAIMS = (Principal("p", None, "u"), 1, 2, 3, "ada@example.com", True, "Ada", "password", None, "203.0.113.9", {"a": 1})
SESSION = (Claims(*CLAIMS), None, NetworkLevel.NEAR, NetworkAction.LEARN, "why", Carrier.COOKIE)
CONDITIONS = (1.5, 7, None, "all", 3, 2, Carrier.BEARER, True)
ALLOW = (reasons.SESSION_VALID, "all", Session(*SESSION), Conditions(*CONDITIONS), reasons.TOKEN_EXPIRED, "cookie")
CONTEXT = ("GET", "https", "app.test", parse_target("/x"), "192.0.2.1", Headers(()), True)

KINDS = pytest.mark.parametrize(
    ("make", "cls", "values"),
    [
        (make_claims, Claims, CLAIMS),
        (make_session, Session, SESSION),
        (make_conditions, Conditions, CONDITIONS),
        (make_allow, Allow, ALLOW),
        (make_context, RequestContext, CONTEXT),
    ],
)


@KINDS
def test_what_is_made_quickly_is_the_same(make: Any, cls: Any, values: tuple[object, ...]) -> None:
    """makes the very value that the class itself makes, each part in its place."""
    quick, usual = make(*values), cls(*values)
    assert type(quick) is cls
    assert quick == usual
    assert repr(quick) == repr(usual)
    assert [getattr(quick, field.name) for field in dataclasses.fields(cls)] == list(values)
    assert dataclasses.replace(quick) == usual


@KINDS
def test_it_is_as_frozen(make: Any, cls: Any, values: tuple[object, ...]) -> None:
    """lets nobody change a decision, or what it stands on, however it was made."""
    quick = make(*values)
    for field in dataclasses.fields(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(quick, field.name, None)
    with pytest.raises((AttributeError, TypeError)):
        quick.extra = 1


@KINDS
def test_every_value_is_wanted(make: Any, cls: Any, values: tuple[object, ...]) -> None:
    """takes a value for each part and none too many, because a default that was meant otherwise would be believed."""
    for wrong in (values[:-1], (*values, 1)):
        with pytest.raises(TypeError):
            make(*wrong)


def test_another_class() -> None:
    """makes whatever is a frozen dataclass with slots, by position alone."""

    @dataclasses.dataclass(frozen=True, slots=True)
    class Pair:
        one: int
        other: int = 2

    make = maker(Pair)
    assert make(1, 3) == Pair(1, 3)
    assert hash(make(1, 2)) == hash(Pair(1))
    with pytest.raises(TypeError):
        make(one=1, other=2)
