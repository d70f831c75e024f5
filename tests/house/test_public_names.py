"""What `import gateway` offers is a promise; this keeps it from growing or shrinking by accident."""

from __future__ import annotations

import tomllib
from types import ModuleType

import gateway
from tests.house.tree import ROOT


def test_public_names_are_exactly_those_listed() -> None:
    """exports what ``__all__`` lists and nothing else."""
    for name in gateway.__all__:  # those that are imported when they are first asked for
        getattr(gateway, name)
    names = {
        name for name, value in vars(gateway).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert names - {"annotations"} == set(gateway.__all__) - {"__version__"}


def test_public_names_are_documented() -> None:
    """documents every class and function that it exports."""
    offered = [(name, getattr(gateway, name)) for name in gateway.__all__]
    assert [name for name, value in offered if callable(value) and not value.__doc__] == []


def test_version_is_the_distributions() -> None:
    """reports the version that the distribution carries."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert gateway.__version__ == project["version"]
