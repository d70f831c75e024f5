"""Documentation that shows commands with their output, run again so that it stays true.

A page holds the files that its commands read: a fenced block whose info string is ``toml gateway.toml`` is that file.
A ``console`` block holds commands behind ``$ `` (continued with a backslash), each followed by exactly what it prints.
Only commands of ``gateway`` are run.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from gateway.cli.main import app

_BLOCK: Final = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of(page: str) -> dict[str, str]:
    """The files that a page shows, by name."""
    return {name: body for _, name, body in _BLOCK.findall(page) if name}


def sessions_of(page: str) -> list[tuple[str, str]]:
    """Commands and what the page says they print, in order."""
    found = []
    for language, _, body in _BLOCK.findall(page):
        if language == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, _, printed = part.replace("\\\n", " ").partition("\n")
                found.append((command, printed))
    return found


def run(command: str, directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What ``gateway …`` prints in ``directory``, on a terminal that says nothing of its width or colours."""
    words = shlex.split(command)
    assert words[0] == "gateway"
    monkeypatch.chdir(directory)
    monkeypatch.setenv("COLUMNS", "120")
    with contextlib.suppress(SystemExit):
        app(words[1:])
    return capsys.readouterr().out
