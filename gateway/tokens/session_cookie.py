"""Firebase session cookies: which payloads are a session that a cookie carries.

The rules this file obeys, from Google's page "Manage session cookies": a session cookie is a token like an ID token, by
the same rules (:mod:`gateway.tokens.id_token`), with two differences:

* ``iss`` is exactly ``https://session.firebase.google.com/<project>``;
* its keys are not those of ID tokens: they are published at an address of their own
  (``firebase.endpoints.session_cookie_certificates``).

**The kinds never pass as each other** (``threats.md`` row 10, OWASP ASVS 9.2.2). An ID token in the cookie's place is
refused by its issuer before a key is looked up, and would find no key there; so is a session cookie in the
``Authorization`` field. A cookie lives up to two weeks instead of an hour: revocation matters all the more.
"""

from __future__ import annotations

from gateway.tokens.id_token import DEFAULT_SKEW, Kind, TokenRules


def session_cookie_rules(project: str, tenants: frozenset[str] = frozenset(), skew: int = DEFAULT_SKEW) -> TokenRules:
    """Rules of session cookies; the arguments are those of :class:`gateway.tokens.id_token.TokenRules`."""
    return TokenRules(project, tenants, skew, Kind.SESSION_COOKIE)
