"""Keys of assertions while a gateway runs."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from pathlib import Path

import jwt
import pytest

from gateway.adapters import assertion_rotation
from gateway.adapters.assertion_keys import AssertionKeyFile
from gateway.adapters.assertion_rotation import RotatingKeys
from gateway.core.session import NetworkLevel, Session
from gateway.mutators.assertion import CACHING, LEAD, MAX_LIFETIME, AssertionSettings
from tests.support.clock import NOW, FakeClock
from tests.support.wire import claims_of

DAY = 86_400.0
SETTINGS = AssertionSettings("https://app.example")


def kids(keys: RotatingKeys) -> list[str]:
    return [key.kid for key in keys.assertions.ring.keys]


@pytest.mark.parametrize("in_file", [True, False])
def test_keys_are_rotated_in_time(tmp_path: Path, in_file: bool) -> None:
    """... publishes the next key before the time of the last one is over, so that it signs when that is."""
    clock = FakeClock()
    keys = RotatingKeys(tmp_path / "keys.json" if in_file else None, SETTINGS, clock, every=DAY)
    (first,) = kids(keys)
    clock.advance(DAY - LEAD - 1)
    keys.look()
    assert kids(keys) == [first]
    clock.advance(1)
    keys.look()
    keys.look()
    assert len(kids(keys)) == 2
    assert keys.assertions.ring.signer(clock.now()).kid == first
    assert keys.assertions.ring.signer(NOW + DAY).kid == kids(keys)[1]


def test_two_processes_rotate_once(tmp_path: Path) -> None:
    """... makes one new key, however many processes see that it is time."""
    clock = FakeClock()
    several = [RotatingKeys(tmp_path / "keys.json", SETTINGS, clock, every=DAY) for _ in range(4)]
    clock.advance(DAY)
    threads = [threading.Thread(target=keys.look) for keys in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for keys in several:
        keys.look()
    assert len({tuple(kids(keys)) for keys in several}) == 1
    assert len(kids(several[0])) == 2


def test_a_rotation_by_hand_is_noticed(tmp_path: Path) -> None:
    """... takes over what `gateway keys rotate` wrote."""
    clock = FakeClock()
    keys = RotatingKeys(tmp_path / "keys.json", SETTINGS, clock, every=0)
    clock.advance(100 * DAY)
    keys.look()
    assert len(kids(keys)) == 1
    AssertionKeyFile(tmp_path / "keys.json").rotate(clock.now())
    keys.look()
    assert len(kids(keys)) == 2


def test_a_file_that_broke_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """... goes on with the keys at hand, and says so, when the file is damaged or gone."""
    path = tmp_path / "keys.json"
    clock = FakeClock()
    keys = RotatingKeys(path, SETTINGS, clock, every=DAY)
    before = kids(keys)
    path.write_text("{}")
    keys.look()
    assert kids(keys) == before
    assert "stay as they are" in caplog.text
    path.unlink()
    keys.look()
    assert kids(keys) == before


async def test_under_load_no_assertion_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """... signs and rotates at once, and every assertion verifies with a key set that is as old as may be."""
    clock = FakeClock()
    keys = RotatingKeys(None, SETTINGS, clock, every=3 * LEAD)
    monkeypatch.setattr(assertion_rotation, "LOOK_EVERY", 0.0)
    keys.start()
    cached = keys.assertions.ring.jwks(clock.now())
    fetched, signed, failures = clock.now(), 0, 0
    used: set[str] = set()
    try:
        while clock.now() < NOW + 12 * LEAD:
            clock.advance(20)
            await asyncio.sleep(0)
            if clock.now() - fetched >= CACHING:
                cached, fetched = keys.assertions.ring.jwks(clock.now()), clock.now()
            for number in range(5):
                who = Session(claims_of(f"user-{number}"), ipaddress.ip_address("192.0.2.7"), NetworkLevel.SAME)
                token = keys.assertions.of(who, "app", clock.now()).token
                kid = jwt.get_unverified_header(token)["kid"]
                used.add(kid)
                signed += 1
                found = [key for key in cached["keys"] if key["kid"] == kid]
                if not found:
                    failures += 1
                    continue
                jwt.decode(
                    token, jwt.PyJWK(found[0]), ["ES256"], {"verify_exp": False, "verify_iat": False}, audience="app"
                )
    finally:
        await keys.close()
    assert failures == 0
    assert signed > 1_000
    assert len(used) >= 4
    assert MAX_LIFETIME < 3 * LEAD
