from __future__ import annotations

import pytest

from gateway.idp.access import is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.9.10", True), ("::1", True), ("::ffff:127.0.0.1", True), ("localhost", True),
     ("LOCALHOST.", True), ("app.localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False),
     ("example.com", False), ("notlocalhost", False), ("localhost.example", False), ("", False), ("127.1", False)],
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    """the provider knows which names and addresses mean this machine."""
    assert is_loopback(host) is expected
