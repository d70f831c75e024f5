"""The fingerprint that tells whether the worker and the pages are built from the sources that are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway import bundle


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a small tree with sources and a build of them."""
    files = {
        "sw/package-lock.json": "{}",
        "sw/package.json": "{}",
        "sw/.npmrc": "fund=false",
        "sw/build.mjs": "//",
        "sw/src/worker.ts": "export {}",
        "static/login.html": "<p>",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    stamp = tmp_path / bundle.OUTPUT / bundle.STAMP
    stamp.parent.mkdir(parents=True)
    stamp.write_text(bundle.fingerprint(tmp_path) + "\n")
    return tmp_path


def test_build_of_these_sources_is_current(checkout: Path) -> None:
    """recognises a build of the sources that are there."""
    assert bundle.is_checkout(checkout)
    assert bundle.is_current(checkout)


@pytest.mark.parametrize(
    "name",
    ["sw/src/worker.ts", "sw/src/new.ts", "sw/package-lock.json", "sw/.npmrc", "sw/build.mjs", "static/login.html"],
)
def test_changed_source_makes_the_build_stale(checkout: Path, name: str) -> None:
    """notices a change in anything that the bundle is made from."""
    (checkout / name).write_text("changed")
    assert not bundle.is_current(checkout)


def test_renamed_source_makes_the_build_stale(checkout: Path) -> None:
    """notices a file that moved with its content unchanged."""
    (checkout / "static/login.html").rename(checkout / "static/sign-in.html")
    assert not bundle.is_current(checkout)


@pytest.mark.parametrize(
    "name",
    ["sw/node_modules/x/index.js", "sw/test/worker.test.ts", "sw/biome.json", "static/.login.html.swp", "sw/.DS_Store"],
)
def test_other_files_leave_the_build_current(checkout: Path, name: str) -> None:
    """builds nothing anew because of tools, tests or an editor's own files."""
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text("new")
    assert bundle.is_current(checkout)


def test_fingerprint_knows_where_one_file_ends(tmp_path: Path) -> None:
    """tells two trees apart whose names and contents run together alike."""
    one, two = tmp_path / "one", tmp_path / "two"
    for root, name, text in ((one, "ab", "c"), (two, "a", "bc")):
        (root / "static").mkdir(parents=True)
        (root / "static" / name).write_text(text)
    assert bundle.fingerprint(one) != bundle.fingerprint(two)


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"0" * 64])
def test_missing_or_damaged_stamp_is_stale(checkout: Path, content: bytes | None) -> None:
    """trusts no build whose stamp is missing or is not this fingerprint."""
    stamp = checkout / bundle.OUTPUT / bundle.STAMP
    stamp.unlink()
    if content is not None:
        stamp.write_bytes(content)
    assert not bundle.is_current(checkout)


def test_installed_package_is_no_checkout(tmp_path: Path) -> None:
    """looks for no sources where a wheel is installed."""
    assert not bundle.is_checkout(tmp_path)


@pytest.mark.parametrize(("changed", "status"), [(False, 0), (True, 1)])
def test_run_as_a_program_answers_by_its_status(checkout: Path, changed: bool, status: int) -> None:
    """tells make by an exit status whether there is something to build."""
    if changed:
        (checkout / "static/login.html").write_text("changed")
    run = subprocess.run([sys.executable, "-P", bundle.__file__], cwd=checkout, check=False)
    assert run.returncode == status
