"""Nobody is nameless. By configuration: ``functions.display_name``."""

from __future__ import annotations

from gateway.blocking import BlockingFunctions, EventContext, User, UserUpdate

functions = BlockingFunctions("my-project")


@functions.before_create
def name(user: User, context: EventContext) -> UserUpdate:  # noqa: ARG001 - the signature of functions
    """Keep the name that there is."""
    return UserUpdate(display_name=user.display_name or "Guest")
