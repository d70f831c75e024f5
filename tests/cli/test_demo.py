"""``gateway demo``: what the browser tests do not see."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.demo import default_database, demo_settings
from gateway.config.load import load
from gateway.policy.routes import Auth


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "demo", *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_taken_port_is_told() -> None:
    """... names the port that is taken and ends with status 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words in ((f"--port={port}", "--provider-port=0"), (f"--provider-port={port}", "--port=0")):
            result = run("--memory", *words)
            assert result.returncode == 2
            assert str(port) in result.stderr
            assert "Traceback" not in result.stderr


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """... refuses a file that is not its own and does not touch it."""
    path = tmp_path / "letters.txt"
    path.write_text("Dear Ada, " * 1000)
    result = run("--port=0", "--provider-port=0", f"--database={path}")
    assert result.returncode == 2
    assert "letters.txt" in result.stderr
    assert "Traceback" not in result.stderr
    assert path.read_text() == "Dear Ada, " * 1000


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    """... says that it cannot open its database."""
    result = run("--port=0", "--provider-port=0", f"--database={tmp_path}")
    assert result.returncode == 2
    assert str(tmp_path) in result.stderr
    assert "Traceback" not in result.stderr


def test_the_demo_guards_everything_but_what_it_must_open() -> None:
    """... requires a session except on the routes that say otherwise."""
    config = load(None, environment={}, overrides=demo_settings(0, "http://127.0.0.1:1", "http://127.0.0.1:2")).config
    assert {route.name: route.auth for route in config.route if route.auth is not Auth.REQUIRED} == {
        "about": Auth.PUBLIC,
        "echo": Auth.OPTIONAL,
        "network": Auth.OPTIONAL,
    }
    assert config.firebase.emulator == "127.0.0.1:1"
    assert config.listen.admin.is_off


def test_the_database_lies_in_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """... keeps its accounts where the XDG specification wants state."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_database() == Path("/state/session-gateway/demo.sqlite3")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_database().parts[-3:] == ("state", "session-gateway", "demo.sqlite3")
