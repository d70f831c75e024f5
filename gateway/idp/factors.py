"""Second factors as administrators write them: in create, import, update (identity-toolkit.md sections 3, 10.1)."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Sequence
from typing import Final

from gateway.idp.accounts import check_phone
from gateway.idp.errors import WireError, not_implemented
from gateway.idp.realm import Realm
from gateway.idp.records import Factor
from gateway.idp.wire import Fields

_FACTOR_ID_BYTES: Final = 15
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LATEST_MS: Final = 253_402_300_799_000
"""The last second of the year 9999, in ms since the epoch: RFC 3339 section 1 knows no later year."""


def factors_of(realm: Realm, entries: Sequence[Fields]) -> tuple[Factor, ...]:
    """Phones as second factors; a new one gets an id, and the moment of its enrolment is now unless it is named.

    :raises WireError: a number or time that cannot be read, a factor that is no phone, or two of one id.
    """
    factors = []
    for entry in entries:
        number = entry.text("phoneInfo")
        if number is None:
            raise not_implemented("second factors other than phones")
        factors.append(
            Factor(
                factor_id=entry.text("mfaEnrollmentId") or secrets.token_urlsafe(_FACTOR_ID_BYTES),
                enrolled_at_ms=_moment(realm, entry.text("enrolledAt")),
                phone_number=check_phone(number),
                display_name=entry.text("displayName"),
            )
        )
    if len({factor.factor_id for factor in factors}) < len(factors):
        raise WireError("DUPLICATE_MFA_ENROLLMENT_ID")
    return tuple(factors)


def _moment(realm: Realm, text: str | None) -> int:
    if text is None:
        return int(realm.clock.now() * 1_000)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise WireError("INVALID_ARGUMENT : enrolledAt must be RFC 3339 text") from None
    since = (moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)) - _EPOCH
    milliseconds = since // dt.timedelta(milliseconds=1)
    if not 0 <= milliseconds <= _LATEST_MS:
        # Stored, it could be told to nobody: the account would break every list that it is on.
        raise WireError("INVALID_ARGUMENT : enrolledAt must lie between 1970 and 9999")
    return milliseconds
