"""Session cookies: the same rules, another issuer, other keys."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.claims import Principal
from gateway.errors import TokenError, TokenExpired, WrongIssuer, WrongKind, WrongTenant
from gateway.tokens.id_token import CUSTOM_AUDIENCE, DEFAULT_SKEW, Kind, TokenRules, read_claims
from gateway.tokens.session_cookie import session_cookie_rules
from tests.support import forge
from tests.support.clock import NOW

RULES = session_cookie_rules(forge.PROJECT)
ISSUER = f"https://session.firebase.google.com/{forge.PROJECT}"
TWO_WEEKS = 14 * 24 * 3600


def test_a_good_cookie_becomes_claims() -> None:
    """... reads a cookie that lives two weeks."""
    claims = read_claims(forge.payload(iss=ISSUER, exp=int(NOW) + TWO_WEEKS), RULES, NOW)
    assert claims.principal == Principal(forge.PROJECT, None, forge.UID)
    assert claims.expires_at == int(NOW) + TWO_WEEKS


def test_the_rules_are_those_of_id_tokens_but_for_the_issuer() -> None:
    """... differs from ID tokens in kind and issuer alone."""
    tenants = frozenset({"t1"})
    cookie, token = session_cookie_rules("p", tenants, 7), TokenRules("p", tenants, 7)
    assert (cookie.project, cookie.tenants, cookie.skew) == (token.project, token.tenants, token.skew)
    assert (cookie.kind, token.kind) == (Kind.SESSION_COOKIE, Kind.ID_TOKEN)
    assert cookie.issuer == "https://session.firebase.google.com/p"
    assert token.issuer == "https://securetoken.google.com/p"
    assert cookie.foreign_issuers == {token.issuer}
    assert token.foreign_issuers == {cookie.issuer}
    assert session_cookie_rules("p").skew == DEFAULT_SKEW
    assert session_cookie_rules("p").tenants == frozenset()


@pytest.mark.parametrize(
    ("error", "claims"),
    [
        (WrongKind, {"iss": forge.ISSUER}),
        (WrongKind, {"iss": "sa@x.iam.gserviceaccount.com", "aud": CUSTOM_AUDIENCE}),
        (WrongKind, {"iss": ISSUER, "aud": "https://fn.test/", "event_type": "beforeSignIn"}),
        (WrongIssuer, {"iss": "https://session.firebase.google.com/other"}),
        (WrongIssuer, {"iss": ISSUER + "/"}),
        (WrongIssuer, {"iss": "https://securetoken.google.com/other"}),
        (WrongIssuer, {"iss": None, "aud": [CUSTOM_AUDIENCE]}),
        (WrongIssuer, {"iss": [forge.ISSUER]}),
        (TokenExpired, {"iss": ISSUER, "exp": int(NOW)}),
        (WrongTenant, {"iss": ISSUER, "firebase": {"tenant": "t1"}}),
    ],
)
def test_the_same_rules_refuse(error: type[TokenError], claims: dict[str, Any]) -> None:
    """... refuses another kind of token in a cookie's place, and what no kind may be."""
    with pytest.raises(TokenError) as caught:
        read_claims(forge.payload(**claims), RULES, NOW)
    assert type(caught.value) is error
