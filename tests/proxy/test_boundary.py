"""Where one message ends is counted, or given up."""

from __future__ import annotations

import pytest

from gateway.proxy.boundary import Boundary

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "clear"),
    [
        ([], True),
        ([GET], True),
        ([GET, b"", GET], True),
        ([POST], False),
        ([POST + b"hello"], True),
        ([POST, b"hel", b"lo", GET], True),
        ([POST.replace(b"5", b"0")], True),
        ([POST + b"hello" + GET], False),
        ([POST, b"hello!"], False),
        ([POST, b"hello!", GET], False),
        ([GET + GET], False),
        ([GET[:-1]], False),
        ([GET[:-1], b"\n"], False),
        ([GET[:5], GET[5:], GET], False),
        ([POST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")], False),
        ([POST.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"hello"], False),
        ([POST.replace(b"Length: 5", b"Length: +5") + b"hello"], False),
        ([POST.replace(b"Length:", b"Length :") + b"hello"], False),
        ([POST.replace(b"Host: h", b"Host: h\r\n folded")], False),
        ([POST.replace(b"Host: h", b"Host: h\nx")], False),
        ([GET.replace(b"Host: h", b"Connection: Upgrade\r\nupgrade: h2c")], False),
        ([GET.replace(b"Host: h", b"Upgrade : h2c")], False),
        ([GET.replace(b"Host: h", b"Upgrade-Insecure-Requests: 1")], True),
        ([GET.replace(b" / ", b" /upgrade: ")], True),
        ([b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"], False),
        ([b"\r\n" + GET], False),
    ],
)
def test_the_boundary(pieces: list[bytes], clear: bool) -> None:
    """knows the end of plain messages, and never guesses about others."""
    boundary = Boundary()
    for piece in pieces:
        boundary.fed(piece)
    assert boundary.clear is clear
