"""What a route demands of a session beyond being good, and what its owner can do when it falls short.

The rules this file obeys:

* *Types are exact.* ``true`` is not ``1`` and ``"1"`` is not ``1``; a claim that is a list meets a demand when it
  contains the value. A claim that is missing or of another shape meets nothing.
* *What no sign-in can mend comes first.* Role, claim, provider, e-mail and expression are answered with 403
  ``insufficient_scope`` (RFC 6750 section 3.1); only whoever passes those is asked for a second factor or a fresh
  sign-in (RFC 9470), so nobody types a password only to be refused.
* *Age is the age of the sign-in.* ``max_auth_age`` counts from ``auth_time``, which a renewed token keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway import reasons
from gateway.policy.expression import Expression, ExpressionFailed
from gateway.reasons import Reason

if TYPE_CHECKING:
    from gateway.core.claims import Claims
    from gateway.core.client_ip import IPAddress
    from gateway.core.context import RequestContext

MULTI_FACTOR: Final = "http://schemas.openid.net/pape/policies/2007/06/multi-factor"
"""The authentication context that a second factor gives (OpenID PAPE 1.0 section 4): Firebase names none of its own."""

NEVER_AGAIN: Final = float("-inf")
FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Requirements:
    """What ``require`` of a route says. Everything given must hold; ``max_auth_age`` is in seconds.

    ``roles``: at least one of them stands in the claim ``roles_claim``. ``claims``: pairs of a claim's name and what it
    must be: a text, number or boolean, a mapping for a claim that is an object, or a tuple of which one must fit.
    """

    verified_email: bool = False
    sign_in_providers: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    roles_claim: str = "roles"
    claims: tuple[tuple[str, Any], ...] = ()
    expression: Expression | None = None
    second_factor: bool = False
    max_auth_age: int | None = None

    def covers(self, other: Requirements) -> bool:
        """Whether every session that meets this meets ``other`` as well, as far as can be told from the two."""
        return (
            self.verified_email >= other.verified_email
            and self.second_factor >= other.second_factor
            and _narrower(self.sign_in_providers, other.sign_in_providers)
            and _narrower(self.roles, other.roles)
            and (not other.roles or self.roles_claim == other.roles_claim)
            and all(pair in self.claims for pair in other.claims)
            and (other.expression is None or self.expression == other.expression)
            and (
                other.max_auth_age is None
                or (self.max_auth_age is not None and self.max_auth_age <= other.max_auth_age)
            )
        )


def _narrower(these: frozenset[str], others: frozenset[str]) -> bool:
    """Whether "one of these" implies "one of the others"; an empty set demands nothing."""
    return not others or (bool(these) and these <= others)


@dataclass(frozen=True, slots=True)
class Unmet:
    """The first demand that a session does not meet. ``detail`` is for the operator and holds no value of a claim."""

    reason: Reason
    detail: str
    max_age: int | None = None
    acr_values: str | None = None


def unmet(
    demands: Requirements, claims: Claims, now: float, context: RequestContext, client: IPAddress | None
) -> Unmet | None:
    """What of ``demands`` the session does not meet; None when all is met.

    :param now: wall-clock seconds.
    """
    if demands.sign_in_providers and claims.sign_in_provider not in demands.sign_in_providers:
        return Unmet(reasons.PROVIDER_NOT_ALLOWED, "signed in another way than sign_in_provider lists")
    if demands.verified_email and not (claims.email_verified and claims.email):
        return Unmet(reasons.EMAIL_NOT_VERIFIED, "the e-mail address is not verified")
    if demands.roles and not has_role(claims.payload.get(demands.roles_claim), demands.roles):
        return Unmet(reasons.ROLE_MISSING, f"the claim {demands.roles_claim} holds none of the roles")
    for name, expected in demands.claims:
        if not fits(claims.payload.get(name), expected):
            return Unmet(reasons.CLAIM_MISSING, f"the claim {name} is missing or another")
    if demands.expression is not None:
        try:
            held = demands.expression.holds(claims.payload, request_values(context, client))
        except ExpressionFailed as fault:
            return Unmet(reasons.EXPRESSION_FAILED, f"the expression refuses: {fault}")
        if not held:
            return Unmet(reasons.EXPRESSION_FALSE, "the expression is false")
    if demands.second_factor and not claims.second_factor:
        return Unmet(reasons.STEP_UP_SECOND_FACTOR, "signed in without a second factor", acr_values=MULTI_FACTOR)
    if demands.max_auth_age is not None and now - claims.auth_time >= demands.max_auth_age:
        detail = f"signed in {int(now - claims.auth_time)} s ago, at most {demands.max_auth_age} s are allowed"
        return Unmet(reasons.STEP_UP_AUTH_AGE, detail, max_age=demands.max_auth_age)
    return None


def holds_until(demands: Requirements, claims: Claims) -> float:
    """Until when a session that meets the demands meets them: wall-clock seconds, or an infinity.

    Minus infinity when they hang on the request, so that the answer is good for this one alone.
    """
    if demands.expression is not None and demands.expression.reads_request:
        return NEVER_AGAIN
    return FOREVER if demands.max_auth_age is None else claims.auth_time + demands.max_auth_age


def request_values(context: RequestContext, client: IPAddress | None) -> dict[str, str]:
    """What an expression sees as ``request``."""
    return {
        "method": context.method,
        "path": context.target.path,
        "host": context.host,
        "client": str(client) if client is not None else "",
    }


def has_role(value: object, roles: frozenset[str]) -> bool:
    """Whether a claim, one text or a list of them, names one of the roles."""
    held = value if isinstance(value, list) else [value]
    return any(isinstance(role, str) and role in roles for role in held)


def fits(value: object, expected: Any) -> bool:
    """Whether a claim is what is demanded of it."""
    if isinstance(expected, tuple):
        return any(fits(value, one) for one in expected)
    if isinstance(expected, Mapping):
        return isinstance(value, Mapping) and all(fits(value.get(name), part) for name, part in expected.items())
    if isinstance(value, list):
        return any(_equals(one, expected) for one in value)
    return _equals(value, expected)


def _equals(value: object, expected: object) -> bool:
    """Equality without Python's kinship of booleans and numbers; 1 and 1.0 are one number to JSON."""
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return value == expected
    return isinstance(value, str) and isinstance(expected, str) and value == expected
