"""Conditions in CEL: true, or refused."""

from __future__ import annotations

import builtins
import logging
from typing import Any

import pytest

from gateway.policy.expression import MAX_LENGTH, Expression, ExpressionFailed, ExpressionUnavailable

CLAIMS: dict[str, Any] = {
    "role": "admin",
    "level": 3,
    "ok": True,
    "groups": ["a", "b"],
    "firebase": {"sign_in_provider": "password"},
}
REQUEST = {"method": "GET", "path": "/admin/x", "host": "app.test", "client": "203.0.113.9"}


def holds(source: str, claims: dict[str, Any] = CLAIMS) -> bool:
    return Expression(source, name="$.route[0]").holds(claims, REQUEST)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("claims.role == 'admin'", True),
        ("claims.role == 'user'", False),
        ("claims.level >= 3 && claims.ok", True),
        ("'a' in claims.groups", True),
        ("claims.groups.exists(g, g.startsWith('b'))", True),
        ("has(claims.missing) && claims.missing == 1", False),
        ("claims.firebase.sign_in_provider == 'password'", True),
        ("type(claims.level) == int", True),
        ("request.method == 'GET' && request.path.startsWith('/admin/')", True),
        ("request.host == 'app.test' && request.client != ''", True),
        ("claims.level == true", False),
        ("size(claims.groups) == 2", True),
    ],
)
def test_conditions_are_judged(source: str, expected: bool) -> None:
    """... judges by claims and request as the language says."""
    assert holds(source) is expected


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("claims.missing == 1", "a key is missing"),
        ("claims['x']['y'] == 1", "a key is missing"),
        ("claims.role", "it gives str, not a boolean"),
        ("claims.level", "it gives int, not a boolean"),
        ("claims.role > 1", "it fails"),
        ("int(claims.role) == 1", "it fails"),
        ("1 / (claims.level - 3) == 1", "it fails"),
        ("claims.role.size(1, 2)", "it fails"),
    ],
)
def test_what_gives_no_boolean_refuses(source: str, fault: str) -> None:
    """... takes nothing but a boolean for an answer, and says what happened without quoting a claim."""
    with pytest.raises(ExpressionFailed, match=fault) as caught:
        holds(source)
    assert "admin" not in str(caught.value)


@pytest.mark.parametrize("claims", [{"n": "\ud800"}, {"n": object()}])
def test_claims_that_cannot_be_told_refuse(claims: dict[str, Any]) -> None:
    """... refuses when the library cannot take a value."""
    with pytest.raises(ExpressionFailed, match="it fails"):
        holds("true", claims)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("claims.role ==", "line 1, column 15"),
        ("claims.role == 'a' &&\n  && true", "line 2, column 3"),
        ("user.role == 'a'", "there is no variable user"),
        ("claims.groups.exists(g, h == 'a')", "there is no variable h"),
        ("lower(claims.role) == 'a'", "there is no function lower"),
        ("true || claims.role.upper() == 'A'", "there is no function upper"),
        ("", "is empty"),
        ("  ", "is empty"),
        ("true" + " " * (MAX_LENGTH - 3), "longer than"),
        ("(" * 1000 + "true" + ")" * 1000, "line 1, column 97: Recursion limit of 96 exceeded"),
    ],
)
def test_what_is_no_expression_is_found_when_it_is_read(source: str, told: str) -> None:
    """... says where an expression is wrong before anything is served."""
    with pytest.raises(ValueError) as caught:
        Expression(source, name="x")
    assert told in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_panic_of_the_library_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """... survives a fault in native code, and lets an interrupt through."""

    class PanicException(BaseException):
        pass

    class Panics:
        def __init__(self, fault: type[BaseException]) -> None:
            self.fault = fault

        def execute(self, values: object) -> bool:
            raise self.fault("claims: secret")

    expression = Expression("true", name="x")
    expression._program = Panics(PanicException)
    with pytest.raises(ExpressionFailed, match=r"it fails \(PanicException\)") as caught:
        expression.holds({}, REQUEST)
    assert "secret" not in str(caught.value)
    expression._program = Panics(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        expression.holds({}, REQUEST)


def test_failures_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """... tells the operator at the first, tenth and hundredth failure of a route, not at each."""
    expression = Expression("claims.missing == 1", name="$.route[3].require.expression")
    with caplog.at_level(logging.ERROR):
        for _ in range(120):
            with pytest.raises(ExpressionFailed):
                expression.holds({}, REQUEST)
    assert [record.getMessage().rpartition("(")[2] for record in caplog.records] == [
        "1 times so far)",
        "10 times so far)",
        "100 times so far)",
    ]
    assert caplog.records[0].getMessage() == (
        "$.route[3].require.expression: the expression refuses, because a key is missing (1 times so far)"
    )


def test_whether_the_request_is_read_is_known() -> None:
    """... knows which answers hold for other requests too."""
    assert Expression("request.path == '/'", name="x").reads_request
    assert not Expression("claims.request == '/'", name="x").reads_request


@pytest.mark.parametrize("fault", [ValueError("nothing that says where"), RuntimeError("")])
def test_a_parser_without_words_is_no_parser_of_ours(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """... says that it is no expression when the library does not say where it is wrong."""

    def fails(source: str) -> None:
        raise fault

    monkeypatch.setattr("cel.compile", fails)
    with pytest.raises(ValueError, match=r"^is not a CEL expression$"):
        Expression("true", name="x")


def test_the_longest_expression_is_read() -> None:
    """... takes an expression of exactly the longest length."""
    assert holds("true" + " " * (MAX_LENGTH - 4))


def test_equal_texts_are_equal_conditions() -> None:
    """... compares conditions by their text, whatever their name."""
    one, same, other = (
        Expression("true", name="a"),
        Expression("true", name="b"),
        Expression("false", name="a"),
    )
    assert (one == same, one == other, one == "true", hash(one) == hash(same)) == (True, False, False, True)
    assert repr(one) == "Expression('true')"


def test_a_missing_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """... tells a missing extra from a wrong expression."""
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "cel":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExpressionUnavailable):
        Expression("true", name="x")
