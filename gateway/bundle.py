"""What the web assets are built from, and whether a build of them is current.

The worker and the pages (``sw/``, ``static/``) are bundled into ``gateway/_assets/`` once, when a wheel, a source
distribution or an editable install is made. A *stamp* beside the result holds the fingerprint of the sources, so that

* a source distribution, which carries the result, installs without Node and without npm's registry;
* a checkout whose sources moved on is noticed when the gateway starts, instead of serving yesterday's worker.

Standard library only, and no other module of the gateway: ``hatch_build.py`` loads this file by its path at a time when
nothing is installed yet.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

OUTPUT: Final = "gateway/_assets"
"""Where the build puts its result, relative to the project's root. Never committed."""

STAMP: Final = "stamp"
"""Name of the file in ``OUTPUT`` that holds the fingerprint; it is written last and left out of the wheel."""

SOURCES: Final = ("static", "sw")
"""Directories that hold everything the result depends on."""

LOCK: Final = "sw/package-lock.json"

_NOT_SOURCES: Final = frozenset({"node_modules", "dist", "test", "coverage", "biome.json"})
"""Parts of ``sw/`` that cannot change the result."""

_HIDDEN_SOURCES: Final = frozenset({".npmrc"})
"""Other dot files are an editor's or an operating system's and would make a good build look stale."""


def is_checkout(root: Path) -> bool:
    """Say whether ``root`` holds the sources, as a clone or an unpacked source distribution does."""
    return (root / LOCK).is_file()


def sources(root: Path) -> list[Path]:
    """List every file that the result depends on, in an order that is the same everywhere."""
    found = [path for name in SOURCES for path in (root / name).rglob("*") if _is_source(path.relative_to(root))]
    return sorted((path for path in found if path.is_file()), key=lambda path: path.relative_to(root).as_posix())


def fingerprint(root: Path) -> str:
    """Return the SHA-256, in hex, of the names and contents of all sources below ``root``."""
    whole = hashlib.sha256()
    for path in sources(root):
        whole.update(hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def is_current(root: Path) -> bool:
    """Say whether ``OUTPUT`` below ``root`` was built from the sources as they are now."""
    try:
        stamp = (root / OUTPUT / STAMP).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False
    return stamp.strip() == fingerprint(root)


def _is_source(relative: Path) -> bool:
    hidden = [part for part in relative.parts if part.startswith(".")]
    return not (_NOT_SOURCES & set(relative.parts)) and set(hidden) <= _HIDDEN_SOURCES


if __name__ == "__main__":
    # For the Makefile: status 0 when the build below the working directory is current.
    raise SystemExit(not is_current(Path.cwd()))
