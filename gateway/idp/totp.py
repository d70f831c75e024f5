"""Time-based one-time passwords (RFC 6238): SHA-1, six digits, thirty seconds, as authenticator apps expect.

The rule this file obeys (RFC 6238 section 5.2): **a code works once.** Whoever checks one keeps the step it was for and
refuses it and all before it.

Pure: the time is handed in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

SECRET_BYTES: Final = 20
"""Random bytes of a secret: the length of SHA-1's output (RFC 4226 section 4, R6)."""

STEP: Final = 30
"""Seconds (RFC 6238 section 5.2)."""

DIGITS: Final = 6
NEIGHBOURS: Final = 1
"""Steps before and after the present one that count too, for clocks that differ (RFC 6238 section 5.2)."""


def new_secret() -> str:
    """A fresh secret, in base32 without padding, as apps take it."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii").rstrip("=")


def code_at(secret: str, step: int) -> str:
    """The code of a time step (RFC 4226 section 5.3)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def matching_step(secret: str, code: str, now: float, *, after: int | None = None) -> int | None:
    """The time step that a code belongs to, or None when it is wrong or was used.

    :param now: wall-clock seconds.
    :param after: the latest step that was used.
    """
    try:
        present = int(now) // STEP
        steps = range(present - NEIGHBOURS, present + NEIGHBOURS + 1)
        fitting = [step for step in steps if hmac.compare_digest(code_at(secret, step), code)]
    except (binascii.Error, TypeError):
        # compare_digest takes no text beyond ASCII.
        return None
    return next((step for step in fitting if after is None or step > after), None)
