"""Pages of other sites, by the lists of a route: answers to preflights, and the fields that let a page read an answer.

The rules this file obeys (Fetch, section "CORS protocol"; ``gateway.policy.cross_site`` judges):

* An origin is named back only when the route lists it, exactly, and never with ``*`` or ``null``.
* Every answer of such a route says ``Vary: Origin``, also the one without an origin: a cache would otherwise give one
  page's answer to another (Fetch, section "CORS protocol and HTTP caches").
* A preflight is answered from the configuration alone. It is not forwarded, and needs no session, since a browser sends
  it without one.
* The backend's own ``Access-Control-`` fields are taken off on such a route (:mod:`gateway.mutators.headers`): two
  answers to one question are none.
"""

from __future__ import annotations

from gateway.core.context import Headers
from gateway.http.reply import Reply
from gateway.policy.cross_site import Cors


def answer_fields(cors: Cors | None, headers: Headers) -> tuple[tuple[str, str], ...]:
    """What is added to any answer on a route with these lists; nothing without lists."""
    if cors is None:
        return ()
    origin = headers.one(b"origin")
    if origin is None or origin not in cors.origins:
        return (("Vary", "Origin"),)
    fields = [("Vary", "Origin"), ("Access-Control-Allow-Origin", origin)]
    if cors.credentials:
        fields.append(("Access-Control-Allow-Credentials", "true"))
    if cors.expose:
        fields.append(("Access-Control-Expose-Headers", ", ".join(cors.expose)))
    return tuple(fields)


def preflight(cors: Cors, request_id: str) -> Reply:
    """The answer to a preflight from a listed origin, :func:`answer_fields` aside.

    Whether the request may follow is the browser's to compare.
    """
    fields = [
        ("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers"),
        ("Access-Control-Allow-Methods", ", ".join(sorted(cors.methods))),
        ("Access-Control-Max-Age", str(cors.max_age)),
        ("Cache-Control", "no-store"),
        ("X-Request-Id", request_id),
    ]
    if cors.headers:
        fields.append(("Access-Control-Allow-Headers", ", ".join(cors.headers)))
    return Reply(204, tuple(fields))
