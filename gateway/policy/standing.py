"""Whether a session still stands with the account service.

The rule this file obeys (``threats.md`` rows 13 and 40; Google, "Manage user sessions"): a session is over when its
user is gone or disabled, or signed in before *valid-since*, both in whole seconds. Where the service does not answer,
the last thing heard of it may refuse somebody and vouches for nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway import reasons
from gateway.errors import RevocationUnavailable
from gateway.policy.routes import OnOutage

if TYPE_CHECKING:
    from gateway.core.claims import Claims, Principal
    from gateway.core.ports import RevocationSource, Standing
    from gateway.policy.routes import Route
    from gateway.reasons import Reason


async def standing_for(
    revocation: RevocationSource, principal: Principal, route: Route
) -> tuple[Standing | None, Reason]:
    """The standing, and what an answer that rests on it is called.

    Where the account service does not answer and the route lets good tokens pass all the same, the standing is the last
    one heard of, or None.

    :raises RevocationUnavailable: it is not known, and the route wants it known.
    """
    try:
        return await revocation.standing(principal), reasons.SESSION_VALID
    except RevocationUnavailable:
        if route.on_revocation_outage is OnOutage.DENY:
            raise
        return revocation.last_known(principal), reasons.SESSION_UNCHECKED


def revoked(claims: Claims, standing: Standing | None) -> Reason | None:
    """Why the session is over, or None; a standing that is not known refuses nobody."""
    if standing is None:
        return None
    if not standing.exists:
        return reasons.USER_NOT_FOUND
    if standing.disabled:
        return reasons.USER_DISABLED
    return reasons.SESSION_REVOKED if claims.auth_time < standing.valid_since else None


def standing_text(standing: Standing | None, allowed: Reason) -> str:
    """The standing in words, for the trail; ``allowed`` is what :func:`standing_for` gave with it."""
    if standing is None:
        return "not known, and the account service does not answer; the route lets that pass"
    if not standing.exists:
        return "the account is gone"
    text = "disabled" if standing.disabled else f"valid since {standing.valid_since}"
    return text if allowed is reasons.SESSION_VALID else f"{text} when last heard of, and the route lets that pass"
