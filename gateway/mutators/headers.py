"""Header fields on their way through: what is taken away, what is set.

The rules this file obeys (``threats.md`` rows 16 to 19; oauth2-proxy CVE-2025-64484, Traefik CVE-2024-45410 and
CVE-2026-33433):

1. **A name the gateway vouches for never comes from a client.** Names are compared *folded* (lower case, everything
   but letters and digits read as ``-``), because CGI, WSGI and PHP fold them so, and on every route, public ones
   included.
2. **An unusual spelling is not a name.** A field whose name holds anything but letters, digits and hyphens is
   dropped: behind the gateway ``X_Forwarded_User`` and ``X-Forwarded-User`` are one variable. (nginx does the same by
   default.)
3. **The incoming set is cleaned first, ours is added last.** Hop-by-hop fields and whatever ``Connection`` nominates
   (RFC 9110 section 7.6.1) are removed from what the *client* sent, so that ``Connection: X-Forwarded-User`` can
   delete nothing of ours.
4. **A value that came from a token can hold anything.** It is encoded or left out, never passed on with a control
   character.

How text becomes a field value: visible ASCII as it is; everything else as an RFC 8187 ``ext-value``
(``UTF-8''M%C3%BCller``), and so is a text that itself begins with ``UTF-8''``, which keeps the encoding unambiguous.
Where a route says so, it is an encoded word of RFC 2047 instead (``=?UTF-8?B?TcO8bGxlcg==?=``), and so is a text that
begins with ``=?``. In the comma-separated groups field a group with a comma or a space at an end is encoded too.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow
from gateway.core.ports import AddressSource
from gateway.core.session import Session
from gateway.policy.routes import Auth, Route

Fields = list[tuple[bytes, bytes]]
"""Field lines in order."""

HOP_BY_HOP: Final = frozenset(
    {
        # RFC 9110 section 7.6.1 and the older list of RFC 2616 section 13.5.1.
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",  # RFC 7540 section 3.2.1: only ever sent with "Upgrade: h2c"
    }
)

RESERVED: Final = frozenset(
    {
        # Identity, as gateways and application servers of all kinds spell it.
        b"remote-user",
        b"remote-email",
        b"remote-groups",
        b"remote-name",
        b"x-user",
        b"x-user-id",
        b"x-user-email",
        b"x-email",
        b"x-groups",
        b"x-uid",
        b"x-auth-uid",
        b"x-auth-user",
        b"x-auth-email",
        b"x-auth-groups",
        b"x-webauth-user",
        b"x-userinfo",
        b"x-jwt-assertion",
        b"x-jwt-payload",
        b"x-endpoint-api-userinfo",  # Google ESPv2 and API Gateway
        b"x-apigateway-api-userinfo",
        b"x-serverless-authorization",  # Cloud Run reads a bearer token from here
        # Where the request came from and what was asked for: the gateway says so itself.
        b"forwarded",
        b"x-forwarded",
        b"x-real-ip",
        b"x-real-port",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-originating-ip",
        b"x-remote-ip",
        b"x-remote-addr",
        b"x-proxyuser-ip",
        b"x-forward-for",
        b"forwarded-for",
        b"proxy-client-ip",
        b"x-host",
        b"x-scheme",
        b"x-url-scheme",
        b"front-end-https",
        b"client-ip",
        b"true-client-ip",
        b"fastly-client-ip",
        b"x-azure-clientip",
        b"x-azure-socketip",
        b"x-appengine-user-ip",
        b"x-client-cert",
        b"x-client-verify",
        b"client-cert",  # RFC 9440
        b"client-cert-chain",
        # What makes a framework answer another question than the one that was judged.
        b"x-original-url",
        b"x-original-uri",
        b"x-original-method",
        b"x-original-host",
        b"x-rewrite-url",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-http-path-override",
        b"x-override-url",
        b"x-request-uri",
        b"x-script-name",
        b"script-name",
        b"path-info",
        b"x-accel-redirect",
        b"x-sendfile",
        b"proxy",  # becomes HTTP_PROXY in CGI (CVE-2016-5385)
        b"x-request-id",  # the gateway's own; a trusted peer's was read before
    }
)
"""Names that only the gateway, or something the gateway stands in for, may set."""

RESERVED_PREFIXES: Final = (
    b"x-forwarded-",
    b"x-gateway-",
    b"x-auth-request-",
    b"x-goog-iap-",
    b"x-goog-authenticated-user-",
    b"x-remote-user",
    b"x-remote-group",
    b"x-remote-email",
    b"x-authentik-",
    b"x-authelia-",
    b"x-pomerium-",
    b"x-vouch-",
    b"x-envoy-",
    b"x-original-forwarded-",
    b"x-appengine-auth",
    b"x-appengine-user",
    b"x-authenticated-",
    b"x-consumer-",  # Kong
    b"x-credential-",
    b"x-amzn-oidc-",
    b"x-ms-client-principal",
    b"x-ms-token-",
    b"tailscale-user-",
    b"cf-",  # Cloudflare, cf-access- among them (threats.md row 18)
    b"wl-proxy-",
    b"ssl-client-",
    b"x-ssl-client-",
)
"""Families of such names."""

RESPONSE_RESERVED: Final = frozenset(
    {
        b"service-worker-allowed",  # the gateway owns the worker (threats.md row 32)
        b"x-request-id",
        b"x-gateway-trail",
    }
)
"""What an upstream may not tell a browser."""

IDENTITY_FIELDS: Final = (b"X-Forwarded-User", b"X-Forwarded-Email", b"X-Forwarded-Groups")
"""Where the backend is told who calls."""

CORS_ANSWERS: Final = b"access-control-"
"""Family of the fields that tell a browser which foreign pages may read an answer."""

SESSION_COOKIES: Final = frozenset({b"__Host-session", b"__session"})
"""The gateway's own credential, where the cookie fallback is used: no backend needs it."""

_USUAL_NAME: Final = re.compile(rb"[A-Za-z0-9-]+")
_FOLD: Final = bytes(
    code + 32 if 65 <= code <= 90 else code if 97 <= code <= 122 or 48 <= code <= 57 else 45  # noqa: PLR2004 - ASCII
    for code in range(256)
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ATTR_CHAR: Final = "!#$&+-.^_`|~"  # RFC 8187 section 3.2.1, letters and digits aside
_EXT: Final = "UTF-8''"
_WORD: Final = "=?"
_CACHED_NAMES: Final = 2_048
"""Distinct field names whose class is remembered: far more than honest traffic has, bounded for the other kind."""


def fold(name: bytes) -> bytes:
    """The name as the most forgiving backend reads it: lower case, ``-`` for everything but letters and digits."""
    return name.translate(_FOLD)


def reserved(folded: bytes) -> bool:
    """Whether only the gateway may set a field of this folded name."""
    return folded in RESERVED or folded.startswith(RESERVED_PREFIXES)


@lru_cache(maxsize=_CACHED_NAMES)
def passes(name: bytes) -> bool:
    """Whether a client's field of this name may reach a backend at all."""
    if _USUAL_NAME.fullmatch(name) is None:
        return False
    folded = fold(name)
    return not (folded in HOP_BY_HOP or reserved(folded))


def nominated(values: Iterable[bytes]) -> frozenset[bytes]:
    """Folded names that the ``Connection`` fields with these values declare as hop-by-hop."""
    return frozenset(fold(option.strip(b" \t")) for value in values for option in value.split(b",") if option.strip())


def strip_request(
    headers: Headers, *, keep_authorization: bool = False, cookies: frozenset[bytes] = SESSION_COOKIES
) -> Fields:
    """What remains of a client's fields: no framing, nothing that the gateway vouches for, no credential of ours.

    ``Host`` and ``Content-Length`` are taken out as well; whoever writes the request adds them in one form.
    """
    dropped = nominated(value for name, value in headers.raw if name.lower() == b"connection")
    kept: Fields = []
    for name, value in headers.raw:
        if not passes(name):
            continue
        lower = name.lower()
        if lower in dropped or lower in {b"host", b"content-length", b"expect"}:
            continue
        if lower == b"authorization" and not keep_authorization:
            continue
        if lower == b"cookie":
            remaining = without_cookies(value, cookies)
            if remaining:
                kept.append((name, remaining))
            continue
        kept.append((name, value))
    return kept


def without_cookies(value: bytes, names: frozenset[bytes]) -> bytes:
    """What remains of a ``Cookie`` field's value without the cookies of these names."""
    if not any(name in value for name in names):
        return value
    pairs = [pair for pair in value.split(b";") if pair.partition(b"=")[0].strip(b" \t") not in names]
    return b";".join(pairs).strip(b" \t")


def encode_value(text: str, *, separator: str = "", base64: bool = False) -> bytes | None:
    """``text`` as a field value (see the module), or None when it holds a control character or nothing at all.

    ``separator``, where given, is encoded too.
    """
    if not text:
        return None
    if text.isascii() and text.isprintable():  # U+0020 to U+007E, which nearly every value consists of
        plain = text[0] != " " != text[-1] and not text.startswith(_WORD if base64 else _EXT)
    elif _CONTROL.search(text) is not None:
        return None
    else:
        plain = False
    if plain and not (separator and separator in text):
        return text.encode("ascii")
    try:
        octets = text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell
        return None
    if base64:
        return b"=?UTF-8?B?%b?=" % b64encode(octets)
    return (_EXT + quote(octets, safe=_ATTR_CHAR)).encode("ascii")


def _list(value: object, *, base64: bool) -> bytes | None:
    """One text or a list of them. Anything else tells nothing rather than something half read."""
    entries: Sequence[object] = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    encoded = []
    for entry in entries:
        word = encode_value(entry, separator=",", base64=base64) if isinstance(entry, str) else None
        if word is None:
            return None
        encoded.append(word)
    return b",".join(encoded) or None


def _claim(value: object, *, base64: bool) -> bytes | None:
    """A claim of any kind: a text or a list of texts as such, everything else as JSON in ASCII."""
    if isinstance(value, str):
        return encode_value(value, base64=base64)
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return _list(value, base64=base64)
    return json.dumps(value, separators=(",", ":")).encode("ascii") if value is not None else None


def route_fields(session: Session | None, route: Route) -> Fields:
    """What the backend is told about this route and this user; the same for all requests of a session on a route."""
    rewrite = route.rewrite
    if rewrite is None or not rewrite.strip:
        return identity_fields(session, route)
    return [(b"X-Forwarded-Prefix", rewrite.strip.encode("ascii")), *identity_fields(session, route)]


def identity_fields(session: Session | None, route: Route) -> Fields:
    """Who the gateway says is calling, as far as ``route.identity`` wants it told; nothing without a session."""
    if session is None:
        return []
    claims, base64 = session.claims, route.base64
    told, groups = route.identity, claims.payload.get(route.groups_claim)
    found: list[tuple[bytes, bytes | None]] = []
    if "user" in told:
        found.append((b"X-Forwarded-User", encode_value(claims.principal.uid, base64=base64)))
    if claims.email and "email" in told:
        found.append((b"X-Forwarded-Email", encode_value(claims.email, base64=base64)))
    if groups is not None and "groups" in told:
        found.append((b"X-Forwarded-Groups", _list(groups, base64=base64)))
    for name, claim in route.claim_fields:
        found.append((name.encode("ascii"), _claim(claims.payload.get(claim), base64=base64)))
    return [(name, value) for name, value in found if value is not None]


def forwarding_fields(context: RequestContext, addresses: AddressSource) -> Fields:
    """``X-Forwarded-For``, ``-Proto``, ``-Host`` and ``-Port``, rebuilt from what the gateway itself believes."""
    scheme = addresses.scheme(context.peer, context.headers, context.scheme)
    fields: Fields = []
    chain = addresses.chain(context.peer, context.headers)
    if chain:
        fields.append((b"X-Forwarded-For", ", ".join(str(hop) for hop in chain).encode("ascii")))
    fields.append((b"X-Forwarded-Proto", scheme.encode("ascii")))
    fields.append((b"X-Forwarded-Host", context.host.encode("ascii")))
    fields.append((b"X-Forwarded-Port", _port(context.host, scheme)))
    return fields


def _port(host: str, scheme: str) -> bytes:
    _, colon, port = host.rpartition(":")
    if colon and port.isdecimal():
        return port.encode("ascii")
    return b"443" if scheme == "https" else b"80"


def upstream_fields(
    context: RequestContext,
    decision: Allow,
    route: Route,
    addresses: AddressSource,
    request_id: str,
    told: Fields | None = None,
    *,
    cookies: frozenset[bytes] = SESSION_COOKIES,
) -> Fields:
    """Every field for the backend except framing: the client's, cleaned, then the gateway's.

    ``told`` is what it learns of the caller, by default :func:`route_fields`. ``cookies`` are the names of those that
    carry a session; no backend gets one.

    ``Host`` stays the client's, which the backend builds its links and checks its origins with, unless the upstream has
    a word of its own on it; whoever writes the request sees to that.
    """
    # A credential that was not believed is not handed on, or the backend might believe it.
    keep_authorization = route.forward_authorization and decision.ignored is None
    return [
        (b"Host", context.host.encode("ascii")),
        *strip_request(context.headers, keep_authorization=keep_authorization, cookies=cookies),
        *forwarding_fields(context, addresses),
        (b"X-Request-Id", request_id.encode("ascii")),
        *(route_fields(decision.session, route) if told is None else told),
    ]


def response_fields(
    fields: Iterable[tuple[bytes, bytes]],
    decision: Allow,
    route: Route,
    request_id: str,
    extra: Sequence[tuple[bytes, bytes]] = (),
) -> Fields:
    """What of an upstream's answer reaches the client: no hop-by-hop, no framing, nothing that is the gateway's to say.

    Where the answer depends on who asks, shared caches are told so (``threats.md`` row 34, RFC 9111 sections 3.5 and
    4.1). Where the route has lists of its own for foreign pages, the upstream's are taken off.

    :param extra: what the gateway adds; a trail among it makes the answer one for this caller alone.
    """
    fields = tuple(fields)
    dropped = nominated(value for name, value in fields if name.lower() == b"connection")
    kept: Fields = []
    for name, value in fields:
        folded = fold(name)
        if folded in HOP_BY_HOP or folded in RESPONSE_RESERVED or folded in dropped or folded == b"content-length":
            continue
        if route.cors is not None and folded.startswith(CORS_ANSWERS):
            continue
        kept.append((name, value))
    if decision.session is not None or any(name == b"X-Gateway-Trail" for name, _ in extra):
        kept = private_fields(kept)
    if route.auth is not Auth.PUBLIC:
        kept = varying_fields(kept)
    kept += extra
    kept.append((b"X-Request-Id", request_id.encode("ascii")))
    return kept


_SHARED: Final = re.compile(rb"\s*(?:public|s-maxage\s*=.*)\s*", re.IGNORECASE | re.DOTALL)
_STRICT: Final = re.compile(rb"\s*(?:private|no-store)\s*", re.IGNORECASE)


def private_fields(fields: Fields) -> Fields:
    """Keep a signed-in person's answer out of shared caches, unless the upstream already did."""
    directives = [part for name, value in fields if name.lower() == b"cache-control" for part in value.split(b",")]
    if any(_STRICT.fullmatch(part) for part in directives):
        return fields
    own = [part.strip() for part in directives if part.strip() and _SHARED.fullmatch(part) is None]
    rest = [(name, value) for name, value in fields if name.lower() != b"cache-control"]
    return [*rest, (b"Cache-Control", b", ".join([b"private", *own]))]


def varying_fields(fields: Fields) -> Fields:
    """Add the two fields that a session can come in to ``Vary``."""
    named = {part.strip().lower() for name, value in fields if name.lower() == b"vary" for part in value.split(b",")}
    missing = [] if b"*" in named else [name for name in (b"Authorization", b"Cookie") if name.lower() not in named]
    return [*fields, (b"Vary", b", ".join(missing))] if missing else fields
