"""The public keys of assertions, where backends fetch them.

Public by nature, and cacheable for :data:`~gateway.mutators.assertion.CACHING` seconds: a new key is published longer
than that before it signs, so whoever caches them knows every key in time. Fetching them is no decision about anybody.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from gateway import reasons
from gateway.http.negotiate import PROBLEM
from gateway.http.reply import Reply
from gateway.mutators.assertion import CACHING

if TYPE_CHECKING:
    from gateway.core.context import RequestContext
    from gateway.core.ports import Clock
    from gateway.http.reply import Replies
    from gateway.mutators.assertion import Assertions

JWKS_PATH: Final = "/.well-known/gateway/jwks.json"
"""A JWK set (RFC 7517)."""
PEM_PATH: Final = "/.well-known/gateway/public_keys.json"
"""A map of key names to PEM texts, as Google publishes the keys of Identity-Aware Proxy."""
PATHS: Final = (JWKS_PATH, PEM_PATH)
_READ_METHODS: Final = frozenset({"GET", "HEAD"})


class AssertionKeysEndpoint:
    """Serves the key ring of ``assertions``, as it is at the moment."""

    def __init__(self, assertions: Assertions, replies: Replies, clock: Clock) -> None:
        self._assertions = assertions
        self._replies = replies
        self._clock = clock

    def answer(self, context: RequestContext, request_id: str) -> Reply:
        """The answer to a request for one of :data:`PATHS`."""
        if context.method not in _READ_METHODS:
            reply = self._replies.failure(reasons.METHOD_NOT_ALLOWED, request_id, PROBLEM)
            return Reply(reply.status, (*reply.headers, ("Allow", "GET, HEAD")), reply.body)
        ring, now = self._assertions.ring, self._clock.now()
        jwks = context.target.path == JWKS_PATH
        document: dict[str, Any] = ring.jwks(now) if jwks else ring.pems(now)
        kind = "application/jwk-set+json" if jwks else "application/json"
        headers = (
            ("Content-Type", kind),
            ("Cache-Control", f"public, max-age={CACHING}"),
            ("X-Content-Type-Options", "nosniff"),
        )
        return Reply(200, headers, json.dumps(document).encode("ascii"))
