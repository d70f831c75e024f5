"""The page on ``gateway explain`` shows what the command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.tree import ROOT
from tests.support.pages import files_of, run, sessions_of

PAGE = (ROOT / "docs" / "reference" / "explain.md").read_text(encoding="utf-8")
SESSIONS = sessions_of(PAGE)


def test_the_page_shows_commands() -> None:
    """... has a page with the files and commands that the next test runs."""
    assert set(files_of(PAGE)) == {"gateway.toml", "ada.json"}
    assert len(SESSIONS) >= 7


@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[command[8:60] for command, _ in SESSIONS])
def test_shown_output_is_real(
    command: str, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """... prints exactly what its page shows, from the files that the page shows."""
    for name, body in files_of(PAGE).items():
        (tmp_path / name).write_text(body, encoding="utf-8")
    assert run(command, tmp_path, capsys, monkeypatch) == shown
