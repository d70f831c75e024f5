"""The main job in a real browser: ask, sign in, arrive; and everything that ends a session."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.browser.conftest import Demo
from tests.browser.journey import arrive, create_account, reason_shown, sign_in, start

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PROFILES = 20
STALENESS_SECONDS = 2.0  # what the demo promises
FORM_SEEN = """
  new MutationObserver(() => {
    const form = document.querySelector('[data-part="signin"]');
    if (form && !form.hidden && form.getClientRects().length) sessionStorage.setItem('form-seen', 'yes');
  }).observe(document, {subtree: true, childList: true, attributes: true});
"""


def _navigations(page: Page) -> list[tuple[str, int]]:
    """Address and status of each answer to a navigation of this tab, as they come."""
    answers: list[tuple[str, int]] = []

    def note(response: Response) -> None:
        if response.request.is_navigation_request():
            answers.append((response.url, response.status))

    page.on("response", note)
    return answers


def test_every_first_visitor_lands_on_the_page_they_asked_for(browser: Browser, demo: Demo) -> None:
    """... authenticates the very navigation that follows the sign-in, in each of twenty fresh profiles."""
    arrived = 0
    for _ in range(PROFILES):
        context = browser.new_context(base_url=demo.url)
        page = context.new_page()
        answers = _navigations(page)
        page.goto("/jobs/42")
        assert "/.gateway/login?rd=/jobs/42&reason=sign_in_required" in page.url
        email = create_account(page)
        arrive(page, "/jobs/42")
        # One answer for the page after the login page, and it is the page: no detour through login.
        after_login = [(url, status) for url, status in answers if "/.gateway/login" not in url]
        assert after_login == [(f"{demo.url}/jobs/42", 302), (f"{demo.url}/jobs/42", 200)]
        expect(page.get_by_text(email).first).to_be_visible()
        arrived += 1
        context.close()
    assert arrived == PROFILES


def test_an_upload_arrives_byte_for_byte(page: Page) -> None:
    """... passes five megabytes of multipart upload through worker and proxy unchanged."""
    start(page)
    page.get_by_role("button", name="Make a 5 MB file for me").click()
    result = page.locator("#upload-result")
    expect(result).to_contain_text("✓", timeout=20_000)
    hashes = re.findall(r"\b[0-9a-f]{64}\b", result.inner_text())
    assert len(hashes) == 2
    assert hashes[0] == hashes[1]


def test_ordinary_traffic_is_authenticated(page: Page) -> None:
    """... tells the backend who is calling for JSON, event streams and deep links alike."""
    email = start(page)
    page.get_by_role("button", name="Who am I?").click()
    expect(page.locator("#json-result")).to_contain_text(email)
    page.get_by_role("button", name="Listen").click()
    expect(page.locator("#live-log li").first).to_be_visible()
    page.locator("#echo button").click()
    expect(page.locator("#echo-log")).to_contain_text("Is the Gazelle ready?")
    page.goto("/jobs/7")
    expect(page.get_by_text(email).first).to_be_visible()


def test_after_signing_out_the_next_request_is_anonymous(context: BrowserContext, page: Page) -> None:
    """... forgets the session at once, in this tab and in others."""
    start(page)
    other = context.new_page()
    other.goto("/jobs/7")
    page.get_by_role("link", name="Sign out").last.click()
    page.wait_for_url(re.compile(r"/\.gateway/login"))
    status = other.evaluate("fetch('/api/whoami').then(r => r.status)")
    assert status == 401
    other.goto("/jobs/7")
    assert "/.gateway/login" in other.url
    expect(other.locator("#signin-form")).to_be_visible()


def test_a_hard_reload_keeps_the_user_and_shows_no_form(context: BrowserContext, page: Page, demo: Demo) -> None:
    """... knows by the session cookie who makes a request that bypassed the worker, without a detour."""
    context.add_init_script(FORM_SEEN)
    email = start(page, "/jobs/42")
    page.evaluate("sessionStorage.removeItem('form-seen')")
    before = len(demo.decisions())
    session = context.new_cdp_session(page)
    session.send("Page.reload", {"ignoreCache": True})
    page.wait_for_timeout(300)
    arrive(page, "/jobs/42")
    expect(page.get_by_text(email).first).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('form-seen')") is None
    page.wait_for_timeout(200)
    seen = [line for line in demo.decisions()[before:] if "/jobs/42" in line]
    assert len(seen) == 1
    assert "sign_in_required" not in seen[0]


def test_a_revoked_session_is_challenged_in_time_and_told_why(page: Page) -> None:
    """... refuses a revoked session within the promised staleness, says why, and lets the person back in."""
    email = start(page)
    time.sleep(1.1)  # valid-since has whole seconds: the sign-in must lie in an earlier one
    revoked_at = page.evaluate(
        "fetch('/demo/revoke', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'})"
        ".then(r => r.ok && performance.now())"
    )
    assert revoked_at
    refused_after = page.evaluate(
        """async (start) => {
             for (;;) {
               const answer = await fetch('/api/whoami');
               if (answer.status === 401) return [(performance.now() - start) / 1000, (await answer.json()).code];
               await new Promise(done => setTimeout(done, 20));
             }
           }""",
        revoked_at,
    )
    assert refused_after[1] == "session_revoked"
    assert refused_after[0] <= STALENESS_SECONDS + 0.5
    page.goto("/jobs/7")
    assert "reason=session_revoked" in page.url
    assert reason_shown(page) == "You were signed out of this session."
    page.wait_for_timeout(1_500)
    expect(page.locator("#signin-form")).to_be_visible()  # no loop
    sign_in(page, email)
    arrive(page, "/jobs/7")


def test_a_changed_network_is_challenged_with_its_own_words(page: Page) -> None:
    """... asks for a sign-in on another network, says why, and learns the new network by it."""
    email = start(page)
    page.get_by_role("button", name="Travel", exact=True).click()
    expect(page.locator("#travel-result")).to_contain_text("network_changed")
    try:
        page.goto("/jobs/7")
        assert "reason=network_changed" in page.url
        assert reason_shown(page) == "You are on a different network than when you signed in."
        page.wait_for_timeout(1_500)
        expect(page.locator("#signin-form")).to_be_visible()
        sign_in(page, email)
        arrive(page, "/jobs/7")
    finally:
        page.evaluate(
            "fetch('/demo/network', {method: 'POST', headers: {'Content-Type': 'application/json'},"
            " body: JSON.stringify({address: '203.0.113.10'})})"
        )


def test_one_call_from_another_network_leaves_the_session_alone(page: Page) -> None:
    """... refuses the one request that comes from elsewhere and no other."""
    start(page)
    page.locator("#other").click()
    expect(page.locator("#other-result")).to_contain_text("network_changed")
    assert page.evaluate("fetch('/api/whoami').then(r => r.status)") == 200


def test_a_call_without_a_session_is_refused_with_a_reason(page: Page) -> None:
    """... answers a call without credentials as a script expects it."""
    start(page)
    page.locator("#anonymous").click()
    expect(page.locator("#anonymous-result")).to_contain_text("sign_in_required")


def test_wrong_passwords_and_known_addresses_are_told(page: Page) -> None:
    """... says what is wrong with a sign-in in words for people, and keeps what was typed."""
    page.goto("/jobs/42")
    sign_in(page, "nobody@example.com", "wrong password")
    error = page.locator("#signin-error")
    expect(error).not_to_be_empty()
    assert "auth/" not in error.inner_text()
    expect(page.locator("#signin-email")).to_have_value("nobody@example.com")
    page.get_by_role("button", name="Create an account").click()
    page.locator("#signup-email").fill("ada@example.com")
    page.locator("#signup-password").fill("another password")
    page.get_by_role("button", name="Create account").click()
    expect(page.locator("#signup-error")).not_to_be_empty()


def test_the_demo_account_signs_in_with_the_keyboard(page: Page) -> None:
    """... can be used without a mouse: the demo account signs in from the keyboard alone."""
    page.goto("/jobs/42")
    expect(page.locator("#signin-email")).to_be_focused()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "demo-use":
            break
    page.keyboard.press("Enter")
    arrive(page, "/jobs/42")
    expect(page.get_by_text("ada@example.com").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_pages_fit_every_screen(browser: Browser, demo: Demo, scheme: str, width: int) -> None:
    """... shows login and error pages without a horizontal scroll bar, and follows the colour scheme."""
    context = browser.new_context(base_url=demo.url, color_scheme=scheme, viewport={"width": width, "height": 720})  # type: ignore[arg-type]
    page = context.new_page()
    try:
        for path in ("/.gateway/login?rd=/&reason=network_changed", "/.gateway/nothing-here", "/.gateway/logout"):
            page.goto(path)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            lightness = sum(int(part) for part in re.findall(r"\d+", background)[:3])
            assert (lightness < 384) is (scheme == "dark"), path
    finally:
        context.close()
