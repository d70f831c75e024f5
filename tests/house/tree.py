"""What the house tests look at: the files of the project as git would take them, and where they are."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


@cache
def project_files() -> tuple[Path, ...]:
    """List the files that git tracks or would track, relative to the root; in an unpacked sdist, all that it holds."""
    if not (ROOT / ".git").exists():
        return tuple(sorted(path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file() and _shipped(path)))
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 because CI has git on PATH
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    names = {Path(name) for name in listed.stdout.decode().split("\0") if name}
    return tuple(sorted(name for name in names if (ROOT / name).is_file()))


def below(*directories: str, suffix: str) -> list[Path]:
    """List project files below any of ``directories`` that end in ``suffix``, relative to the root."""
    return [path for path in project_files() if path.parts[0] in directories and path.suffix == suffix]


def _shipped(path: Path) -> bool:
    made = {".venv", "node_modules", "__pycache__", "_assets", "dist"}
    return not made & set(path.parts) and not any(part.endswith("_cache") for part in path.parts)
