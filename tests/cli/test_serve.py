"""``gateway serve --dev``: a configuration, the embedded provider, a backend, and curl's view of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port


class _Backend(BaseHTTPRequestHandler):
    """Answers with the headers it received."""

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers.items())).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Backend)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


class Served:
    """A ``gateway serve`` process."""

    def __init__(self, tmp_path: Path, backend: int, *words: str, extra: str = "") -> None:
        self.port, self.admin, self.provider = free_port(), free_port(), free_port()
        config = tmp_path / "gateway.toml"
        config.write_text(
            f'[listen]\npublic = "127.0.0.1:{self.port}"\nadmin = "127.0.0.1:{self.admin}"\n'
            f'[provider]\nlisten = "127.0.0.1:{self.provider}"\n'
            f'[[upstream]]\nname = "app"\nurls = ["http://127.0.0.1:{backend}"]\n'
            f'[[route]]\nmatch = {{ path = "/**" }}\n{extra}'
        )
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("FIREBASE_", "GOOGLE_"))
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--config", str(config), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=2),
            ):
                return
            time.sleep(0.05)
        self.process.kill()
        pytest.fail(f"not ready:\n{self.process.communicate()[0].decode()}")

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - loopback
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def sign_up(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self.provider}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=k"
        body = json.dumps({"email": "ada@example.com", "password": "correct horse", "returnSecureToken": True}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - loopback
            answer: dict[str, str] = json.load(response)
            return answer

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        output = self.process.communicate(timeout=20)[0].decode()
        return self.process.returncode, output


def test_a_development_set_up_serves_and_stops_cleanly(tmp_path: Path, backend: int) -> None:
    """... verifies its own provider's tokens, tells the backend who is calling, logs no secret, ends with status 0."""
    served = Served(tmp_path, backend, "--dev")
    try:
        served.wait()
        assert served.get("/x")[1]["code"] == "sign_in_required"
        account = served.sign_up()
        token = account["idToken"]
        status, received = served.get("/x", Authorization=f"Bearer {token}", **{"X-Forwarded-User": "forged"})
        assert status == 200
        assert received["X-Forwarded-User"] == account["localId"]
        assert "Authorization" not in received
        assert served.get("/x", Authorization=f"Bearer {token}x")[1]["code"] == "token_malformed"
    finally:
        status, output = served.stop()
    assert status == 0
    assert token.split(".")[2] not in output
    assert token.split(".")[1] not in output
    decisions = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [entry["reason"] for entry in decisions] == ["sign_in_required", "session_valid", "token_malformed"]


def test_a_taken_port_is_told(tmp_path: Path, backend: int) -> None:
    """... names the port that is taken and what to try."""
    served = Served(tmp_path, backend, "--dev", f"--public=127.0.0.1:{backend}")
    output = served.process.communicate(timeout=20)[0].decode()
    assert served.process.returncode == 2
    assert f"port {backend} is already in use" in output
    assert "try:" in output
    assert "Traceback" not in output


def test_a_real_project_without_credentials_is_told(tmp_path: Path, backend: int) -> None:
    """... refuses to guard a project whose accounts it could not look up, and says how to mend that."""
    served = Served(tmp_path, backend, extra='[firebase]\nproject_id = "acme"\n')
    output = served.process.communicate(timeout=20)[0].decode()
    assert served.process.returncode == 2
    assert "credentials" in output
    assert "try:" in output
    assert "Traceback" not in output
