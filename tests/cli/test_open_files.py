"""How many files the process may open."""

from __future__ import annotations

import resource
import subprocess
import sys

PROGRAM = """
import logging, resource, sys
from gateway.cli.open_files import raise_file_limit
logging.basicConfig(stream=sys.stdout, format="%(message)s")
print(raise_file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limited(soft: int, hard: int) -> str:
    """What a process with these limits does."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    done = subprocess.run([sys.executable, "-c", PROGRAM], preexec_fn=limit, capture_output=True, check=True, text=True)
    return done.stdout.strip()


def test_the_soft_limit_is_raised() -> None:
    """... takes as many files as the system allows."""
    assert limited(300, 2000) == "2000 (2000, 2000)"


def test_few_files_are_told() -> None:
    """... says so when there will be few connections, and goes on."""
    said = limited(256, 256)
    assert "only 256 files may be open" in said
    assert said.endswith("256 (256, 256)")
