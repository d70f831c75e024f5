"""``gateway check`` and blocking functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.check import run_check
from gateway.errors import ConfigError

HEAD = (
    '[firebase]\nproject_id = "acme"\ncredentials = "none"\n'
    '[[upstream]]\nname = "app"\nurls = ["http://127.0.0.1:1"]\n[[route]]\nmatch = { path = "/**" }\n[functions]\n'
)


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "gateway.toml").write_text(HEAD + text)
    return tmp_path / "gateway.toml"


def test_functions_are_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... tells which events are answered, and warns when their addresses are not configured."""
    assert (
        run_check(write(tmp_path, 'listen = "127.0.0.1:8081"\nsign_in_ip = "plain"\n'), show=False, offline=True) == 0
    )
    printed = capsys.readouterr().out
    assert "answer beforeSignIn" in printed
    assert "functions.audience is empty" in printed
    pinned = 'listen = "127.0.0.1:8081"\nsign_in_ip = "plain"\naudience = "https://hooks.test/"\n'
    assert run_check(write(tmp_path, pinned), show=False, offline=True) == 0
    assert "audience" not in capsys.readouterr().out


def test_functions_that_cannot_be_loaded_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... finds a module that is not there, before Identity Platform does."""
    with pytest.raises(ConfigError, match="no module nowhere"):
        run_check(write(tmp_path, 'handlers = "nowhere:functions"\n'), show=False, offline=True)
    assert run_check(write(tmp_path, ""), show=False, offline=True) == 0
    assert "answer" not in capsys.readouterr().out
