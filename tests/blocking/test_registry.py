"""How functions are registered."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from gateway.blocking.event import Event
from gateway.blocking.registry import DEADLINE, SERVICE_DEADLINE, Registry
from gateway.errors import ConfigError


def test_decorators_register_and_return_the_function() -> None:
    """... registers functions in their order and leaves them as they are."""
    registry = Registry()

    @registry.before_create
    def first(user: Any, context: Any) -> None: ...

    @registry.before_create(on_timeout="allow", deadline=1.5)
    async def second(user: Any, context: Any) -> None: ...

    @registry.before_sms
    def third(context: Any) -> None: ...

    registered = registry.functions(Event.BEFORE_CREATE)
    assert [entry.function for entry in registered] == [first, second]
    assert [(entry.on_timeout, entry.deadline) for entry in registered] == [("deny", None), ("allow", 1.5)]
    assert registry.events == (Event.BEFORE_CREATE, Event.BEFORE_SEND_SMS)
    assert registry.functions(Event.BEFORE_SIGN_IN) == ()


class Object:
    def __call__(self, user: Any, context: Any) -> None: ...


SHAPES: list[tuple[str, Any, bool, bool]] = [
    ("two", lambda user, context: None, True, True),
    ("one", lambda event: None, False, False),
    ("any", lambda *arguments: None, True, False),
    ("one and an option", lambda event, extra=None: None, True, False),
    ("an object", Object(), True, True),
    ("a partial", functools.partial(lambda word, user, context: None, "word"), True, True),
    ("a builtin", print, True, False),
]


@pytest.mark.parametrize(
    ("function", "at_create", "at_sms"), [shape[1:] for shape in SHAPES], ids=[shape[0] for shape in SHAPES]
)
def test_functions_are_called_as_they_are_written(function: Any, at_create: bool, at_sms: bool) -> None:
    """... calls a function with user and context, or with the context alone, whichever it takes."""
    registry = Registry()
    registry.before_create(function)
    registry.before_sms(function)
    (create,) = registry.functions(Event.BEFORE_CREATE)
    (sms,) = registry.functions(Event.BEFORE_SEND_SMS)
    assert (create.with_user, sms.with_user) == (at_create, at_sms)
    user, context = object(), object()
    assert create.arguments(user, context) == ((user, context) if at_create else (context,))  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [lambda: None, lambda a, b, c: None, lambda *, user: None, 7, "create"])
def test_what_cannot_be_called_is_refused(function: Any) -> None:
    """... refuses, when it is registered, a function that could never be called."""
    with pytest.raises(ConfigError):
        Registry().before_create(function)


@pytest.mark.parametrize("deadline", [0, -1, 7, 60])
def test_a_deadline_is_within_the_services(deadline: float) -> None:
    """... refuses a deadline that the service would not wait for."""
    with pytest.raises(ConfigError, match="deadline"):
        Registry().before_sign_in(deadline=deadline)
    assert 0 < DEADLINE < SERVICE_DEADLINE == 7


def test_on_timeout_has_two_values() -> None:
    """... refuses another word for what becomes of a slow function."""
    with pytest.raises(ConfigError, match="on_timeout"):
        Registry().before_email(on_timeout="maybe")  # type: ignore[call-overload]


def test_registries_add_up() -> None:
    """... calls the functions of another registry after its own."""
    ours, theirs = Registry(), Registry()

    def first(user: Any, context: Any) -> None: ...

    def second(user: Any, context: Any) -> None: ...

    ours.before_create(first)
    theirs.before_create(second)
    theirs.before_email(lambda context: None)
    ours.include(theirs)
    assert [entry.function for entry in ours.functions(Event.BEFORE_CREATE)] == [first, second]
    assert len(ours.functions(Event.BEFORE_SEND_EMAIL)) == 1
    assert len(theirs.functions(Event.BEFORE_CREATE)) == 1
