"""Page or problem, redirect or 401: the table."""

from __future__ import annotations

import pytest

from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.http.negotiate import Form, form_of_challenge, form_of_refusal, prefers_html
from gateway.policy.routes import Unauthenticated

PROBLEM, PAGE, FRAMED, REDIRECT = Form(False), Form(True), Form(True, framed=True), Form(True, redirect=True)
AUTO, ALWAYS, NEVER = Unauthenticated.AUTO, Unauthenticated.REDIRECT, Unauthenticated.UNAUTHORIZED
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def context(method: str, fields: dict[str, str], *, websocket: bool = False) -> RequestContext:
    raw = tuple((name.lower().encode(), value.encode()) for name, value in fields.items())
    return RequestContext(method, "http", "app.example", parse_target("/"), "192.0.2.1", Headers(raw), websocket)


@pytest.mark.parametrize(
    ("method", "fields", "setting", "form"),
    [
        # Accept alone: old browsers, curl, scripts.
        ("GET", {}, AUTO, PROBLEM),
        ("GET", {"Accept": "*/*"}, AUTO, PROBLEM),
        ("GET", {"Accept": CHROME}, AUTO, REDIRECT),
        ("HEAD", {"Accept": CHROME}, AUTO, REDIRECT),
        ("POST", {"Accept": CHROME}, AUTO, PAGE),
        ("PUT", {"Accept": CHROME}, AUTO, PAGE),
        ("OPTIONS", {"Accept": CHROME}, AUTO, PAGE),
        ("GET", {"Accept": "application/json"}, AUTO, PROBLEM),
        ("GET", {"Accept": "application/json, text/html;q=0.9"}, AUTO, PROBLEM),
        ("GET", {"Accept": "text/html;q=0"}, AUTO, PROBLEM),
        ("GET", {"Accept": "text/*"}, AUTO, PROBLEM),
        # Fetch metadata, without a credential.
        ("GET", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, AUTO, REDIRECT),
        ("GET", {"Sec-Fetch-Mode": "navigate"}, AUTO, REDIRECT),
        ("POST", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, AUTO, PAGE),
        ("GET", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, AUTO, FRAMED),
        ("GET", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "embed"}, AUTO, FRAMED),
        ("GET", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "object"}, AUTO, FRAMED),
        ("GET", {"Sec-Fetch-Mode": "cors", "Accept": CHROME}, AUTO, PROBLEM),
        ("GET", {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, AUTO, PROBLEM),
        ("GET", {"Sec-Fetch-Mode": "same-origin", "Accept": "text/html"}, AUTO, PROBLEM),
        # With a credential the browser describes the worker's request, not the person's.
        ("GET", {"Sec-Fetch-Mode": "same-origin", "Accept": CHROME, "Authorization": "Bearer x"}, AUTO, REDIRECT),
        ("GET", {"Sec-Fetch-Mode": "navigate", "Accept": "*/*", "Authorization": "Bearer x"}, AUTO, PROBLEM),
        # The worker says so itself, and is asked first.
        ("GET", {"X-Gateway-Fetch": "mode=navigate, dest=document, site=none"}, AUTO, REDIRECT),
        ("GET", {"X-Gateway-Fetch": "mode=navigate", "Sec-Fetch-Mode": "same-origin"}, AUTO, REDIRECT),
        ("GET", {"X-Gateway-Fetch": "MODE=Navigate, dest=iframe"}, AUTO, FRAMED),
        ("GET", {"X-Gateway-Fetch": "mode=cors, dest=empty", "Accept": CHROME}, AUTO, PROBLEM),
        ("GET", {"X-Gateway-Fetch": "mode=navigate", "Accept": "*/*", "Authorization": "Bearer x"}, AUTO, REDIRECT),
        ("POST", {"X-Gateway-Fetch": "mode=navigate, dest=document"}, AUTO, PAGE),
        ("GET", {"X-Gateway-Fetch": "token=failed", "Accept": CHROME}, AUTO, REDIRECT),
        ("GET", {"X-Gateway-Fetch": "", "Accept": "*/*"}, AUTO, PROBLEM),
        # The route has the first word.
        ("GET", {"Accept": CHROME, "Sec-Fetch-Mode": "navigate"}, NEVER, PROBLEM),
        ("GET", {"Accept": "*/*"}, ALWAYS, REDIRECT),
        ("POST", {"Accept": "*/*"}, ALWAYS, PAGE),
        # Nobody is judged by their browser's name.
        ("GET", {"User-Agent": "Mozilla/5.0", "Accept": "*/*"}, AUTO, PROBLEM),
    ],
)
def test_the_form_of_a_challenge(method: str, fields: dict[str, str], setting: Unauthenticated, form: Form) -> None:
    """redirects people and answers scripts."""
    assert form_of_challenge(context(method, fields), setting) == form


def test_a_websocket_is_never_redirected() -> None:
    """answers a handshake with a status whatever the route and the headers say."""
    assert form_of_challenge(context("GET", {"Accept": CHROME}, websocket=True), ALWAYS) == PROBLEM


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({"Accept": CHROME}, PAGE),
        ({"Accept": "*/*"}, PROBLEM),
        ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "frame"}, FRAMED),
        ({"X-Gateway-Fetch": "mode=navigate, dest=document"}, PAGE),
    ],
)
def test_the_form_of_a_refusal(fields: dict[str, str], form: Form) -> None:
    """shows people a page and tells scripts a problem, but redirects neither."""
    assert form_of_refusal(context("GET", fields).headers) == form


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ([], False),
        ([""], False),
        (["text/html"], True),
        (["TEXT/HTML ; charset=utf-8"], True),
        (["application/json", "text/html"], True),
        (["text/html;q=0.5, */*;q=0.4"], True),
        (["text/html;q=0.5, image/*;q=0.6"], False),
        (["text/html;q=nan"], False),
        (["text/html;q=2"], False),
        (["text/html;q=-1"], False),
        (["text/html;q=1.0, application/json;q=1.0"], True),
        ([", ".join(["a/b;q=0.1"] * 100 + ["text/html"])], False),
    ],
)
def test_accept_must_name_html_and_want_nothing_more(accept: list[str], html: bool) -> None:
    """takes Accept for a wish for a page only when it says so and says nothing stronger."""
    assert prefers_html(accept) is html
