"""The command as a person runs it: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__


def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words], capture_output=True, text=True, timeout=60, check=False, cwd=cwd
    )


def test_help_lists_the_commands() -> None:
    """... tells what it can do."""
    result = run("--help")
    assert result.returncode == 0
    for command in ("demo", "serve", "check", "explain"):
        assert command in result.stdout


def test_version() -> None:
    """... tells its version."""
    assert run("--version").stdout.strip() == __version__


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serve", "--config", "nowhere.toml"], ["nowhere.toml", "no such file", "try:"]),
        (["check", "bad.toml"], ["$.firebase.projct_id", "did you mean project_id?"]),
        (["serve"], ["$.firebase", "is missing"]),
    ],
)
def test_mistakes_end_with_status_2_and_no_traceback(words: list[str], told: list[str], tmp_path: Path) -> None:
    """... says what is wrong, where and what to try, and nothing else."""
    (tmp_path / "bad.toml").write_text('[firebase]\nprojct_id = "x"\n')
    result = run(*words, cwd=tmp_path)
    assert result.returncode == 2
    for text in told:
        assert text in result.stderr
    assert "Traceback" not in result.stderr
