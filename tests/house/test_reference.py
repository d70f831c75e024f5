"""Generated pages are current, and every reason can be looked up."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.reasons import TABLE, Reason
from tests.house.tree import ROOT


def test_generated_pages_are_current() -> None:
    """has documentation that matches the code it is made from."""
    check = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr


@pytest.mark.parametrize("reason", TABLE.values(), ids=lambda reason: reason.id)
def test_every_reason_is_documented(reason: Reason) -> None:
    """explains each reason at the anchor that its answers point to."""
    page = (ROOT / "docs" / "reference" / "reasons.md").read_text(encoding="utf-8")
    assert f'<a id="{reason.anchor}"></a>\n\n### `{reason.id}`\n' in page
    assert reason.title in page
