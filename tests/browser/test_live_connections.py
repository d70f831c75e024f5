"""WebSockets and event streams of a real browser, when the session behind them ends."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.journey import start

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

OPEN = """
  async () => {
    window.ends = {};
    const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
    socket.onclose = ({code, reason, wasClean}) => { ends.socket = [code, reason, wasClean]; };
    const events = new EventSource('/events');
    events.onerror = () => { if (events.readyState === EventSource.CLOSED) ends.events = 'closed'; };
    await Promise.all([
      new Promise((resolve) => { socket.onopen = resolve; }),
      new Promise((resolve) => { events.onopen = resolve; }),
    ]);
  }
"""


def test_a_signed_out_browser_is_told_why(page: Page) -> None:
    """closes the WebSocket with 4401 and the reason, cleanly, and ends the event stream, when somebody signs out."""
    start(page)
    page.evaluate(OPEN)
    page.evaluate("""async () => { const {signOut} = await import('/.gateway/session.js'); await signOut(); }""")
    page.wait_for_function("() => ends.socket && ends.events", timeout=10_000)
    assert page.evaluate("() => ends.socket") == [4401, "session_signed_out", True]
