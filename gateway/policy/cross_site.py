"""Whether a state-changing request was started by this site, or by one that the route lists.

The rule this file obeys (OWASP ASVS 5.0 section 3.5, Fetch Metadata, RFC 6454 section 7): an unsafe method or a
WebSocket handshake that a *foreign page* started is refused, whatever credential came with it. A browser says where a
request comes from in ``Origin`` and ``Sec-Fetch-Site``; a script cannot set either. The published worker pattern needs
this although bearer tokens are no cookies: the worker adds the token to navigations too, so a form on a foreign page
would carry it.

* *Bearer.* A request with neither header comes from no browser of this decade. It passes, because whoever sent it holds
  the token.
* *Ambient* (a cookie, ``threats.md`` row 33). The browser attaches it by itself, so silence proves nothing: the request
  must *show* that this site started it, by an own ``Origin``, or ``Sec-Fetch-Site: same-origin``, or ``none`` (the user
  did, from the address bar say) without any ``Origin``.
* *Pages that tell nobody where they are.* A page sent with ``Referrer-Policy: no-referrer`` has its own forms say
  ``Origin: null`` (Fetch, "append a request Origin header"). So do sandboxed frames and ``data:`` pages, but to these
  every site is a foreign one, and only ``Sec-Fetch-Site: same-origin`` tells the two apart. A WebSocket handshake names
  its origin whatever the policy.
* *Listed origins.* A route for a public API may list foreign origins, exactly; with a bearer they count as this site,
  with an ambient credential only where the list says so. The origin ``null`` cannot be listed: sandboxed frames,
  ``data:`` pages and redirects all share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.core.context import RequestContext
from gateway.core.credential import is_local_http

_OWN: Final = frozenset({"same-origin", "none"})


_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Cors:
    """Who else may use a route from a page (Fetch, section "CORS protocol").

    ``origins``: as browsers write them, lower case, without a default port. ``methods``: in capitals. ``headers`` that
    may be sent and ``expose`` that may be read: lower case. ``max_age``: seconds that a browser may remember the
    answer. ``credentials``: cookies may come along.
    """

    origins: frozenset[str]
    methods: frozenset[str]
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: int = 0
    credentials: bool = False


def is_cross_site(context: RequestContext, *, ambient: bool = False, cors: Cors | None = None) -> bool:
    """Whether the request changes state and was started by a page that may not, or may have been when ``ambient``.

    Authorities are compared. Schemes are not, with a bearer token: behind a proxy that ends TLS and is not in the
    trusted list the gateway does not know its own scheme. A cookie is only ever set over https or on this machine, so
    with an ambient credential a page that came over plain http is foreign unless it is this machine's: it can be
    anybody's who sits on the network (RFC 6265 section 8.6).

    :param ambient: the credential is one that the browser attaches by itself.
    :param cors: the route's list of foreign origins.
    """
    if context.safe or is_same_origin(context, ambient=ambient):
        return False
    origin = context.headers.one(b"origin")
    return not (cors is not None and origin is not None and _is_listed(origin, context, cors, ambient=ambient))


def is_same_origin(context: RequestContext, *, ambient: bool = True) -> bool:
    """Whether nothing says that another site started the request and, when ``ambient``, something says that ours did.

    Method and kind of request are not looked at.
    """
    origins = context.headers.all(b"origin")
    sites = context.headers.all(b"sec-fetch-site")
    if len(origins) > 1 or len(sites) > 1:
        return False
    if origins and not _is_own(origins[0].lower(), context.host, ambient=ambient):
        return not context.websocket and (origins, [site.lower() for site in sites]) == (["null"], ["same-origin"])
    if sites and sites[0].lower() not in _OWN:
        return False
    return not ambient or bool(origins) or bool(sites)


def requested_method(context: RequestContext) -> str | None:
    """The method that a preflight asks about; None when the request is none (Fetch, section "CORS-preflight fetch")."""
    if context.method != "OPTIONS" or context.headers.one(b"origin") is None:
        return None
    return context.headers.one(b"access-control-request-method")


def _is_listed(origin: str, context: RequestContext, cors: Cors, *, ambient: bool) -> bool:
    if origin not in cors.origins or (ambient and not cors.credentials):
        return False
    return context.websocket or context.method in cors.methods


def _is_own(origin: str, host: str, *, ambient: bool) -> bool:
    scheme, separator, authority = origin.partition("://")
    if not separator or scheme not in _DEFAULT_PORTS:
        return False  # "null" among others
    if ambient and scheme == "http" and not is_local_http(scheme, host):
        return False
    port = _DEFAULT_PORTS[scheme]
    return authority.removesuffix(port) == host.removesuffix(port)
