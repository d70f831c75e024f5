from __future__ import annotations

from collections.abc import Iterator

import jwt
import pytest

from gateway.idp.records import KeyPurpose
from gateway.idp.signing_keys import (
    CERTIFICATES_MAX_AGE,
    ID_TOKEN_LIFETIME,
    MAX_COOKIE_LIFETIME,
    PUBLISH_AHEAD,
    SIGNING_PERIOD,
    KeyRing,
)
from gateway.idp.store import Store
from gateway.tokens.mint import SigningKey, sign
from tests.support.clock import FakeClock
from tests.support.idp import key_source

HOUR = 3600


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store.open(None, "demo-keys")
    yield opened
    opened.close()


def ring(store: Store, clock: FakeClock, purpose: KeyPurpose = KeyPurpose.ID_TOKEN) -> KeyRing:
    made = KeyRing(purpose, store, clock, key_source)
    made.maintain()
    return made


def kids(keys: list[SigningKey]) -> list[str]:
    return [key.kid for key in keys]


def test_new_key_is_published_before_it_signs(store: Store) -> None:
    """the provider publishes a key for longer than the set may be cached before it signs with it."""
    clock = FakeClock()
    keys = ring(store, clock)
    first = keys.signer()
    second = keys.rotate()
    assert kids(keys.published()) == [first.kid, second.kid]
    clock.advance(PUBLISH_AHEAD - 1)
    assert keys.signer().kid == first.kid
    clock.advance(1)
    assert keys.signer().kid == second.kid
    assert PUBLISH_AHEAD >= 2 * CERTIFICATES_MAX_AGE


def test_old_key_stays_until_its_last_token_expired(store: Store) -> None:
    """the provider keeps an old certificate published until the last token that it signed has expired."""
    clock = FakeClock()
    keys = ring(store, clock)
    first = keys.signer()
    keys.rotate()
    clock.advance(PUBLISH_AHEAD - 1)
    last_token = sign({"exp": int(clock.now()) + ID_TOKEN_LIFETIME}, keys.signer())
    kid = jwt.get_unverified_header(last_token)["kid"]
    assert kid == first.kid
    for _ in range(ID_TOKEN_LIFETIME // 600):
        clock.advance(600)
        keys.maintain()
        assert keys.find(kid) is not None
    clock.advance(2 * HOUR)
    keys.maintain()
    assert keys.find(kid) is None
    assert len(store.keys(KeyPurpose.ID_TOKEN)) == 1


def test_cookie_keys_stay_for_a_fortnight(store: Store) -> None:
    """the provider keeps an old cookie key published for as long as cookies live."""
    clock = FakeClock()
    keys = ring(store, clock, KeyPurpose.SESSION_COOKIE)
    first = keys.signer()
    keys.rotate()
    clock.advance(PUBLISH_AHEAD + MAX_COOKIE_LIFETIME)
    keys.maintain()
    assert keys.find(first.kid) is not None
    clock.advance(2 * HOUR)
    keys.maintain()
    assert keys.find(first.kid) is None


def test_keys_rotate_by_themselves_without_a_gap(store: Store) -> None:
    """the provider changes keys about monthly; at every hour of a quarter the signer had been published a day."""
    clock = FakeClock()
    keys = ring(store, clock)
    first_seen = {keys.signer().kid: clock.now() - PUBLISH_AHEAD}
    signers: list[str] = []
    for _ in range(90 * 24):
        clock.advance(HOUR)
        keys.maintain()
        for kid in kids(keys.published()):
            first_seen.setdefault(kid, clock.now())
        signer = keys.signer().kid
        assert clock.now() - first_seen[signer] >= PUBLISH_AHEAD - HOUR
        if signer not in signers:
            signers.append(signer)
        assert 1 <= len(keys.published()) <= 2
    assert len(signers) == 4


def test_sleeper_wakes_up_with_its_old_key(store: Store) -> None:
    """the provider that was off for a year signs with its published key first, and changes over a day later."""
    clock = FakeClock()
    old = ring(store, clock).signer()
    clock.advance(365 * 24 * HOUR)
    keys = ring(store, clock)
    assert keys.signer().kid == old.kid
    assert len(keys.published()) == 2
    clock.advance(PUBLISH_AHEAD)
    assert keys.signer().kid != old.kid


def test_keys_survive_a_restart(store: Store) -> None:
    """the provider reads its keys back, the future one too."""
    clock = FakeClock()
    before = ring(store, clock)
    before.rotate()
    after = ring(store, clock)
    assert kids(after.published()) == kids(before.published())
    assert after.signer().kid == before.signer().kid
    assert after.published()[0].jwk() == before.published()[0].jwk()


def test_rotating_twice_makes_one_successor(store: Store) -> None:
    """the provider makes no second successor while the first waits for its moment."""
    keys = ring(store, FakeClock())
    assert keys.rotate().kid == keys.rotate().kid
    assert len(keys.published()) == 2


def test_clock_set_back_still_signs(store: Store) -> None:
    """the provider signs with its oldest key when the clock says that none has begun."""
    clock = FakeClock()
    keys = ring(store, clock)
    clock.jump(-SIGNING_PERIOD)
    assert keys.signer().kid == keys.published()[0].kid
