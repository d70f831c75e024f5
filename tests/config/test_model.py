"""The model is the reference: every key says what it means."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import pytest

from gateway.config import backends, functions, model


@pytest.mark.parametrize("module", [model, backends, functions])
def test_every_key_is_explained(module: ModuleType) -> None:
    """... explains every key that may be configured, where the reference page takes its text from."""
    tree = ast.parse(inspect.getsource(module))
    unexplained = []
    for table in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for field, after in zip(table.body, [*table.body[1:], None], strict=True):
            explained = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            is_table = (
                isinstance(field, ast.AnnAssign)
                and ast.unparse(field.annotation).strip("'").split("[")[-1].split("]")[0].split(",")[0].split(" |")[0]
            )
            if (
                isinstance(field, ast.AnnAssign)
                and not explained
                and not hasattr(getattr(module, str(is_table), None), "__struct_fields__")
            ):
                unexplained.append(f"{table.name}.{ast.unparse(field.target)}")
    assert unexplained == []
