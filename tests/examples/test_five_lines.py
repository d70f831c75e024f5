"""The application that five lines give sessions: the diff is applied as it stands in the docs, and the result runs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer

import gateway.testing

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "five_lines"
DIFF = (EXAMPLE / "sessions.diff").read_text("utf-8")


def load(file: Path, name: str) -> ModuleType:
    """A module that is no package's."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The application after the change."""
    for name in ("app.py", "gateway.toml"):
        (tmp_path / name).write_text((EXAMPLE / name).read_text("utf-8"), "utf-8")
    subprocess.run(["git", "apply", "-"], input=DIFF, cwd=tmp_path, text=True, check=True)  # noqa: S607 - git is needed
    monkeypatch.chdir(tmp_path)
    return load(tmp_path / "app.py", "changed_example")


def test_the_change_is_five_lines() -> None:
    """... takes five lines, of which one replaces another."""
    lines = DIFF.splitlines()[2:]
    assert sum(line.startswith("+") for line in lines) == 5
    assert sum(line.startswith("-") for line in lines) == 1


def test_the_docs_show_this_very_diff() -> None:
    """... shows in the docs what the tests apply."""
    page = (ROOT / "docs" / "how-to" / "aiohttp-middleware.md").read_text("utf-8")
    assert f"```diff\n{DIFF}```" in page


async def test_before_the_change_nobody_is_known() -> None:
    """... begins with an application that takes anybody's word."""
    before = load(EXAMPLE / "app.py", "example_before")
    server = TestServer(before.make_app())
    async with TestClient(server) as client, client.post("/book", data={"text": "hello"}) as response:
        assert "<b>somebody</b>: hello" in await response.text()


async def test_after_the_change_the_book_knows_its_signers(changed: ModuleType) -> None:
    """... leaves the front page open, asks for a session elsewhere, and signs with the user's address."""
    app = changed.make_app()
    users = gateway.testing.users(app)
    async with TestClient(TestServer(app)) as client:
        async with client.get("/") as response:
            assert response.status == 200
        async with client.get("/book") as response:
            assert response.status == 401
        headers = users.sign_in("ada") | {"Sec-Fetch-Site": "same-origin"}
        async with client.post("/book", data=FormData({"text": "hello"}), headers=headers) as response:
            assert response.status == 200
            assert "<b>ada@example.com</b>: hello" in await response.text()
