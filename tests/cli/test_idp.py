"""``gateway idp``: the provider alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gateway.cli.idp import run_idp
from gateway.errors import ConfigError
from tests.support.ports import free_port

ADA = {"email": "ada@example.com", "password": "correct horse", "returnSecureToken": True}


def call(port: int, method: str, body: dict[str, object], patience: float = 20) -> dict[str, str]:
    """A method's answer, as soon as the provider answers."""
    url = f"http://127.0.0.1:{port}/identitytoolkit.googleapis.com/v1/accounts:{method}?key=k"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    until = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - loopback
                answer: dict[str, str] = json.load(response)
                return answer
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_it_runs_until_it_is_told_to_end(tmp_path: Path) -> None:
    """... makes accounts of the named project, keeps them in the file, and ends cleanly on a signal."""
    port = free_port()
    words = ["idp", "--listen", f"127.0.0.1:{port}", "--project", "demo-x", "--database", str(tmp_path / "idp.sqlite3")]
    process = subprocess.Popen([sys.executable, "-m", "gateway", *words], stderr=subprocess.PIPE, text=True)
    try:
        answer = call(port, "signUp", ADA)
        call(port, "sendOobCode", {"requestType": "PASSWORD_RESET", "email": "ada@example.com"})
        call(port, "sendVerificationCode", {"phoneNumber": "+15550100"})
        assert answer["email"] == "ada@example.com"
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f'[firebase] emulator = "127.0.0.1:{port}"' in told
    assert "never use it for real users" in told
    assert "mail to ada@example.com: http://127.0.0.1:" in told
    assert "text to +15550100: your code is " in told
    assert answer["idToken"] not in told
    assert (tmp_path / "idp.sqlite3").exists()


def test_an_address_that_is_none_is_told() -> None:
    """... says what an address looks like."""
    with pytest.raises(ConfigError, match="host:port"):
        run_idp(listen="9099", project="demo-x", database=None)
