"""Which function is called for which event, and how (blocking-functions.md section 1.7, handler signatures)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from gateway.blocking.event import Event
from gateway.blocking.model import EventContext, User
from gateway.errors import ConfigError

OnTimeout: TypeAlias = Literal["deny", "allow"]
"""What becomes of an event when a function takes too long: it is refused, or goes on as if the function had returned
nothing."""

Function = TypeVar("Function", bound=Callable[..., Any])

SERVICE_DEADLINE: Final = 7.0
"""Seconds that the service waits for an answer, connecting and cold start included (Google, "Understanding blocking
functions")."""

DEADLINE: Final = 6.0
"""Seconds after which we answer ourselves: the answer still has to travel."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One function. ``with_user``: it is called with user and context, else with the context alone."""

    event: Event
    function: Callable[..., Any]
    name: str
    with_user: bool
    on_timeout: OnTimeout
    deadline: float | None

    def arguments(self, user: User | None, context: EventContext) -> tuple[Any, ...]:
        """What the function is called with."""
        return (user, context) if self.with_user else (context,)


class Registry:
    """The functions of each event, in the order of their registration."""

    def __init__(self) -> None:
        self._functions: dict[Event, list[Registered]] = {event: [] for event in Event}

    def functions(self, event: Event) -> tuple[Registered, ...]:
        """The functions of an event."""
        return tuple(self._functions[event])

    @property
    def events(self) -> tuple[Event, ...]:
        """The events that have a function."""
        return tuple(event for event, functions in self._functions.items() if functions)

    def include(self, other: Registry) -> None:
        """Call the functions of another registry too, after those that are here."""
        for event, functions in other._functions.items():
            self._functions[event] += functions

    @overload
    def before_create(self, function: Function, /) -> Function: ...
    @overload
    def before_create(
        self, /, *, on_timeout: OnTimeout = "deny", deadline: float | None = None
    ) -> Callable[[Function], Function]: ...
    def before_create(
        self, function: Any = None, /, *, on_timeout: OnTimeout = "deny", deadline: float | None = None
    ) -> Any:
        """Call this function before an account is stored: ``(user, context)``, or ``(context)`` with ``context.data``.

        :param on_timeout: ``deny`` or ``allow``, when it takes longer than it has.
        :param deadline: seconds for this function, within those for the whole event.
        :raises ConfigError: it cannot be called so, or ``deadline`` is no time.
        """
        return self._decorate(Event.BEFORE_CREATE, function, on_timeout, deadline)

    @overload
    def before_sign_in(self, function: Function, /) -> Function: ...
    @overload
    def before_sign_in(
        self, /, *, on_timeout: OnTimeout = "deny", deadline: float | None = None
    ) -> Callable[[Function], Function]: ...
    def before_sign_in(
        self, function: Any = None, /, *, on_timeout: OnTimeout = "deny", deadline: float | None = None
    ) -> Any:
        """Call this function before tokens are issued; see :meth:`before_create`."""
        return self._decorate(Event.BEFORE_SIGN_IN, function, on_timeout, deadline)

    @overload
    def before_email(self, function: Function, /) -> Function: ...
    @overload
    def before_email(
        self, /, *, on_timeout: OnTimeout = "deny", deadline: float | None = None
    ) -> Callable[[Function], Function]: ...
    def before_email(
        self, function: Any = None, /, *, on_timeout: OnTimeout = "deny", deadline: float | None = None
    ) -> Any:
        """Call this function before a mail for signing in or a new password leaves: ``(context)``.

        One with two parameters gets None for the user. Otherwise as :meth:`before_create`.
        """
        return self._decorate(Event.BEFORE_SEND_EMAIL, function, on_timeout, deadline)

    @overload
    def before_sms(self, function: Function, /) -> Function: ...
    @overload
    def before_sms(
        self, /, *, on_timeout: OnTimeout = "deny", deadline: float | None = None
    ) -> Callable[[Function], Function]: ...
    def before_sms(
        self, function: Any = None, /, *, on_timeout: OnTimeout = "deny", deadline: float | None = None
    ) -> Any:
        """Call this function before a text message with a code leaves; see :meth:`before_email`."""
        return self._decorate(Event.BEFORE_SEND_SMS, function, on_timeout, deadline)

    def _decorate(self, event: Event, function: Any, on_timeout: OnTimeout, deadline: float | None) -> Any:
        if on_timeout not in {"deny", "allow"}:
            raise ConfigError("on_timeout", f"{on_timeout!r} is neither deny nor allow")
        if deadline is not None and not 0 < deadline < SERVICE_DEADLINE:
            raise ConfigError("deadline", f"is not between 0 and {SERVICE_DEADLINE:g} seconds")

        def add(function: Function) -> Function:
            name = getattr(function, "__qualname__", None) or type(function).__name__
            with_user = _takes_user(function, name, event)
            self._functions[event].append(Registered(event, function, name, with_user, on_timeout, deadline))
            return function

        return add if function is None else add(function)


def _takes_user(function: Callable[..., Any], name: str, event: Event) -> bool:
    """Whether the function takes user and context, rather than the context alone.

    :raises ConfigError: it takes neither.
    """
    if not callable(function):
        raise ConfigError(name, "is no function", f"@functions.{event} stands above a function")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return event.has_user  # a builtin that does not tell
    user, context = object(), object()
    both, alone = _fits(signature, user, context), _fits(signature, context)
    if not both and not alone:
        raise ConfigError(name, "takes neither (user, context) nor (context)", f"def {name}(user, context): ...")
    return both and (event.has_user or not alone)


def _fits(signature: inspect.Signature, *arguments: object) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True
