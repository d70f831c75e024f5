"""Exactly one bearer credential, or none."""

from __future__ import annotations

import pytest

from gateway import reasons
from gateway.core.context import Headers
from gateway.core.credential import find_credential
from gateway.reasons import Reason

ROWS: list[tuple[list[tuple[bytes, bytes]], str | Reason | None]] = [
    ([], None),
    ([(b"Authorization", b"Bearer a.b.c")], "a.b.c"),
    ([(b"authorization", b"bearer a.b.c")], "a.b.c"),
    ([(b"AUTHORIZATION", b"BEARER a-b_c=")], "a-b_c="),
    ([(b"Authorization", b"Bearer a.b.c"), (b"Authorization", b"Bearer a.b.c")], reasons.CREDENTIAL_AMBIGUOUS),
    ([(b"Authorization", b"Bearer a.b.c"), (b"authorization", b"Basic eDp5")], reasons.CREDENTIAL_AMBIGUOUS),
    ([(b"Authorization", b"Bearer a.b.c, Bearer d.e.f")], reasons.CREDENTIAL_AMBIGUOUS),
    ([(b"Authorization", b"Bearer a.b.c trailing")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer a.b.c,")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer  a.b.c")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer\ta.b.c")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer ")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"a.b.c")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Basic eDp5")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer a.b.c\xff")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization", b"Bearer=a.b.c")], reasons.CREDENTIAL_UNSUPPORTED),
    ([(b"Authorization_", b"Bearer a.b.c")], None),
    ([(b"Proxy-Authorization", b"Bearer a.b.c")], None),
    ([(b"Cookie", b"Authorization=Bearer a.b.c")], None),
]


@pytest.mark.parametrize(("lines", "expected"), ROWS)
def test_one_credential_or_none(lines: list[tuple[bytes, bytes]], expected: str | Reason | None) -> None:
    """... takes the one bearer token of a request, and refuses a choice."""
    assert find_credential(Headers(tuple(lines))) == expected
