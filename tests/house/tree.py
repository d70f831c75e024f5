"""What the house tests look at: the files of the project as git would take them, and where they are."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


@cache
def project_files() -> tuple[Path, ...]:
    """List the files that git tracks or would track, relative to the root; without a repository, all that is there."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 because CI has git on PATH
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    # No repository: an unpacked source distribution. The other failure is a clone that another user owns.
    names = listed.stdout.decode().split("\0") if listed.returncode == 0 else map(str, _walk(ROOT))
    return tuple(sorted(path for path in {Path(name) for name in names if name} if (ROOT / path).is_file()))


def below(*directories: str, suffix: str) -> list[Path]:
    """List project files below any of ``directories`` that end in ``suffix``, relative to the root."""
    return [path for path in project_files() if path.parts[0] in directories and path.suffix == suffix]


def _walk(root: Path) -> Iterator[Path]:
    made = {"node_modules", "__pycache__", "_assets", "dist", "PKG-INFO"}
    ours = {".ci", ".editorconfig", ".gitignore", ".npmrc"}
    for path in root.rglob("*"):
        parts = set(path.relative_to(root).parts)
        if not made & parts and {part for part in parts if part.startswith(".")} <= ours:
            yield path.relative_to(root)
