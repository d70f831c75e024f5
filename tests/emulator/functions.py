"""Functions whose answers a test chooses, and which keep what they were told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.blocking import BlockingFunctions, EventContext, User

PREFIX: Final = "providers/cloud.auth/eventTypes/user."


@dataclass
class Scripted:
    """``create`` and ``sign_in`` are what the functions return, or raise."""

    create: Mapping[str, Any] | Exception | None = None
    sign_in: Mapping[str, Any] | Exception | None = None
    seen: list[tuple[User, EventContext]] = field(default_factory=list)

    def register(self, kit: BlockingFunctions) -> None:
        """Add the two functions to a kit."""

        @kit.before_create
        def create(user: User, context: EventContext) -> Mapping[str, Any] | None:
            self.seen.append((user, context))
            return _answer(self.create)

        @kit.before_sign_in
        def sign_in(user: User, context: EventContext) -> Mapping[str, Any] | None:
            self.seen.append((user, context))
            return _answer(self.sign_in)

    def events(self) -> list[str]:
        """The events since the last look, with their methods."""
        names = [context.event_type.removeprefix(PREFIX) for _, context in self.seen]
        self.seen.clear()
        return names


def _answer(chosen: Mapping[str, Any] | Exception | None) -> Mapping[str, Any] | None:
    if isinstance(chosen, Exception):
        raise chosen
    return chosen
