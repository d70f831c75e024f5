"""Runs the import contracts of pyproject.toml and says why a broken one matters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.api import read_configuration

from tests.house.tree import ROOT

PYPROJECT = str(ROOT / "pyproject.toml")
CONTRACTS = {contract["id"]: contract for contract in read_configuration(PYPROJECT)["contracts_options"]}


@pytest.mark.parametrize("contract_id", CONTRACTS)
def test_direction_of_dependence_is_kept(contract_id: str) -> None:
    """keeps this import contract; the report of a broken one ends with the reason and a way out."""
    # In a process of its own: the linter sets up logging for the whole process, which silences every other logger.
    program = Path(sys.executable).with_name("lint-imports")
    options = ["--config", PYPROJECT, "--contract", contract_id, "--no-cache", "--no-logo"]
    run = subprocess.run([program, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("contract_id", CONTRACTS)
def test_every_contract_says_why(contract_id: str) -> None:
    """forbids no import without a reason and a way out."""
    guidance = CONTRACTS[contract_id]["broken_contract_guidance"]
    assert "WHY: " in guidance
    assert "TRY: " in guidance
