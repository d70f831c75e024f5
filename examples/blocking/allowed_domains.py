"""Only people of one domain register. By configuration: ``functions.allowed_domains``."""

from __future__ import annotations

from gateway.blocking import BlockingFunctions, EventContext, HttpsError, User

functions = BlockingFunctions("my-project")


@functions.before_create
def only_example_com(user: User, context: EventContext) -> None:  # noqa: ARG001 - the signature of functions
    """Compare the whole domain: a search for "@example.com" would let x@example.com.evil.test in."""
    if user.email is None:
        raise HttpsError("invalid-argument", "An e-mail address is needed.")
    if user.email.rpartition("@")[2].lower() != "example.com":
        raise HttpsError("invalid-argument", f'Unauthorized email "{user.email}"')
