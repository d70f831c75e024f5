"""The file that the keys of assertions are kept in.

The rules this file obeys: a private key is readable by its owner only, and a file that others can read is refused; a
file is replaced as a whole or not at all, so that a reader never meets half of one; two that rotate at the same moment
take turns, and the second one sees what the first one did.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.errors import ConfigError
from gateway.mutators.assertion import LEAD, AssertionKey, KeyRing

_PRIVATE: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MOST_BYTES: Final = 1_000_000
"""More than a thousand keys; anything longer is another file."""


class AssertionKeyFile:
    """A JSON file of P-256 keys, ``{"keys": [{"signs_from": …, "private_key": "-----BEGIN…"}]}``.

    :param where: the setting that named the file, for errors.
    """

    def __init__(self, path: Path, *, where: str = "$.assertion.keys_file") -> None:
        self._path: Final = path
        self._where: Final = where
        self._seen: tuple[int, int, int] | None = None

    def open(self, now: float) -> KeyRing:
        """The keys of the file, which is written with a first key when it does not exist.

        :raises ConfigError: it cannot be read or written, or holds something else.
        """
        try:
            return self.read()
        except FileNotFoundError:
            pass
        with self._alone():
            with contextlib.suppress(FileNotFoundError):
                return self.read()
            ring = KeyRing.fresh(now)
            self._write(ring)
        return ring

    def read(self) -> KeyRing:
        """The keys of the file.

        :raises FileNotFoundError: there is none.
        :raises ConfigError: it cannot be read, others can read it, or it holds something else.
        """
        try:
            with self._path.open("rb") as stream:
                status = os.fstat(stream.fileno())
                text = stream.read(_MOST_BYTES)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ConfigError(self._where, f"{self._path}: {error.strerror}", "check the path and its rights") from None
        if status.st_mode & _OTHERS:
            raise ConfigError(self._where, f"{self._path} can be read by others", f"chmod 600 {self._path}")
        self._seen = _mark(status)
        try:
            found = json.loads(text)
            entries = found["keys"]
            return KeyRing(tuple(_key(entry) for entry in entries))
        except (ValueError, TypeError, KeyError):
            raise ConfigError(
                self._where,
                f"{self._path} is no file of assertion keys",
                "name a file that does not exist: it will be made",
            ) from None

    def changed(self) -> bool:
        """Whether the file is another one than was read last. A missing file has not changed."""
        try:
            return _mark(self._path.stat()) != self._seen
        except OSError:
            return False

    def rotate(self, now: float) -> KeyRing:
        """Add a key that signs later, drop those that nobody needs any more, and write the file.

        :raises ConfigError: it cannot be read or written.
        """
        with self._alone():
            try:
                ring = self.read().rotated(now)
            except FileNotFoundError:
                ring = KeyRing.fresh(now)
            self._write(ring)
        return ring

    def rotate_when_due(self, now: float, every: float) -> KeyRing:
        """The keys, after a rotation when the newest one will have signed for ``every`` seconds before long.

        :raises ConfigError: as :meth:`rotate`.
        """
        ring = self.open(now)
        if not is_due(ring, now, every):
            return ring
        with self._alone():
            ring = self.read()
            if is_due(ring, now, every):  # nobody else was faster
                ring = ring.rotated(now)
                self._write(ring)
        return ring

    def _write(self, ring: KeyRing) -> None:
        entries = [{"signs_from": key.signs_from, "private_key": key.private_pem()} for key in ring.keys]
        text = json.dumps({"keys": entries}, indent=1) + "\n"
        try:
            # mkstemp makes a file of mode 0600 in the same directory, so that replacing is one step.
            handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
            try:
                with os.fdopen(handle, "w", encoding="ascii") as stream:
                    stream.write(text)
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(name).chmod(_PRIVATE)
                Path(name).replace(self._path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._seen = _mark(self._path.stat())
        except OSError as error:
            raise ConfigError(self._where, f"{self._path}: {error.strerror}", "name a directory to write to") from None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock on the file's directory: the file itself is replaced, and its lock would go with it."""
        try:
            handle = os.open(self._path.parent, os.O_RDONLY)
        except OSError as error:
            raise ConfigError(self._where, f"{self._path.parent}: {error.strerror}", "make the directory") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def is_due(ring: KeyRing, now: float, every: float) -> bool:
    """Whether a new key has to be published, so that it signs when the newest one has signed for ``every`` seconds."""
    return every > 0 and ring.keys[-1].signs_from + every <= now + LEAD


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _key(entry: Any) -> AssertionKey:
    signs_from = entry["signs_from"]
    if not isinstance(signs_from, int):
        raise TypeError("signs_from")
    return AssertionKey.from_pem(entry["private_key"], signs_from)
