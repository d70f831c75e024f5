"""Runs the import contracts of pyproject.toml and says why a broken one matters."""

from __future__ import annotations

import sys

import pytest
from importlinter.api import read_configuration
from importlinter.cli import lint_imports

from tests.house.tree import ROOT

PYPROJECT = str(ROOT / "pyproject.toml")
CONTRACTS = {contract["id"]: contract for contract in read_configuration(PYPROJECT)["contracts_options"]}


@pytest.mark.parametrize("contract_id", CONTRACTS)
def test_direction_of_dependence_is_kept(
    contract_id: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """keeps this import contract; the report of a broken one ends with the reason and a way out."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # the linter puts the working directory there and leaves it
    status = lint_imports(config_filename=PYPROJECT, limit_to_contracts=(contract_id,), no_cache=True, no_logo=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("contract_id", CONTRACTS)
def test_every_contract_says_why(contract_id: str) -> None:
    """forbids no import without a reason and a way out."""
    guidance = CONTRACTS[contract_id]["broken_contract_guidance"]
    assert "WHY: " in guidance
    assert "TRY: " in guidance
