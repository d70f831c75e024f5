"""Key sets that rotate without a gap.

The rules this file obeys: **a key is published before it signs** (for longer than anybody may cache the set) **and
stays published until the last token it signed has expired**; ID tokens and session cookies have separate sets
(identity-toolkit.md section 5). Everything follows from one moment for each key, ``signs_from``: the key that signs
is the newest whose moment has come, and a key may go once its successor has been signing for a token's lifetime. A
provider that slept for a year therefore wakes up signing with its old key, publishes a new one, and changes over later.

Synchronous; lives on the store's thread.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

from gateway.core.ports import Clock
from gateway.idp.records import KeyPurpose, KeyRecord
from gateway.idp.store import Store
from gateway.tokens.mint import (
    LOCAL_PROVIDER_COMMON_NAME,
    PrivateKeySource,
    SigningKey,
    generate_private_key,
    generate_signing_key,
)

CERTIFICATES_MAX_AGE: Final = 6 * 3_600
"""``max-age`` of the published sets, seconds: in the range of hours that Google's endpoints give."""

PUBLISH_AHEAD: Final = 24 * 3_600
"""A new key is published this long before it signs, seconds; four times the longest a verifier may cache the set."""

SIGNING_PERIOD: Final = 30 * 24 * 3_600
"""A key signs for about this long, seconds: NIST SP 800-57 would allow a year or more, Google changes within weeks."""

RETIREMENT_MARGIN: Final = 3_600
"""A key stays published this much longer than its last token lives, seconds: for verifiers with a skewed clock."""

CERTIFICATE_VALIDITY: Final = 10 * 365 * 24 * 3_600
"""Validity of the certificates, seconds. Long, because ``signs_from`` and not the certificate decides."""

ID_TOKEN_LIFETIME: Final = 3_600
"""Seconds (identity-toolkit.md section 4.1)."""

MAX_COOKIE_LIFETIME: Final = 14 * 24 * 3_600
"""Seconds (identity-toolkit.md section 4.2)."""

_TOKEN_LIFETIME: Final = {
    KeyPurpose.ID_TOKEN: ID_TOKEN_LIFETIME,
    KeyPurpose.SESSION_COOKIE: MAX_COOKIE_LIFETIME,
}


@dataclass(frozen=True, slots=True)
class _Entry:
    key: SigningKey
    signs_from: int


class KeyRing:
    """The keys of one purpose."""

    def __init__(
        self, purpose: KeyPurpose, store: Store, clock: Clock, source: PrivateKeySource = generate_private_key
    ) -> None:
        self._purpose = purpose
        self._store = store
        self._clock = clock
        self._source = source
        self._entries = [
            _Entry(SigningKey.from_pem(record.private_pem, record.certificate), record.signs_from)
            for record in store.keys(purpose)
        ]

    def maintain(self) -> None:
        """Make the first key, publish a successor when its time has come, forget keys whose last token has expired.

        Writes, so it wants a transaction that nothing else can roll back. Cheap when there is nothing to do.
        """
        now = int(self._clock.now())
        if not self._entries:
            self._add(signs_from=now)
        newest = self._entries[-1]
        if now >= newest.signs_from + SIGNING_PERIOD - PUBLISH_AHEAD:
            self._add(signs_from=max(now + PUBLISH_AHEAD, newest.signs_from + SIGNING_PERIOD))
        for retired, successor in list(itertools.pairwise(self._entries)):
            if now > successor.signs_from + _TOKEN_LIFETIME[self._purpose] + RETIREMENT_MARGIN:
                self._entries.remove(retired)
                self._store.delete_key(retired.key.kid)

    def rotate(self) -> SigningKey:
        """Publish a successor now; it signs :data:`PUBLISH_AHEAD` seconds later. Answers the newest key."""
        self.maintain()
        now = int(self._clock.now())
        if self._entries[-1].signs_from <= now:
            self._add(signs_from=now + PUBLISH_AHEAD)
        return self._entries[-1].key

    def signer(self) -> SigningKey:
        """The key that signs now: the newest whose moment has come."""
        now = int(self._clock.now())
        # A clock that was set back may leave no key whose moment has come: then the oldest signs.
        return next((e.key for e in reversed(self._entries) if e.signs_from <= now), self._entries[0].key)

    def published(self) -> list[SigningKey]:
        """Every key that a verifier must know: past, present and next; the oldest first."""
        return [entry.key for entry in self._entries]

    def find(self, kid: object) -> SigningKey | None:
        """The published key of that name."""
        return next((entry.key for entry in self._entries if entry.key.kid == kid), None)

    def _add(self, *, signs_from: int) -> None:
        now = int(self._clock.now())
        key = generate_signing_key(
            LOCAL_PROVIDER_COMMON_NAME,
            not_before=now - RETIREMENT_MARGIN,
            not_after=now + CERTIFICATE_VALIDITY,
            source=self._source,
        )
        self._store.put_key(
            KeyRecord(
                kid=key.kid,
                purpose=self._purpose,
                private_pem=key.private_pem(),
                certificate=key.certificate_pem(),
                signs_from=signs_from,
            )
        )
        self._entries.append(_Entry(key, signs_from))
