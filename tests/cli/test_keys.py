"""``gateway keys``: rotate and look."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.adapters.assertion_keys import AssertionKeyFile
from gateway.cli.keys import run_list, run_rotate
from gateway.errors import ConfigError

CONFIG = """
[firebase]
project_id = "acme-prod"
[assertion]
keys_file = "keys.json"
[[upstream]]
name = "app"
urls = ["http://127.0.0.1:3000"]
[[route]]
match = { path = "/**" }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    return path


def test_rotating_adds_a_key_that_signs_later(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... adds a key to the file beside the configuration and shows which key signs."""
    file = AssertionKeyFile(config.with_name("keys.json"))
    first = file.open(time.time()).keys[0].kid
    run_rotate(config)
    told = capsys.readouterr().out
    kids = [key.kid for key in file.read().keys]
    assert kids[0] == first
    assert len(kids) == 2
    lines = {line.split()[0]: line for line in told.splitlines()[1:]}
    assert lines[first].rstrip().endswith("signs")
    assert lines[kids[1]].rstrip().endswith("published, signs later")
    assert "PRIVATE" not in told
    run_list(config)
    assert capsys.readouterr().out == told


def test_what_is_missing_is_told(config: Path) -> None:
    """... says that there is no file yet, or that none is configured."""
    with pytest.raises(ConfigError, match="does not exist yet"):
        run_list(config)
    config.write_text(CONFIG.replace("keys_file", "# keys_file"))
    with pytest.raises(ConfigError, match="is not set"):
        run_rotate(config)
