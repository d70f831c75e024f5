"""Nobody registers with an address that is not verified. By configuration: ``functions.refuse_unverified_email``."""

from __future__ import annotations

from gateway.blocking import BlockingFunctions, EventContext, HttpsError, User

functions = BlockingFunctions("my-project")


@functions.before_create
def refuse_unverified(user: User, context: EventContext) -> None:  # noqa: ARG001 - the signature of functions
    """Refuse; people without an address, who come by telephone, pass."""
    if user.email and not user.email_verified:
        raise HttpsError("invalid-argument", f'Unverified email "{user.email}"')
