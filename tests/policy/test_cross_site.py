"""Requests that a foreign page started."""

from __future__ import annotations

import pytest

from gateway.core.context import Headers, RequestContext
from gateway.core.target import parse_target
from gateway.policy.cross_site import is_cross_site

OWN, FOREIGN = b"http://app.test", b"https://evil.test"

ROWS = [
    # method, websocket, Origin lines, Sec-Fetch-Site lines, cross-site
    ("GET", False, [FOREIGN], [b"cross-site"], False),
    ("HEAD", False, [], [b"cross-site"], False),
    ("POST", False, [], [], False),
    ("POST", False, [OWN], [], False),
    ("POST", False, [b"HTTP://APP.TEST"], [], False),
    ("POST", False, [b"https://app.test"], [], False),
    ("POST", False, [b"http://app.test:80"], [], False),
    ("POST", False, [b"https://app.test:443"], [], False),
    ("POST", False, [], [b"same-origin"], False),
    ("POST", False, [], [b"none"], False),
    ("POST", False, [OWN], [b"same-origin"], False),
    ("POST", False, [FOREIGN], [], True),
    ("POST", False, [b"null"], [], True),
    ("POST", False, [b""], [], True),
    ("POST", False, [b"http://app.test.evil.test"], [], True),
    ("POST", False, [b"http://evil.test/app.test"], [], True),
    ("POST", False, [b"http://app.test:8080"], [], True),
    ("POST", False, [b"http://app.test/"], [], True),
    ("POST", False, [b"ftp://app.test"], [], True),
    ("POST", False, [OWN, FOREIGN], [], True),
    ("POST", False, [OWN], [b"cross-site"], True),
    ("POST", False, [OWN], [b"same-site"], True),
    ("POST", False, [], [b"same-site"], True),
    ("POST", False, [], [b"cross-site"], True),
    ("POST", False, [], [b"same-origin", b"cross-site"], True),
    ("DELETE", False, [FOREIGN], [], True),
    ("PUT", False, [FOREIGN], [], True),
    ("PATCH", False, [FOREIGN], [], True),
    ("BREW", False, [FOREIGN], [], True),
    ("GET", True, [FOREIGN], [], True),
    ("GET", True, [OWN], [], False),
    ("GET", True, [], [], False),
]


@pytest.mark.parametrize(("method", "websocket", "origins", "sites", "expected"), ROWS)
def test_foreign_pages_may_not_change_state(
    method: str, websocket: bool, origins: list[bytes], sites: list[bytes], expected: bool
) -> None:
    """... recognises an unsafe request or handshake of a foreign page."""
    lines = [(b"Origin", value) for value in origins] + [(b"Sec-Fetch-Site", value) for value in sites]
    context = RequestContext(method, "http", "app.test", parse_target("/"), "", Headers(tuple(lines)), websocket)
    assert is_cross_site(context) is expected
