"""What a proxy's question looks like, for whoever wants to answer it without reading all of it.

:mod:`gateway.forward_auth` has the rules. Here stands what the reverse proxy's fast path has to know of them too, so
that the two cannot come to different answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.mutators.headers import IDENTITY_FIELDS

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.policy.routes import Route

_TAKEN_UNLESS_TOLD: Final = ("authorization", "x-gateway-fetch", "x-gateway-jwt-assertion", "x-goog-iap-jwt-assertion")


@dataclass(frozen=True, slots=True)
class Terms:
    """How one dialect asks.

    :param endpoint: the path that is asked, without a slash at the end.
    :param names: the fields with the original method, target and host, in lower case; None where the question itself
        has them, the target behind ``endpoint``. Only there the answer names what is to be :func:`removed`.
    """

    endpoint: str
    names: tuple[bytes, bytes, bytes] | None


def removed(told: Collection[str], route: Route) -> str:
    """``X-Envoy-Auth-Headers-To-Remove``: whatever the gateway could have told and did not.

    The proxy has to take these fields from the client's request before the backend gets it.

    :param told: names of the fields that the backend is told, in lower case.
    """
    known = (name.decode("ascii").lower() for name in IDENTITY_FIELDS)
    own = (name.lower() for name, _ in route.claim_fields)
    unwanted = (*known, *own, *_TAKEN_UNLESS_TOLD, "cookie")
    return ",".join(dict.fromkeys(name for name in unwanted if name not in told))
