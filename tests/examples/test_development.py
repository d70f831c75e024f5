"""The development example, run as its comments say."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "development"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Application and gateway; yields the gateway's and the provider's address."""
    app, public, provider = free_port(), free_port(), free_port()
    config = tmp_path / "gateway.toml"
    config.write_text((EXAMPLE / "gateway.toml").read_text().replace(":3000", f":{app}"))
    environment = os.environ | {
        "PORT": str(app),
        "GATEWAY__LISTEN__PUBLIC": f"127.0.0.1:{public}",
        "GATEWAY__LISTEN__ADMIN": "off",
        "GATEWAY__PROVIDER__LISTEN": f"127.0.0.1:{provider}",
    }
    commands = [[str(EXAMPLE / "app.py")], ["-m", "gateway", "serve", "--config", str(config), "--dev"]]
    processes = [
        subprocess.Popen(
            [sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for words in commands
    ]
    try:
        for port in (app, public):
            _wait_for(port)
        yield f"http://127.0.0.1:{public}", f"http://127.0.0.1:{provider}"
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail(f"nothing listens on {port}")


def test_the_application_greets_whom_the_gateway_names(running: tuple[str, str]) -> None:
    """... puts a name on every request of an application that knows nothing about tokens."""
    gateway, provider = running
    body = json.dumps({"email": "ada@example.com", "password": "correct horse", "returnSecureToken": True}).encode()
    sign_up = urllib.request.Request(  # noqa: S310 - loopback
        f"{provider}/v1/accounts:signUp?key=k", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(sign_up, timeout=10) as response:  # noqa: S310 - loopback
        token = json.load(response)["idToken"]
    page = urllib.request.Request(f"{gateway}/", headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - loopback
    with urllib.request.urlopen(page, timeout=10) as response:  # noqa: S310 - loopback
        assert "Hello, ada@example.com." in response.read().decode()
