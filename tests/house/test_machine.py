"""What the machine must have for the tests, said once and plainly."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.chromium import chromium_path


def test_chromium_is_installed() -> None:
    """has a browser to be tried in; otherwise this fails and names the package to install."""
    assert os.access(chromium_path(), os.X_OK)


def test_playwright_starts() -> None:
    """has what Playwright's driver needs; otherwise this fails and names the package to install."""
    run = subprocess.run([sys.executable, "-m", "playwright", "--version"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{run.stderr}\nOn Debian: apt-get install libatomic1"


def test_missing_chromium_is_a_failure_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """never passes its browser tests by leaving them out."""
    monkeypatch.setenv("CHROMIUM", "no-such-browser")
    with pytest.raises(RuntimeError, match="apt-get install chromium"):
        chromium_path()
