"""What a person does on the pages, for tests to say in one line."""

from __future__ import annotations

import itertools
import re

from playwright.sync_api import Page, expect

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


def create_account(page: Page) -> str:
    """On the login page: create an account; returns its e-mail address."""
    email = f"person-{next(_numbers)}@example.com"
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("E-mail").locator("visible=true").fill(email)
    page.locator("#signup-password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    return email


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """On the login page: sign in."""
    page.locator("#signin-email").fill(email)
    page.locator("#signin-password").fill(password)
    page.locator("#signin-form button[type=submit]").click()


def arrive(page: Page, path: str) -> None:
    """Wait until the tab shows ``path`` of the application."""
    page.wait_for_url(re.compile(re.escape(path) + "$"))


def start(page: Page, path: str = "/") -> str:
    """Ask for ``path`` as a first visitor, create an account, land there; returns the e-mail address."""
    page.goto(path)
    email = create_account(page)
    arrive(page, path)
    return email


def reason_shown(page: Page) -> str:
    """The title of the notice on the login page, once it is shown."""
    notice = page.locator("#notice-title")
    expect(notice).to_be_visible()
    return notice.inner_text()
