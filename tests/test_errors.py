"""The error tree: whose fault, and what may be said of it."""

from __future__ import annotations

import pytest

from gateway import errors, reasons
from gateway.errors import ConfigError, DependencyError, GatewayError, RequestError, TokenError, UpstreamError


def leaves(kind: type[GatewayError]) -> list[type[GatewayError]]:
    found = [kind]
    for child in kind.__subclasses__():
        found += leaves(child)
    return found


def test_the_drawing_shows_every_error() -> None:
    """... draws every exception at the top of the file."""
    drawing = errors.__doc__ or ""
    ours = [kind for kind in leaves(GatewayError) if kind.__module__ == errors.__name__]
    assert [kind.__name__ for kind in ours if kind.__name__ not in drawing] == []


@pytest.mark.parametrize("kind", leaves(TokenError))
def test_token_errors_are_the_callers_and_challenge(kind: type[TokenError]) -> None:
    """... turns every token error into a challenge of its own reason."""
    assert kind.reason.outcome is reasons.Outcome.CHALLENGE
    assert kind.reason.bearer_error == "invalid_token"


@pytest.mark.parametrize(("kind", "statuses"), [(DependencyError, {503}), (UpstreamError, {502, 504})])
def test_other_peoples_faults_have_their_statuses(kind: type[DependencyError], statuses: set[int]) -> None:
    """... takes the status from whose fault it is."""
    assert {leaf.reason.status for leaf in leaves(kind)} == statuses  # type: ignore[attr-defined]


def test_texts_say_where_what_and_what_to_try() -> None:
    """... shows place, fault and remedy in one line."""
    assert str(ConfigError("$.a", "is wrong", "try b")) == "$.a: is wrong (try b)"
    assert str(ConfigError("$.a", "is wrong")) == "$.a: is wrong"
    assert str(RequestError(reasons.HOST_INVALID)) == "host_invalid"
    assert errors.KeysUnavailable("down", retry_after=9).retry_after == 9
