"""Who calls, as a backend is told it: header fields, and where a route says so the signed assertion beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.mutators.headers import Fields, route_fields

if TYPE_CHECKING:
    from gateway.core.session import Session
    from gateway.mutators.assertion import Assertions
    from gateway.policy.routes import Route

FOREVER: Final = float("inf")


class IdentityWriter:
    """Writes what a backend is told of a session on a route.

    :param assertions: makes the signed ones; None where no route asks for any.
    """

    __slots__ = ("_assertions",)

    def __init__(self, assertions: Assertions | None = None) -> None:
        self._assertions = assertions

    def write(self, session: Session | None, route: Route, now: float) -> tuple[Fields, float]:
        """The fields, and until when they may be written again for this session and route, in seconds since the epoch.

        :param now: seconds since the epoch.
        """
        fields = route_fields(session, route)
        if session is None or not route.assertion or self._assertions is None:
            return fields, FOREVER
        assertion = self._assertions.of(session, route.assertion, now)
        return [*fields, (self._assertions.settings.form.field, assertion.token)], assertion.fresh_until
