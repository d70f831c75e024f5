"""What the page on production shows is what the gateway takes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.wiring.reloads import _AT_START
from tests.house.tree import ROOT

PAGE = (ROOT / "docs" / "how-to" / "run-in-production.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
REST = (
    '\n[firebase]\nproject_id = "acme"\n[[upstream]]\nname = "a"\nurls = ["http://127.0.0.1:1"]\n'
    '[[route]]\nmatch = { path = "/**" }\n'
)


@pytest.mark.parametrize("block", BLOCKS)
def test_configurations_of_the_page_are_good(block: str, tmp_path: Path) -> None:
    """... takes every configuration that its page on production shows."""
    file = tmp_path / "gateway.toml"
    file.write_text(block + REST)
    tree = tomllib.loads(block)
    loaded = load(file, environment={})
    for key in (f"$.{table}.{key}" for table, keys in tree.items() for key in keys):
        assert any(origin.startswith(key) for origin in loaded.origins)


def test_the_page_names_what_needs_a_new_start() -> None:
    """... lists every key that a reload cannot change."""
    for key in _AT_START:
        assert f"`listen.{key}`" in PAGE


def test_the_page_shows_what_a_reload_says() -> None:
    """... says of a misspelt key what its page says it says."""
    assert len(BLOCKS) == 5
    with pytest.raises(Exception, match=r"titel: is no known key \(did you mean title\?\)"):
        load(None, environment={}, overrides={"login.titel": 1})
    assert "$.login.titel: is no known key (did you mean title?)" in PAGE


def test_the_run_that_the_page_shows_lost_nothing() -> None:
    """... lost no request in the run that its page shows."""
    shown = re.search(r"200 SIGTERMs and 200 reloads in \d+ s: (\d+) requests answered .* 0 lost;", PAGE)
    assert shown is not None
    assert int(shown[1]) > 10_000
