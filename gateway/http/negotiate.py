"""A page or a problem document? Redirect or 401?

A person wants to see the login page, a script wants a status. Which of the two is asking is told by, in this order:

1. the route, when the operator settled it (:class:`~gateway.policy.routes.Unauthenticated`);
2. the worker's ``X-Gateway-Fetch``, which carries the original request's mode and destination: a worker's own request
   looks like a script's;
3. ``Sec-Fetch-Mode`` and ``Sec-Fetch-Dest``, but only when no credential came along, for the same reason;
4. ``Accept``, when it names ``text/html`` explicitly and nothing in it is wanted more. ``*/*`` is what scripts and
   curl send, so it is no wish for a page.

A redirect is only ever given to GET and HEAD: a login page cannot give back the body of a POST. Nor to a frame or an
embedded object, since the login page refuses to be framed; those get the error page, which their own site may frame.
Never by ``User-Agent``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.core.context import Headers, RequestContext
from gateway.policy.routes import Unauthenticated

READ_BY_NEGOTIATION: Final = (
    "Authorization",
    "Cookie",
    "Accept",
    "X-Gateway-Fetch",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Dest",
)
"""Fields that the form of an answer depends on: what ``Vary`` names."""

_TOP_LEVEL: Final = frozenset({"document", "empty", ""})
_MAX_RANGES: Final = 64
"""Entries of ``Accept`` that are read; browsers send fewer than ten."""


@dataclass(frozen=True, slots=True)
class Form:
    """How to answer: ``page`` HTML or a problem document; ``framed`` inside a frame; ``redirect`` to the login page."""

    page: bool
    framed: bool = False
    redirect: bool = False


PROBLEM: Final = Form(page=False)


def form_of_refusal(headers: Headers) -> Form:
    """The form of a refusal that signing in would not mend; also before the request could be read as a whole."""
    mode, destination = _navigation(headers)
    if mode is not None:
        return Form(page=mode == "navigate", framed=mode == "navigate" and destination not in _TOP_LEVEL)
    return Form(page=prefers_html(headers.all(b"accept")))


def form_of_challenge(context: RequestContext, setting: Unauthenticated) -> Form:
    """The form of a challenge."""
    if context.websocket or setting is Unauthenticated.UNAUTHORIZED:
        return PROBLEM
    form = Form(page=True) if setting is Unauthenticated.REDIRECT else form_of_refusal(context.headers)
    redirect = form.page and not form.framed and context.method in {"GET", "HEAD"}
    return Form(form.page, form.framed, redirect)


def _navigation(headers: Headers) -> tuple[str | None, str]:
    """Mode and destination of the browser's request, or None when nothing trustworthy tells."""
    fetch = headers.all(b"x-gateway-fetch")
    if len(fetch) == 1:
        told = dict(_pair(part) for part in fetch[0].split(","))
        if "mode" in told:
            return told["mode"], told.get("dest", "")
    mode = headers.one(b"sec-fetch-mode")
    if mode is not None and b"authorization" not in headers:
        return mode.lower(), (headers.one(b"sec-fetch-dest") or "").lower()
    return None, ""


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip().lower(), value.strip().lower()


def prefers_html(accept: list[str]) -> bool:
    """Whether these ``Accept`` values (RFC 9110 section 12.5.1) name ``text/html`` and want nothing else more."""
    html = best = 0.0
    for entry in ",".join(accept).split(",")[:_MAX_RANGES]:
        kind, _, parameters = entry.partition(";")
        quality = _quality(parameters)
        best = max(best, quality)
        if kind.strip().lower() == "text/html":
            html = max(html, quality)
    return html > 0 and html >= best


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
            return quality if 0 <= quality <= 1 else 0.0
    return 1.0
