"""A blocking function's refusal, in a real Chromium: from the function over the provider to the person."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Demo
from tests.browser.journey import create_account
from tests.support.function_server import FunctionServer


def register(demo: Demo, triggers: Mapping[str, Any]) -> None:
    """Tell the demo's provider which functions to call."""
    url = f"{demo.provider}/v2/projects/demo-freewheel/config?updateMask=blockingFunctions"
    body = json.dumps({"blockingFunctions": {"triggers": triggers}}).encode()
    headers = {"Authorization": "Bearer owner", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PATCH"), timeout=10) as answer:  # noqa: S310 - loopback
        assert answer.status == 200


@pytest.mark.parametrize(
    ("locale", "said", "shown", "lang"),
    [
        ("fr-FR", "Unauthorized access!", "Vous ne pouvez pas vous connecter depuis ce réseau.", "fr"),
        ("sv-SE", "Unauthorized access!", "You cannot sign in from this network.", "en"),
        ("fr-FR", "Seuls les membres ont un compte.", "Seuls les membres ont un compte.", ""),
    ],
)
def test_a_refusal_is_shown_in_the_persons_language(
    browser: Browser, demo: Demo, locale: str, said: str, shown: str, lang: str
) -> None:
    """... shows a known refusal in the person's language and a function's own words as they are; nobody is created."""
    refusal = json.dumps({"error": {"status": "PERMISSION_DENIED", "message": said}})
    context = browser.new_context(base_url=demo.url, locale=locale)
    try:
        with FunctionServer(403, refusal) as server:
            register(demo, {"beforeCreate": {"functionUri": server.url}})
            page = context.new_page()
            page.goto("/")
            create_account(page)
            complaint = page.locator("#signup-error")
            expect(complaint).to_have_text(shown)
            assert complaint.get_attribute("lang") == lang
            assert len(server.calls) == 1
    finally:
        register(demo, {})
        context.close()
