"""These tests need four proxies, which are not small: they run when they are asked for, by ``make test-proxies``."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect this directory only when it is named."""
    return None if any("proxies" in argument for argument in config.args) else True
