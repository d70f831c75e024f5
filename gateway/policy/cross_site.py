"""Whether a state-changing request was started by this site.

The rule this file obeys (OWASP ASVS 5.0 section 3.5, Fetch Metadata, RFC 6454 section 7): an unsafe method or a
WebSocket handshake that a *foreign page* started is refused, whatever credential came with it. A browser says where a
request comes from in ``Origin`` and ``Sec-Fetch-Site``; a script cannot set either. The published worker pattern needs
this although bearer tokens are no cookies: the worker adds the token to navigations too, so a form on a foreign page
would carry it.

A request with neither header comes from no browser of this decade. With a bearer credential it passes, because
whoever sent it holds the token.
"""

from __future__ import annotations

from typing import Final

from gateway.core.context import RequestContext

_OWN: Final = frozenset({"same-origin", "none"})


_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def is_cross_site(context: RequestContext) -> bool:
    """Whether the request changes state and was started by a foreign page.

    Authorities are compared, schemes are not: behind a proxy that ends TLS and is not in the trusted list the gateway
    does not know its own scheme, and a page that could use the difference would already sit between the user and the
    site.
    """
    if context.safe:
        return False
    origins = context.headers.all(b"origin")
    sites = context.headers.all(b"sec-fetch-site")
    if len(origins) > 1 or len(sites) > 1:
        return True
    if origins and not _is_own(origins[0].lower(), context.host):
        return True
    return bool(sites) and sites[0].lower() not in _OWN


def _is_own(origin: str, host: str) -> bool:
    scheme, separator, authority = origin.partition("://")
    if not separator or scheme not in _DEFAULT_PORTS:
        return False  # "null" among others
    port = _DEFAULT_PORTS[scheme]
    return authority.removesuffix(port) == host.removesuffix(port)
