"""From an aiohttp request to the guard's :class:`~gateway.core.context.RequestContext`.

The rule this file obeys: **what is judged is one message with one reading, or it is refused before routing**
(``threats.md`` rows 22, 23 and 29; RFC 9112 sections 2.3, 3.2, 6.1 and 6.3). aiohttp's C parser refuses most
malformed framing by itself, but it accepts a few things that a backend may read differently, and those are caught
here: a version other than 1.0 and 1.1, ``Transfer-Encoding`` on HTTP/1.0, a ``Host`` with a path, a target in
absolute form that names another host. The pure-Python parser accepts far more, so the gateway does not start with it.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from aiohttp import http_parser, web

from gateway import reasons
from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.errors import ConfigError, RequestError

MAX_HEAD_SIZE: Final = 65_536
"""Bytes of all field lines together. Room for a 16 KB token, 8 KB of cookies and the rest, several times over."""

BODY_DEADLINE: Final = 10.0
"""Seconds in which a body for the gateway itself must be here; it is a few kilobytes."""

_MAX_PORT: Final = 65_535
_VERSIONS: Final = frozenset({(1, 0), (1, 1)})
_REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE"})
"""A tunnel through a gateway, and an echo of credentials (RFC 9110 sections 9.3.6 and 9.3.8)."""
_METHOD: Final = re.compile(r"[A-Z][A-Z_-]{0,31}", re.ASCII)
_LENGTH: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
"""Up to 2**63 bytes. Digits without end are no number to some, and more than Python reads."""
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# reg-name without percent escapes and sub-delims, which no registered name holds; or a bracketed IPv6 address.
_HOST: Final = re.compile(r"(?:[a-z0-9._-]{1,255}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?", re.ASCII)
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


def require_strict_parser() -> None:
    """Refuse to go on without aiohttp's C parser.

    :raises ConfigError: only the pure-Python parser is there, which accepts ambiguous framing.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise ConfigError(
            "aiohttp",
            "its C parser is not available, and the pure-Python one accepts ambiguous requests",
            "install aiohttp from a wheel and unset AIOHTTP_NO_EXTENSIONS",
        )


def read_request(request: web.BaseRequest, max_body: int = 0) -> RequestContext:
    """Read one request.

    :param max_body: bytes that ``Content-Length`` may announce; 0: any number.
    :raises RequestError: ``request_malformed``, ``host_invalid``, ``target_ambiguous``, ``target_too_long``,
        ``method_not_allowed``, ``headers_too_large`` or ``body_too_large``.
    """
    if (request.version.major, request.version.minor) not in _VERSIONS:
        raise RequestError(reasons.REQUEST_MALFORMED, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if _METHOD.fullmatch(request.method) is None:
        raise RequestError(reasons.REQUEST_MALFORMED, "the method is not one")
    if request.method in _REFUSED_METHODS:
        raise RequestError(reasons.METHOD_NOT_ALLOWED, "CONNECT and TRACE are not served")
    headers = Headers(request.raw_headers)
    _check_fields(headers)
    _check_framing(headers, http_1_0=request.version.minor == 0)
    if max_body and int(headers.one(b"content-length") or 0) > max_body:
        raise RequestError(reasons.BODY_TOO_LARGE, f"the body is larger than {max_body} bytes")
    host = read_host(headers)
    raw = request.raw_path.encode("utf-8", "surrogateescape").decode("latin-1")
    target = parse_target(origin_form(raw, host))
    return RequestContext(
        method=request.method,
        scheme="https" if request.secure else "http",
        host=host,
        target=target,
        peer=peer_of(request),
        headers=headers,
        websocket=is_websocket(request.method, headers, http_1_0=request.version.minor == 0),
    )


def peer_of(request: web.BaseRequest) -> str:
    """The peer's address as text: the one that its PROXY header announced, or else the socket's.

    ``""`` for a unix socket.
    """
    announced = getattr(request.protocol, "announced_peer", None)
    if isinstance(announced, str):
        return announced
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


def _check_fields(headers: Headers) -> None:
    size = 0
    for name, value in headers.raw:
        size += len(name) + len(value) + 4  # ": " and CRLF
        if _NAME.fullmatch(name) is None or _CONTROL.search(value) is not None:
            raise RequestError(reasons.REQUEST_MALFORMED, "a header field is malformed")
    if size > MAX_HEAD_SIZE:
        raise RequestError(reasons.HEADERS_TOO_LARGE, f"the header fields are larger than {MAX_HEAD_SIZE} bytes")


def _check_framing(headers: Headers, *, http_1_0: bool) -> None:
    """One length, told in one way (RFC 9112 sections 6.1 and 6.3)."""
    lengths = headers.all(b"content-length")
    codings = headers.all(b"transfer-encoding")
    if len(lengths) > 1 or any(_LENGTH.fullmatch(length) is None for length in lengths):
        raise RequestError(reasons.REQUEST_MALFORMED, "Content-Length is not one number")
    if codings:
        if lengths:
            raise RequestError(reasons.REQUEST_MALFORMED, "both Content-Length and Transfer-Encoding")
        if http_1_0:
            raise RequestError(reasons.REQUEST_MALFORMED, "Transfer-Encoding in an HTTP/1.0 request")
        if len(codings) > 1 or codings[0].lower() != "chunked":
            raise RequestError(reasons.REQUEST_MALFORMED, "a Transfer-Encoding other than chunked")


def valid_host(host: str) -> bool:
    """Whether ``host`` (lower case) is a name or address with an optional port."""
    match = _HOST.fullmatch(host)
    return match is not None and (match.group(1) is None or int(match.group(1)) <= _MAX_PORT)


def read_host(headers: Headers) -> str:
    """The authority of the one ``Host`` field, lower case. HTTP/1.0 requests need one too: routes depend on it.

    :raises RequestError: ``host_invalid``.
    """
    values = headers.all(b"host")
    if len(values) != 1:
        raise RequestError(reasons.HOST_INVALID, "there is not exactly one Host")
    host = values[0].lower()
    if not valid_host(host):
        raise RequestError(reasons.HOST_INVALID, "Host is not a name or address with an optional port")
    return host


def origin_form(raw: str, host: str) -> str:
    """The target in origin form; absolute form (RFC 9112 section 3.2.2) passes when it names the host of ``Host``."""
    match = _ABSOLUTE.fullmatch(raw)
    if match is None:
        return raw
    if match.group(1).lower() != host:
        raise RequestError(reasons.HOST_INVALID, "the target names another host than Host does")
    rest = match.group(2)
    return rest if rest.startswith("/") else f"/{rest}"


def _tokens(headers: Headers, name: bytes) -> list[str]:
    return [token.strip(" \t").lower() for value in headers.all(name) for token in value.split(",")]


def is_websocket(method: str, headers: Headers, *, http_1_0: bool) -> bool:
    """Whether the request is a WebSocket opening handshake (RFC 6455 section 4.2.1)."""
    return (
        method == "GET"
        and not http_1_0
        and _tokens(headers, b"upgrade") == ["websocket"]
        and "upgrade" in _tokens(headers, b"connection")
        and headers.one(b"sec-websocket-key") is not None
    )


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """The whole body of a request that the gateway answers itself.

    :raises RequestError: ``body_too_large`` for more than ``limit`` bytes, ``request_malformed`` when it breaks off or
        takes longer than ``BODY_DEADLINE``.
    """
    body = b""
    try:
        async with asyncio.timeout(BODY_DEADLINE):
            while len(body) <= limit and (piece := await request.content.readany()):
                body += piece
    except RequestError:
        raise  # too slow or too large, says whoever reads the connection
    except Exception as error:  # whatever aiohttp raises of a broken chunk or a client that is gone
        raise RequestError(reasons.REQUEST_MALFORMED, "the request's body broke off") from error
    if len(body) > limit:
        raise RequestError(reasons.BODY_TOO_LARGE, f"the body is larger than {limit} bytes")
    return body


def has_body(headers: Headers) -> bool:
    """Whether bytes of a body follow the head."""
    length = headers.one(b"content-length")
    return b"transfer-encoding" in headers or (length is not None and int(length) > 0)
