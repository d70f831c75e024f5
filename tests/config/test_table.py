"""What every table of the configuration keeps to."""

from __future__ import annotations

import msgspec
import pytest

from gateway.config.table import Table


class Row(Table, frozen=True):
    """A table of two keys."""

    name: str
    size: int = 1


def test_a_table_knows_its_keys() -> None:
    """takes the keys of a table and no others, and changes none afterwards."""
    row = msgspec.convert({"name": "a"}, Row)
    assert row == Row(name="a", size=1)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"name": "a", "sise": 2}, Row)
    with pytest.raises(AttributeError):
        row.size = 2  # type: ignore[misc]
