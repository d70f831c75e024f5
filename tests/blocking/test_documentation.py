"""The how-to pages: their code runs, their figures and links are true."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import gateway.blocking
from gateway.blocking import ready_made
from gateway.blocking.background import GRACE
from gateway.blocking.idempotency import WINDOW
from gateway.blocking.outcome import MAX_CLAIMS, RESERVED_CLAIMS
from gateway.blocking.registry import DEADLINE, SERVICE_DEADLINE
from gateway.blocking.server import MAX_BODY
from gateway.config.functions import Functions

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "how-to" / "blocking-functions").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)(#[^)]*)?\)")


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
async def test_the_code_runs(page: Path) -> None:
    """... runs the Python of each page, one block after the other, and the tests in it."""
    namespace: dict[str, Any] = {}
    for text in blocks(page, "python"):
        exec(compile(text, page.name, "exec"), namespace)  # noqa: S102 - our own page
    for name, found in list(namespace.items()):
        if name.startswith("test_") and inspect.iscoroutinefunction(found):
            await found()
    if "functions" in namespace:
        assert namespace["functions"].events


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_links_lead_somewhere(page: Path) -> None:
    """... links to files that exist."""
    links = [target for target, _ in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_configuration_is_read() -> None:
    """... shows configuration that can be read."""
    found = [tomllib.loads(text) for page in PAGES for text in blocks(page, "toml")]
    assert any("functions" in table for table in found)


def test_every_ready_made_function_is_shown() -> None:
    """... shows every ready-made function, and every key of the configuration that has one."""
    text = (ROOT / "docs/how-to/blocking-functions/ready-made.md").read_text(encoding="utf-8")
    assert [name for name in ready_made.__all__ if name[0].islower() and f"{name}(" not in text] == []
    general = {"listen", "audience", "deadline"}
    assert [key for key in Functions.__struct_fields__ if key not in general and key not in text] == []


def test_the_figures_are_the_codes() -> None:
    """... tells the limits that are kept."""
    text = " ".join((ROOT / "docs/how-to/blocking-functions/writing-functions.md").read_text(encoding="utf-8").split())
    assert " ".join(RESERVED_CLAIMS) in text
    assert f"more than {MAX_CLAIMS} characters" in text
    assert f"at most {MAX_BODY // 1024} KiB" in text
    assert f"waits {SERVICE_DEADLINE:g} seconds" in text
    assert f"not there after {DEADLINE:g}" in text
    assert (WINDOW, GRACE) == (600, 10)


def test_the_public_names_are_those_listed() -> None:
    """... exports what ``__all__`` lists, each with its documentation."""
    for name in gateway.blocking.__all__:
        assert getattr(gateway.blocking, name).__doc__ or name == "UNSET"
