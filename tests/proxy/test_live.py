"""Close codes, and what one network is."""

from __future__ import annotations

import ipaddress
from typing import Any, cast

import pytest

from gateway import reasons
from gateway.core.context import RequestContext
from gateway.core.decision import Allow, Challenge, Deny
from gateway.guard import SessionGuard
from gateway.proxy.frames import MAX_CLOSE_REASON
from gateway.proxy.live import Live, close_code, same_network
from gateway.reasons import Outcome, Reason

REFUSALS = [reason for reason in reasons.TABLE.values() if reason.outcome is not Outcome.ALLOW]


@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.id)
def test_every_reason_fits_into_a_close_frame(reason: Reason) -> None:
    """can close a WebSocket for every reason there is, with a code that says what to do."""
    decision = Challenge(reason, "r") if reason.outcome is Outcome.CHALLENGE else Deny(reason, "r")
    expected = 4401 if reason.outcome is Outcome.CHALLENGE else {503: 1013, 500: 1011}.get(reason.status, 4403)
    assert close_code(decision) == expected
    assert len(reason.id.encode("ascii")) <= MAX_CLOSE_REASON


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.200", True),
        ("203.0.113.9", "203.0.114.9", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "203.0.113.9", False),
        ("203.0.113.9", "10.0.0.1", False),
        ("203.0.113.9", "2001:db8::1", False),
        (None, None, True),
        (None, "203.0.113.9", False),
    ],
)
def test_one_network(one: str | None, other: str | None, same: bool) -> None:
    """counts a public IPv4 /24 and IPv6 /64 as one network, and a private address as one by itself."""
    first, second = (None if text is None else ipaddress.ip_address(text) for text in (one, other))
    assert same_network(first, second) is same


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ([], "transfer"),
        ([(b"Content-Type", b"text/html")], "transfer"),
        ([(b"X", b"y"), (b"content-TYPE", b"Text/Event-Stream;charset=utf-8")], "event-stream"),
    ],
)
def test_kinds(fields: list[tuple[bytes, bytes]], kind: str) -> None:
    """tells an event stream from other answers by its media type."""
    live = Live(
        "transfer",
        cast(Allow, None),
        cast(SessionGuard, None),
        "id",
        lambda: cast(RequestContext, None),
        cast(Any, None),
        0.0,
    )
    live.answer = tuple(fields)
    live.settle_kind()
    assert live.kind == kind
