"""Claims out of a SAML provider's attributes. By configuration: ``[[functions.claims]]``."""

from __future__ import annotations

from gateway.blocking import BlockingFunctions, EventContext, User, UserUpdate

functions = BlockingFunctions("my-project")


@functions.before_create
@functions.before_sign_in
def copy(user: User, context: EventContext) -> UserUpdate | None:
    """Store what does not change; session claims are for sign-ins only, and a missing attribute is left out."""
    credential = context.credential
    if credential is None or credential.provider_id != "saml.my-provider-id" or not credential.claims:
        return None
    said = credential.claims
    stored = {**(user.custom_claims or {}), **({"eid": said["employeeid"]} if said.get("employeeid") else {})}
    if context.additional_user_info.is_new_user:
        return UserUpdate(custom_claims=stored)
    session = {name: said[name] for name in ("role", "groups") if said.get(name) is not None}
    return UserUpdate(custom_claims=stored, session_claims=session)
