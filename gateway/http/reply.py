"""Decisions and failures as HTTP: redirect to the login page, problem document, error page.

The rules this file obeys:

* A refusal says what the reason table says and nothing of what the client sent (``threats.md`` row 20). The one
  exception is the return path in a redirect's ``Location``, which is always relative and passed
  :mod:`gateway.http.return_to`.
* ``WWW-Authenticate`` as RFC 6750 section 3 has it: without an error code when no credential came, with one when it
  was refused or grants too little; a step-up says what the new sign-in must have (RFC 9470 section 3).
* Problem documents are RFC 9457's, with the members ``code``, ``request_id`` and, where signing in helps,
  ``login_url``.
* No refusal is ever stored, and every field that decided its form is named in ``Vary`` (row 34). Redirects are 302.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from aiohttp import web

from gateway import reasons
from gateway.core.context import RequestContext
from gateway.core.decision import Challenge, Deny
from gateway.http.cookies import spent_cookie
from gateway.http.negotiate import PROBLEM, READ_BY_NEGOTIATION, Form, form_of_challenge, form_of_refusal
from gateway.http.pages import AssetSource, Template, page_headers
from gateway.http.return_to import HOME, safe_return_path
from gateway.policy.routes import Unauthenticated
from gateway.reasons import Reason

DEFAULT_RETRY_AFTER: Final = 5
"""Seconds after which a failed dependency or backend is worth another try, when nothing better is known."""

SERVER: Final = "session-gateway"
"""The Server field of the gateway's own answers: no versions."""

_MAX_ENCODED_RETURN: Final = 6_000
"""Bytes of the percent-encoded return path; the login address must fit into a request line of 8 KB."""

_RETRYABLE: Final = frozenset({502, 503, 504})
_QUOTABLE: Final = re.compile(r"[^ !#-\[\]-~]")  # RFC 6750 section 3: what error_description may not hold


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the gateway's own. ``close``: the connection ends with it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    close: bool = False

    def beside(self, fields: Sequence[tuple[str, str]]) -> Reply:
        """The same answer with further fields."""
        return replace(self, headers=(*self.headers, *fields)) if fields else self

    def as_response(self) -> web.Response:
        """The aiohttp response; to HEAD, aiohttp announces the body and leaves it out."""
        response = web.Response(status=self.status, body=self.body, headers=[*self.headers, ("Server", SERVER)])
        if self.close:
            response.force_close()
        return response


class Replies:
    """Writes refusals.

    :param prefix: the reserved prefix, with slashes at both ends.
    :param title: the site's name, for pages.
    :param realm: of ``WWW-Authenticate``; no quotation marks or backslashes.
    :param home: where the error page's link leads.
    """

    def __init__(
        self, assets: AssetSource, *, prefix: str = "/.gateway/", title: str = "", realm: str = "", home: str = HOME
    ) -> None:
        self._error_page = Template(assets, "error.html")
        self._prefix = prefix
        self._title = title
        self._realm = _QUOTABLE.sub("", realm or title or "gateway")
        self._home = home

    def refuse(
        self, decision: Challenge | Deny, context: RequestContext, request_id: str, setting: Unauthenticated
    ) -> Reply:
        """The answer to a request that may not pass; it also removes a cookie that could only be refused again."""
        return self._refusal(decision, context, request_id, setting).beside(spent_cookie(decision))

    def _refusal(
        self, decision: Challenge | Deny, context: RequestContext, request_id: str, setting: Unauthenticated
    ) -> Reply:
        if isinstance(decision, Deny):
            form = PROBLEM if context.websocket else form_of_refusal(context.headers)
            return self.failure(decision.reason, request_id, form, retry_after=decision.retry_after)
        form = form_of_challenge(context, setting)
        if form.redirect:
            return self._to_login(decision.reason, context.target.raw, request_id)
        return self.failure(decision.reason, request_id, form, demand=_demand(decision))

    def failure(
        self,
        reason: Reason,
        request_id: str,
        form: Form = PROBLEM,
        *,
        retry_after: int | None = None,
        close: bool = False,
        demand: str = "",
    ) -> Reply:
        """The answer for ``reason`` in the given form: an error page or a problem document, never a redirect.

        ``demand``: further parameters of the challenge.
        """
        common = [("Cache-Control", "private, no-store"), ("Vary", ", ".join(READ_BY_NEGOTIATION))]
        common.append(("X-Request-Id", request_id))
        # RFC 9110 section 15.5.2: 401 must name a scheme; the others say which error of RFC 6750 section 3.1 it is.
        if reason.status == 401 or reason.bearer_error is not None:  # noqa: PLR2004
            common.append(("WWW-Authenticate", self._authenticate(reason) + demand))
        if retry_after is None and reason.status in _RETRYABLE:
            retry_after = DEFAULT_RETRY_AFTER
        if retry_after is not None:
            common.append(("Retry-After", str(retry_after)))
        if form.page:
            headers = [pair for pair in page_headers(framed=form.framed) if pair[0] != "Cache-Control"]
            return Reply(reason.status, (*headers, *common), self._page(reason, request_id), close)
        headers = [("Content-Type", "application/problem+json"), ("X-Content-Type-Options", "nosniff")]
        return Reply(reason.status, (*headers, *common), self._problem(reason, request_id), close)

    def _to_login(self, reason: Reason, target: str, request_id: str) -> Reply:
        wanted = quote(safe_return_path(target, never=(f"{self._prefix}login", f"{self._prefix}logout")), safe="/")
        if len(wanted) > _MAX_ENCODED_RETURN:
            wanted = HOME
        headers = (
            ("Location", f"{self._prefix}login?rd={wanted}&reason={reason.id}"),
            ("Cache-Control", "private, no-store"),
            ("Vary", ", ".join(READ_BY_NEGOTIATION)),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Request-Id", request_id),
        )
        return Reply(302, headers)

    def _authenticate(self, reason: Reason) -> str:
        challenge = f'Bearer realm="{self._realm}"'
        if reason.bearer_error is None:
            return challenge
        description = _QUOTABLE.sub("", reason.title)
        return f'{challenge}, error="{reason.bearer_error}", error_description="{description}"'

    def _problem(self, reason: Reason, request_id: str) -> bytes:
        document: dict[str, object] = {
            "type": reason.type_uri,
            "title": reason.title,
            "status": reason.status,
            "code": reason.id,
            "request_id": request_id,
        }
        if reason.advice:
            document["detail"] = reason.advice
        if reason.outcome is reasons.Outcome.CHALLENGE:
            document["login_url"] = f"{self._prefix}login"
        return json.dumps(document, ensure_ascii=False).encode("utf-8")

    def _page(self, reason: Reason, request_id: str) -> bytes:
        return self._error_page.render(
            {
                "title": self._title or "Session gateway",
                "heading": reason.title,
                "advice": reason.advice,
                "status": str(reason.status),
                "reason": reason.id,
                "request_id": request_id,
                "home": self._home,
                "prefix": self._prefix,
            }
        )


def _demand(challenge: Challenge) -> str:
    """The parameters of RFC 9470 section 3, to follow those of RFC 6750."""
    age = f", max_age={challenge.max_age}" if challenge.max_age is not None else ""
    return age + (f', acr_values="{challenge.acr_values}"' if challenge.acr_values is not None else "")
