"""A provider's addresses count as verified. By configuration: ``functions.trusted_providers``."""

from __future__ import annotations

from gateway.blocking import BlockingFunctions, EventContext, User, UserUpdate

functions = BlockingFunctions("my-project")


@functions.before_create
def trust_facebook(user: User, context: EventContext) -> UserUpdate | None:
    """Test the provider's exact id, not a piece of the event's type."""
    if user.email and not user.email_verified and context.sign_in_method == "facebook.com":
        return UserUpdate(email_verified=True)
    return None
