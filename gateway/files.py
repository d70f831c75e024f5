"""Whether files have changed, found out by looking now and then: that works on every file system there is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

Stamp: TypeAlias = tuple[int, int, int]


def stamp(path: Path) -> Stamp | None:
    """What changes when a file does; None when it is not there.

    Links are followed, because a configuration that Kubernetes mounts changes by its link.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


class FileWatch:
    """Files, and how they were when they were last taken up.

    A change counts once it was the same in two looks: files are seldom written at one stroke, and seldom two at once.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = tuple(files)
        self._taken: tuple[Stamp | None, ...] = ()
        self._seen: tuple[Stamp | None, ...] = ()
        self.take()

    def take(self) -> None:
        """What is there now is about to be read, so it is no change any more."""
        self._taken = self._seen = self._look()

    def changed(self) -> bool:
        """Look. Whether there is a change, which is told once."""
        before, self._seen = self._seen, self._look()
        if self._seen == self._taken or self._seen != before:
            return False
        self._taken = self._seen
        return True

    def follow(self, files: Iterable[Path]) -> None:
        """Look at these files from now on."""
        found = tuple(files)
        if found != self._files:
            self._files = found
            self.take()

    def _look(self) -> tuple[Stamp | None, ...]:
        return tuple(stamp(path) for path in self._files)
