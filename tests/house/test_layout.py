"""The tree is the one that CONTRIBUTING.md describes, and nothing grows past what one can read in a sitting."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.house.tree import ROOT, below, project_files

MOST_LINES: Final = 450
"""Lines in one module; past that there are two subjects in it."""

TOP_LEVEL: Final = frozenset({"docs", "examples", "gateway", "pyproject.toml", "static", "sw", "tests"})
PAPERS: Final = frozenset(
    {
        ".ci",
        ".editorconfig",
        ".gitignore",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "SECURITY.md",
        "constraints.txt",
        "hatch_build.py",
        "scripts",
    }
)

WITHOUT_A_TEST_FILE: Final = {
    "gateway/__init__.py": "its names are checked by tests/house/test_public_names.py",
    "gateway/__main__.py": "two lines that start gateway.cli.main",
    "gateway/core/ports.py": "Protocols only; tests/contract holds one suite for each",
}

MODULES: Final = [path for path in below("gateway", suffix=".py") if path.name != "__init__.py" or len(path.parts) == 2]


def test_every_module_has_its_test_file() -> None:
    """has tests/x/test_y.py (or test_y_aspect.py) for gateway/x/y.py, so that nobody searches."""
    untested = [
        path.as_posix() for path in MODULES if path.as_posix() not in WITHOUT_A_TEST_FILE and not _tests_of(path)
    ]
    assert not untested, f"write tests/x/test_y.py for each, or explain it in WITHOUT_A_TEST_FILE: {untested}"


def test_exemptions_are_still_needed() -> None:
    """exempts no module that is gone or has tests by now."""
    gone = [name for name in WITHOUT_A_TEST_FILE if not (ROOT / name).is_file()]
    tested = [name for name in WITHOUT_A_TEST_FILE if _tests_of(Path(name))]
    assert (gone, tested) == ([], [])


def test_top_level_holds_only_what_is_agreed() -> None:
    """keeps its top level short."""
    strangers = {path.parts[0] for path in project_files()} - TOP_LEVEL - PAPERS
    assert not strangers, f"{sorted(strangers)}: find a place below {sorted(TOP_LEVEL)}, or add it to PAPERS"


def test_nothing_generated_is_kept_in_git() -> None:
    """keeps no build result in the repository."""
    made = {"_assets", "node_modules", "dist", "__pycache__"}
    assert [path for path in project_files() if made & set(path.parts)] == []


def test_modules_stay_readable() -> None:
    """has no module longer than one can read in a sitting."""
    sources = below("gateway", "tests", "scripts", "examples", suffix=".py") + below("sw", suffix=".ts")
    lengths = {path.as_posix(): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in sources}
    long = {path: lines for path, lines in lengths.items() if lines > MOST_LINES}
    assert not long, f"split by subject, at most {MOST_LINES} lines each: {long}"


def _tests_of(module: Path) -> list[Path]:
    place = ROOT.joinpath("tests", *module.parts[1:-1])
    return [*place.glob(f"test_{module.stem}.py"), *place.glob(f"test_{module.stem}_*.py")]
