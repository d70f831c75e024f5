"""Password hashing: argon2id in a small pool of threads, never on the event loop.

The rules this file obeys: **a password is stored only as argon2id** (RFC 9106), **hashes keep up with the profile** (a
successful sign-in rehashes what is weaker or was imported from elsewhere) and **an unknown address costs as much as
a wrong password**, so that the time of an answer does not tell which addresses exist. The pool is bounded: a flood of
sign-ins meets ``TOO_MANY_ATTEMPTS_TRY_LATER`` and cannot fill the memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import argon2
from argon2.exceptions import Argon2Error, InvalidHashError

from gateway.idp import foreign_hashes
from gateway.idp.errors import WireError

MIN_PASSWORD_LENGTH: Final = 6
"""Characters; the service's minimum (https://firebase.google.com/docs/auth/web/password-auth)."""

MAX_PASSWORD_LENGTH: Final = 4_096
"""Characters; the service's maximum."""

POOL_WORKERS: Final = 2
"""Hashes computed at a time: 128 MiB with the strong profile."""

MAX_WAITING: Final = 64
"""Hashes that may be under way or wait; about three seconds of work with the strong profile."""

ProfileName = Literal["strong", "testing"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Cost of one hash: passes, KiB of memory, lanes."""

    passes: int
    memory_kib: int
    lanes: int


PROFILES: Final[dict[ProfileName, Profile]] = {
    # RFC 9106 section 4, second recommended option (64 MiB); above the OWASP Password Storage Cheat Sheet's minimum
    # of 19 MiB and 2 passes.
    "strong": Profile(passes=3, memory_kib=65_536, lanes=4),
    # For test suites only, which create hundreds of accounts. The provider refuses it off loopback.
    "testing": Profile(passes=1, memory_kib=8, lanes=1),
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the password was right, and the hash that should replace the stored one (None: keep it)."""

    right: bool
    replacement: str | None = None


def check_strength(password: str) -> None:
    """Refuse a new password that is too short or too long.

    :raises WireError: ``WEAK_PASSWORD`` or ``PASSWORD_DOES_NOT_MEET_REQUIREMENTS``.
    """
    if len(password) < MIN_PASSWORD_LENGTH:
        raise WireError(f"WEAK_PASSWORD : Password should be at least {MIN_PASSWORD_LENGTH} characters")
    if len(password) > MAX_PASSWORD_LENGTH:
        raise WireError(
            "PASSWORD_DOES_NOT_MEET_REQUIREMENTS : Missing password requirements: "
            f"[Password may contain at most {MAX_PASSWORD_LENGTH} characters]"
        )


class Passwords:
    """Hashes and verifies off the event loop."""

    def __init__(self, profile: ProfileName = "strong") -> None:
        cost = PROFILES[profile]
        self._hasher = argon2.PasswordHasher(
            time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes, type=argon2.Type.ID
        )
        self._executor = ThreadPoolExecutor(max_workers=POOL_WORKERS, thread_name_prefix="idp-password")
        self._waiting = 0
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """The argon2id hash of a new password, PHC string form.

        :raises WireError: the pool is full.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """Compare. ``stored`` is None when there is no such account or it has no password: that takes as long.

        :raises WireError: the pool is full.
        """
        return await self._run(lambda: self._verify(stored, password))

    def close(self) -> None:
        """Wait for what is under way."""
        self._executor.shutdown()

    def _verify(self, stored: str | None, password: str) -> Verdict:
        if len(password) > MAX_PASSWORD_LENGTH:
            stored = None
            password = password[:MAX_PASSWORD_LENGTH]
        if stored is not None and foreign_hashes.is_foreign(stored):
            right = foreign_hashes.verify(stored, password)
            # Hashing also when it was wrong keeps the time of both answers alike.
            replacement = self._hasher.hash(password)
            return Verdict(right=right, replacement=replacement if right else None)
        if stored is None:
            self._decoy = self._decoy or self._hasher.hash("decoy")
        try:
            self._hasher.verify(stored or self._decoy or "", password)
        except (Argon2Error, InvalidHashError):
            return Verdict(right=False)
        if stored is None:
            return Verdict(right=False)
        return Verdict(
            right=True, replacement=self._hasher.hash(password) if self._hasher.check_needs_rehash(stored) else None
        )

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise WireError("TOO_MANY_ATTEMPTS_TRY_LATER")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._waiting -= 1
