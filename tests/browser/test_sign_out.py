"""Signing out, in a real Chromium: what was copied out of the browser dies with the session."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from typing import Final

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Demo
from tests.browser.journey import start

STORED_TOKEN: Final = """new Promise((resolve, reject) => {
  const opening = indexedDB.open('firebaseLocalStorageDb');
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const all = opening.result.transaction('firebaseLocalStorage').objectStore('firebaseLocalStorage').getAll();
    all.onsuccess = () => resolve(all.result[0].value.stsTokenManager.accessToken);
  };
})"""


def whoami(demo: Demo, token: str) -> tuple[int, str]:
    """Status and reason that the gateway has for whoever brings ``token`` from outside the browser."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{demo.url}/.gateway/userinfo", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
            return int(answer.status), ""
    except urllib.error.HTTPError as refused:
        with refused:
            return int(refused.code), str(json.load(refused)["code"])


def test_signing_out_ends_every_copy_of_the_token(page: Page, demo: Demo) -> None:
    """... refuses a token that was copied out of the browser as soon as its owner has signed out."""
    start(page, "/jobs/42")
    token = page.evaluate(STORED_TOKEN)
    assert whoami(demo, token) == (200, "")
    page.goto("/.gateway/logout")
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    assert whoami(demo, token) == (401, "session_signed_out")


def test_an_application_signs_its_user_out(context: BrowserContext, page: Page, demo: Demo) -> None:
    """... lets a page of the application end the session with one request, for every tab."""
    start(page, "/jobs/42")
    other = context.new_page()
    other.goto("/jobs/7")
    assert page.evaluate("fetch('/.gateway/logout', {method: 'POST'}).then(r => r.status)") == 204
    assert other.evaluate("fetch('/api/whoami').then(r => r.status)") == 401
    other.goto("/jobs/7")
    other.wait_for_url(re.compile(r"/\.gateway/login"))
    expect(other.get_by_text("You signed out of this session.")).to_be_visible()
