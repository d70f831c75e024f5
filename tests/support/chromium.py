"""Finds the machine's Chromium. Playwright downloads no browser of its own here."""

from __future__ import annotations

import os
import shutil
from typing import Final

CANDIDATES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

ARGUMENTS: Final = (
    "--no-sandbox",  # CI runs as root, where Chromium's sandbox does not start
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # Nothing that a test did not ask for goes over the network.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_path() -> str:
    """Return the path of Chromium: ``CHROMIUM`` in the environment, or the first candidate on PATH.

    Raises:
        RuntimeError: there is none; a browser test must fail then, not be left out.
    """
    named = os.environ.get("CHROMIUM")
    path = shutil.which(named) if named else next(filter(None, map(shutil.which, CANDIDATES)), None)
    if path is None:
        looked = named or ", ".join(CANDIDATES)
        raise RuntimeError(f"no Chromium found (looked for {looked}): apt-get install chromium, or set CHROMIUM")
    return path
