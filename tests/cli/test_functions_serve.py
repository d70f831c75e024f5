"""``gateway functions serve``, as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.blocking import BlockingFunctions
from gateway.cli.functions_serve import listening_address
from gateway.errors import ConfigError
from tests.support import events
from tests.support.ports import free_port

MODULE = f"""
from gateway.blocking import BlockingFunctions, HttpsError

functions = BlockingFunctions("demo-project", audiences=["{events.URL}"], emulator=True)


@functions.before_create
def greet(user, context):
    context.defer(lambda: print("deferred", flush=True))
    return {{"display_name": "Guest"}}
"""


def start(directory: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    base = {name: value for name, value in os.environ.items() if not name.startswith(("FIREBASE_", "GOOGLE_", "PORT"))}
    base["PYTHONPATH"] = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "functions", "serve", *words],
        cwd=directory, env=base | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def post(port: int, token: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/", events.body(token), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - loopback
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def answered(process: subprocess.Popen[str], port: int, token: str) -> tuple[int, Any]:
    """The answer, once the process listens."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return post(port, token)
        except OSError:
            time.sleep(0.05)
    process.kill()
    pytest.fail(f"no answer:\n{process.communicate()[0]}")


def ended(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 0, output
    return output


def test_a_module_is_served(tmp_path: Path) -> None:
    """... answers events for the functions of a module in this directory, and stops cleanly with its work done."""
    (tmp_path / "hooks.py").write_text(MODULE)
    port = free_port()
    process = start(tmp_path, "hooks:functions", "--listen", f"127.0.0.1:{port}")
    token = events.unsigned(events.claims(now=time.time()))
    record = {"displayName": "Guest", "updateMask": "displayName"}
    assert answered(process, port, token) == (200, {"userRecord": record})
    output = ended(process)
    assert f"answering beforeCreate for project demo-project at http://127.0.0.1:{port}" in output
    assert "unsigned events are taken" in output
    assert "deferred" in output


def test_a_configuration_is_served(tmp_path: Path) -> None:
    """... answers events by configuration alone, without a backend, on the platform's port if there is one."""
    port = free_port()
    (tmp_path / "gateway.toml").write_text(
        '[firebase]\nproject_id = "demo-project"\nemulator = "127.0.0.1:9099"\nunsigned_tokens = true\n'
        f'[functions]\nlisten = "127.0.0.1:{port}"\naudience = "{events.URL}"\nallowed_domains = ["example.com"]\n'
    )
    process = start(tmp_path, "--config", "gateway.toml")
    assert answered(process, port, events.unsigned(events.claims(now=time.time()))) == (200, {})
    status, body = post(port, events.unsigned(events.claims(now=time.time(), email="x@evil.test")))
    assert (status, body["error"]["message"]) == (400, 'Unauthorized email "x@evil.test"')
    ended(process)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "names no functions"),
        (("nowhere:functions",), "there is no module nowhere"),
        (("hooks:functions", "--listen", "8081"), "host:port"),
        (("hooks:functions", "--listen", "0.0.0.0:0"), "unsigned events"),
        (("--config", "none.toml"), "there is no such file"),
    ],
)
def test_what_cannot_be_served_is_told(tmp_path: Path, words: tuple[str, ...], expected: str) -> None:
    """... says what is wrong and what to try, with status 2."""
    (tmp_path / "hooks.py").write_text(MODULE)
    process = start(tmp_path, *words)
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 2
    assert expected in " ".join(output.split())
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (None, {}, "127.0.0.1:8081"),
        (None, {"PORT": "8080"}, "0.0.0.0:8080"),
        ("127.0.0.1:9", {"PORT": "8080"}, "127.0.0.1:9"),
        (None, {"PORT": "http"}, "127.0.0.1:8081"),
    ],
)
def test_the_platforms_port_is_served(given: str | None, environment: Mapping[str, str], expected: str) -> None:
    """... listens where it is told, else on the port that the platform names, else on loopback."""
    assert listening_address(given, environment, BlockingFunctions("acme")) == expected


def test_unsigned_events_stay_on_this_machine() -> None:
    """... refuses to take unsigned events from others, also where a platform names the port."""
    with pytest.raises(ConfigError, match="not on loopback"):
        listening_address(None, {"PORT": "8080"}, BlockingFunctions("demo-acme", emulator=True))
