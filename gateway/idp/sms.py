"""Codes by SMS: made, "sent" to the mailbox, redeemed (identity-toolkit.md sections 3, 6.10 and 7).

The rules this file obeys: **a code has six digits, so it may be tried five times only**; it works once, for the number
and the purpose that it was made for, for ten minutes; **and before it leaves, beforeSendSms is asked**
(blocking-functions.md section 3.1).
"""

from __future__ import annotations

import enum
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from gateway.core.ports import Clock
from gateway.idp.codes import Text
from gateway.idp.errors import WireError
from gateway.idp.expiring import Expiring

CODE_DIGITS: Final = 6
CODE_LIFETIME: Final = 600.0
"""Seconds that a code works; NIST SP 800-63B section 5.1.3.2 allows ten minutes at most."""

TRIES: Final = 5
"""Wrong guesses before a code is void: a chance of five in a million."""


class SmsKind(enum.StrEnum):
    """What a code is for; the values are those of the claim ``sms_type`` (blocking-functions.md section 1.6)."""

    SIGN_IN = "SIGN_IN_OR_SIGN_UP"
    SECOND_FACTOR = "MULTI_FACTOR_SIGN_IN"
    ENROLLMENT = "MULTI_FACTOR_ENROLLMENT"


@dataclass(slots=True, kw_only=True)
class Sent:
    """A code on its way. ``owner`` is what it is bound to beyond its number: a uid, or a half-finished sign-in."""

    number: str
    kind: SmsKind
    owner: str | None
    code: str = field(repr=False)
    tries: int = 0


class SmsCodes:
    """Issues and redeems."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent: Expiring[Sent] = Expiring(clock, CODE_LIFETIME)

    def issue(self, number: str, kind: SmsKind, *, owner: str | None = None) -> Text:
        """Make a code; the answer holds it and the ``sessionInfo`` to redeem it with."""
        code = "".join(secrets.choice("0123456789") for _ in range(CODE_DIGITS))
        session_info = self._sent.put(Sent(number=number, kind=kind, owner=owner, code=code))
        return Text(number, str(kind), code, session_info, self._clock.now())

    def redeem(self, session_info: str | None, code: str | None, kind: SmsKind, *, owner: str | None = None) -> str:
        """The number that a code was sent to; the code is used up.

        :raises WireError: ``MISSING_SESSION_INFO``, ``MISSING_CODE``, ``INVALID_SESSION_INFO`` or ``INVALID_CODE``.
        """
        if not session_info:
            raise WireError("MISSING_SESSION_INFO")
        if not code:
            raise WireError("MISSING_CODE")
        sent = self._sent.get(session_info)
        if sent is None or sent.kind is not kind or sent.owner != owner:
            raise WireError("INVALID_SESSION_INFO")
        if not hmac.compare_digest(sent.code.encode(), code.encode("utf-8", "replace")):
            sent.tries += 1
            if sent.tries >= TRIES:
                self._sent.pop(session_info)
            raise WireError("INVALID_CODE")
        self._sent.pop(session_info)
        return sent.number

    def outstanding(self) -> Iterator[tuple[str, Sent]]:
        """Codes that still work, by their ``sessionInfo``; the oldest first."""
        return iter(self._sent)
