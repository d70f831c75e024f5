"""The request as the backend gets it.

The rule this file obeys (``threats.md`` rows 22 and 28): the target leaves byte for byte as it came, or rewritten as
its route says and in no other way; framing is written anew, in one form, from what was understood.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.core.context import RequestContext
from gateway.core.decision import Allow
from gateway.http.intake import has_body
from gateway.mutators.headers import Fields
from gateway.policy.routes import Route
from gateway.proxy.trailers import announced

if TYPE_CHECKING:
    from gateway.proxy.live import Live


@dataclass(frozen=True, slots=True)
class Exchange:
    """One allowed request on its way: what was asked, what was decided, and the fields the backend gets.

    ``answer_fields`` are added to what the client gets.
    """

    context: RequestContext
    decision: Allow
    route: Route
    request_id: str
    fields: Fields
    answer_fields: Fields = field(default_factory=list)
    """What the gateway itself adds to the answer: a cookie that it renewed, CORS fields, a trail."""
    again: bool = False
    """It was sent once, on a kept connection that turned out to be dead."""
    live: Live | None = None
    """Its entry among the connections that are judged again."""


def request_head(exchange: Exchange, *, host: bytes | None = None, websocket: bool = False) -> bytes:
    """Request line and fields, framing last and in one form.

    :param host: what the backend sees as ``Host`` instead of the client's.
    """
    context = exchange.context
    headers = context.headers
    rewrite = exchange.route.rewrite
    target = context.target.raw if rewrite is None else rewrite.target(context.target.raw)
    # The first field is Host: nothing of the client's stands before it.
    fields = exchange.fields if host is None else [(b"Host", host), *exchange.fields[1:]]
    lines = [f"{context.method} {target} HTTP/1.1".encode("latin-1")]
    lines += [name + b": " + value for name, value in fields]
    if websocket:
        lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
    else:
        if wants_trailers(context):
            lines += [b"Connection: TE", b"TE: trailers"]
        if (headers.one(b"expect") or "").lower() == "100-continue" and has_body(headers):
            lines.append(b"Expect: 100-continue")
        length = headers.one(b"content-length")
        if b"transfer-encoding" in headers:
            if b"trailer" in headers:
                lines += [name + b": " + value for name, value in announced(headers)]
            lines.append(b"Transfer-Encoding: chunked")
        elif length is not None:
            lines.append(b"Content-Length: %d" % int(length))  # without the zeros that may stand before it
    return b"\r\n".join(lines) + b"\r\n\r\n"


def wants_trailers(context: RequestContext) -> bool:
    """Whether the client said that it takes trailers."""
    return b"te" in context.headers and any(
        option.strip(" \t").lower() == "trailers" for value in context.headers.all(b"te") for option in value.split(",")
    )
