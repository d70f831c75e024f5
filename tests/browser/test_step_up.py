"""Asked for more proof of the same person, in a real browser."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Demo
from tests.browser.journey import PASSWORD, arrive, start

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def session_of(page: Page) -> dict[str, Any]:
    """What the gateway says of the session that the worker adds."""
    found: dict[str, Any] = page.evaluate("fetch('/.gateway/userinfo').then((response) => response.json())")
    return found


def test_a_recent_sign_in_is_made_by_the_same_person(page: Page, demo: Demo) -> None:
    """asks whoever is signed in for their password, refuses a wrong one, and leads back with a new sign-in."""
    email = start(page, "/")
    before = session_of(page)
    while time.time() < before["auth_time"] + 1:  # auth_time is in whole seconds
        page.wait_for_timeout(50)
    page.goto("/.gateway/login?rd=/&reason=step_up_auth_age")
    expect(page.locator("#notice-title")).to_have_text("Please confirm that it is you.")
    expect(page.locator("#again-email")).to_have_value(email)
    expect(page.locator("#again-email")).not_to_be_editable()
    page.locator("#again-password").fill("something else")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#again-error")).to_contain_text("not right")
    expect(page.locator("#again-email")).not_to_be_editable()
    page.locator("#again-password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    arrive(page, "/")
    after = session_of(page)
    assert (after["uid"], after["email"]) == (before["uid"], email)
    assert after["auth_time"] > before["auth_time"]


def test_a_second_factor_is_explained_not_asked_for(page: Page, demo: Demo) -> None:
    """says what to do where a password is not what is missing, and signs nobody out for it."""
    start(page, "/")
    page.goto("/.gateway/login?rd=/&reason=step_up_second_factor")
    expect(page.locator("#message-title")).to_have_text("This page needs a second step to sign in.")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.get_by_role("button", name="Start page").click()
    arrive(page, "/")
    assert "uid" in session_of(page)
