"""Habits that reviews would otherwise repeat: what a test must have, what no file may hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.house.tree import ROOT, below, project_files

TESTS: Final = [path for path in below("tests", "examples", suffix=".py") if path.name.startswith("test_")]

SOMEBODYS_DISK: Final = re.compile(r"(?<![\w.~/-])/(?:home|root|Users|work|mnt|srv)/[a-z0-9_.-]+")
REGISTRY: Final = re.compile(
    r"https?://(?:registry\.npmjs\.org|registry\.yarnpkg\.com|pypi\.org/simple|files\.pythonhosted\.org)"
)
RESOLVED: Final = re.compile(r'^\s*"resolved": "', re.MULTILINE)

SKIPPING: Final = frozenset({"skip", "skipif", "xfail", "importorskip"})

THIS_FILE: Final = Path(__file__).resolve().relative_to(ROOT)


def texts() -> list[tuple[Path, str]]:
    """List every project file that is text, this one left out because it names what it forbids."""
    found = []
    for path in project_files():
        body = (ROOT / path).read_bytes()
        if path != THIS_FILE and b"\0" not in body:
            found.append((path, body.decode("utf-8")))
    return found


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Walk the syntax trees of all test files."""
    for path in TESTS:
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            yield path, node


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of somebody's machine", SOMEBODYS_DISK),
        ("the address of a package registry", REGISTRY),
        ("a download address in a lock file", RESOLVED),
    ],
)
def test_no_file_names_a_machine_or_a_registry(what: str, pattern: re.Pattern[str]) -> None:
    """builds anywhere, because no file holds a place that only exists here."""
    found = [f"{path}: {match.group().strip()}" for path, text in texts() if (match := pattern.search(text))]
    assert not found, f"{what}: {found}"


def test_every_test_says_what_it_shows() -> None:
    """has a docstring in every test that finishes the sentence "the gateway ..."."""
    silent = [
        f"{path}:{node.lineno} {node.name}"
        for path, node in nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent, f"no docstring: {silent}"


def test_no_test_is_skipped() -> None:
    """skips no test: what cannot run fails and says what to install."""
    skips = [
        f"{path}:{node.lineno}"
        for path, node in nodes()
        if isinstance(node, ast.Attribute) and node.attr in SKIPPING and _is_pytest(node.value)
    ]
    assert not skips, f"{skips}"


def _is_pytest(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "mark" and _is_pytest(node.value)
    return isinstance(node, ast.Name) and node.id == "pytest"
