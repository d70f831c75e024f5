"""What people install: wheel and source distribution are built, unpacked and looked into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from gateway import bundle
from gateway.assets import REQUIRED, load_assets
from tests.house.tree import ROOT, project_files

# All of these share one build: on one worker, it is made once.
pytestmark = pytest.mark.xdist_group("distribution")

NO_NODE = {"PATH": os.devnull, "npm_config_registry": "http://127.0.0.1:9"}
"""Neither Node nor a registry can be had: a build that wanted them would fail."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both distributions from a copy of the project files and the current assets; return their directory."""
    load_assets()  # stale assets fail here, with the command to run
    copy = tmp_path_factory.mktemp("project")
    for path in project_files():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copy / path)
    shutil.copytree(ROOT / bundle.OUTPUT, copy / bundle.OUTPUT)
    (copy / "sw" / "node_modules").mkdir(exist_ok=True)
    (copy / "sw" / "node_modules" / "index.js").write_text("// must not be shipped")
    # Without .gitignore, as in an export of the tree: nothing but the explicit list decides.
    (copy / ".gitignore").unlink()
    subprocess.run([sys.executable, "-m", "hatchling", "build"], cwd=copy, env=NO_NODE, check=True, capture_output=True)
    return copy / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """Return the wheel."""
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(built: Path) -> Path:
    """Return the source distribution."""
    (found,) = built.glob("*.tar.gz")
    return found


def test_wheel_holds_all_that_the_package_reads(wheel: Path) -> None:
    """ships every data file of the package, the built assets included, and no stamp."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{bundle.OUTPUT}/{name}" for name in load_assets().names} <= names
    assert {path.as_posix() for path in project_files() if path.parts[0] == "gateway"} <= names
    assert f"{bundle.OUTPUT}/{bundle.STAMP}" not in names


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    """puts nothing but its own package into the environment."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gateway"}


def test_sdist_builds_without_node(sdist: Path, tmp_path: Path) -> None:
    """builds from its source distribution where neither Node nor npm's registry can be had."""
    # Not by tarfile: its safe extraction is newer than Debian 12's Python, its plain one is deprecated after that.
    subprocess.run(["tar", "-xzf", sdist, "-C", tmp_path], check=True)  # noqa: S607 because every Unix has it on PATH
    (root,) = tmp_path.iterdir()
    assert bundle.is_checkout(root)
    assert bundle.is_current(root)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(command, cwd=root, env=NO_NODE, check=True, capture_output=True)
    (made,) = (root / "dist").glob("*.whl")
    assert f"{bundle.OUTPUT}/sw.js" in zipfile.ZipFile(made).namelist()


def test_sdist_leaves_the_tools_out(sdist: Path) -> None:
    """ships no node_modules, even where no ignore file keeps them out."""
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    assert not [name for name in names if "node_modules" in name]
    assert {path.as_posix() for path in project_files()} - {name.partition("/")[2] for name in names} <= {".gitignore"}


def test_installed_wheel_finds_its_assets(wheel: Path, tmp_path: Path) -> None:
    """finds the worker and the pages when it is installed and no checkout is near."""
    zipfile.ZipFile(wheel).extractall(tmp_path)  # noqa: S202 because the archive is the one that we have just built
    program = "import gateway.assets as a; print(a.__file__, *a.load_assets().names)"
    run = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    place, *names = run.stdout.split()
    assert Path(place).is_relative_to(tmp_path)
    assert set(names) >= REQUIRED
