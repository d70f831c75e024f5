from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import argon2
import pytest

from gateway.idp import passwords as passwords_module
from gateway.idp.errors import WireError
from gateway.idp.passwords import PROFILES, Passwords, check_strength


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    pool = Passwords("testing")
    yield pool
    pool.close()


async def test_hash_and_verify(passwords: Passwords) -> None:
    """the provider stores argon2id with a fresh salt and knows right from wrong."""
    first, second = await passwords.hash("pässword"), await passwords.hash("pässword")
    assert first.startswith("$argon2id$v=19$")
    assert first != second
    assert (await passwords.verify(first, "pässword")).right
    assert not (await passwords.verify(first, "password")).right
    assert not (await passwords.verify("garbage", "password")).right


async def test_nobody_has_no_password(passwords: Passwords) -> None:
    """the provider finds every password wrong where there is none, the decoy's too."""
    for password in ("decoy", "x", "x" * 10_000):
        assert not (await passwords.verify(None, password)).right


def test_strong_profile_is_the_recommended_one() -> None:
    """the provider's default cost is the second recommendation of RFC 9106."""
    strong, reference = PROFILES["strong"], argon2.profiles.RFC_9106_LOW_MEMORY
    assert (strong.passes, strong.memory_kib, strong.lanes) == (
        reference.time_cost,
        reference.memory_cost,
        reference.parallelism,
    )


async def test_weaker_hash_is_replaced(passwords: Passwords) -> None:
    """the provider replaces a hash of another cost when the password was right, and only then."""
    other = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash("secret")
    verdict = await passwords.verify(other, "secret")
    assert verdict.replacement is not None
    assert (await passwords.verify(verdict.replacement, "secret")).replacement is None
    assert (await passwords.verify(other, "wrong")).replacement is None


async def test_hashing_stays_off_the_event_loop(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    """the provider hashes in its own threads."""
    seen: list[str] = []
    real = argon2.PasswordHasher.hash

    def spy(self: argon2.PasswordHasher, password: str) -> str:
        seen.append(threading.current_thread().name)
        return real(self, password)

    monkeypatch.setattr(argon2.PasswordHasher, "hash", spy)
    await passwords.hash("x")
    assert seen[0].startswith("idp-password")


async def test_pool_is_bounded(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    """the provider turns a flood of sign-ins away instead of letting it pile up."""
    monkeypatch.setattr(passwords_module, "MAX_WAITING", 3)
    results = await asyncio.gather(*(passwords.hash("x") for _ in range(5)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, WireError)]
    assert [error.name for error in refused] == ["TOO_MANY_ATTEMPTS_TRY_LATER"] * 2
    assert isinstance(await passwords.hash("x"), str)


@pytest.mark.parametrize(("length", "good"), [(5, False), (6, True), (4096, True), (4097, False)])
def test_length_of_new_passwords(length: int, good: bool) -> None:
    """the provider takes new passwords of 6 to 4096 characters."""
    if good:
        check_strength("x" * length)
    else:
        with pytest.raises(WireError):
            check_strength("x" * length)
