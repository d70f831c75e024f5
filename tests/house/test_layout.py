"""The tree is the one that CONTRIBUTING.md describes, and nothing grows past what one can read in a sitting."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

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


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_test_file(module: Path) -> None:
    """has tests/x/test_y.py (or test_y_aspect.py) for gateway/x/y.py, so that nobody searches."""
    if module.as_posix() in WITHOUT_A_TEST_FILE:
        return
    place = ROOT.joinpath("tests", *module.parts[1:-1])
    wanted = place / f"test_{module.stem}.py"
    found = wanted.is_file() or any(place.glob(f"test_{module.stem}_*.py"))
    assert found, f"{module} has no tests: write {wanted.relative_to(ROOT)}, or explain it in WITHOUT_A_TEST_FILE"


@pytest.mark.parametrize("name", WITHOUT_A_TEST_FILE)
def test_exemptions_are_still_needed(name: str) -> None:
    """exempts no module that is gone or has tests by now."""
    module = Path(name)
    assert (ROOT / module).is_file(), f"{name} is gone: take it out of WITHOUT_A_TEST_FILE"
    assert not ROOT.joinpath("tests", *module.parts[1:-1], f"test_{module.stem}.py").exists()


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
