"""Every token says where its session began. By configuration: ``functions.sign_in_ip = "plain"``."""

from __future__ import annotations

from gateway.blocking import BlockingFunctions, EventContext, User, UserUpdate

functions = BlockingFunctions("my-project")


@functions.before_sign_in
def track(user: User, context: EventContext) -> UserUpdate:  # noqa: ARG001 - the signature of functions
    """Put the address into the session; the gateway compares it with the address of each request."""
    return UserUpdate(session_claims={"signInIpAddress": context.ip_address})
