"""Socket activation and notification, with this process as the service."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.adapters.systemd import Handed, ServiceManager, handed_over
from gateway.errors import ConfigError
from tests.house.tree import ROOT

PROGRAM = """
import os
from gateway.adapters.systemd import handed_over
os.environ["LISTEN_PID"] = str(os.getpid())
handed = handed_over(os.environ)
print([one.getsockname()[1] for one in handed.public], handed.admin and handed.admin.getsockname()[1],
      [os.get_inheritable(one.fileno()) for one in handed.public],
      sorted(name for name in os.environ if name.startswith("LISTEN_")))
"""


def service(names: str, sockets: list[socket.socket]) -> str:
    """What a service finds that was started with these sockets."""
    shifts = " ".join(f"{3 + index}<&{one.fileno()}" for index, one in enumerate(sockets))
    program = f'exec "$0" -c "$1" {shifts}'
    done = subprocess.run(
        ["/bin/bash", "-c", program, sys.executable, PROGRAM],
        env=os.environ | {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names, "PYTHONPATH": str(ROOT)},
        pass_fds=[one.fileno() for one in sockets],
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.strip()


def test_sockets_are_taken_by_their_names() -> None:
    """... takes the sockets over that the manager opened, keeps them from children, and clears the environment."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [one.getsockname()[1], two.getsockname()[1]]
        assert service("gateway.socket:admin", [one, two]) == f"[{ports[0]}] {ports[1]} [False] []"
        assert service("", [one, two]) == f"{ports} None [False, False] []"


def test_sockets_for_another_process_are_left_alone() -> None:
    """... touches no socket that is not for this process, and none where there are none."""
    environment = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1", "OTHER": "x"}
    assert handed_over(environment) == Handed()
    assert environment == {"OTHER": "x"}
    assert handed_over({}) == Handed()


@pytest.mark.parametrize("count", ["-1", "many", "4000", ""])
def test_a_count_that_makes_no_sense_is_told(count: str) -> None:
    """... refuses to guess how many sockets there are."""
    with pytest.raises(ConfigError, match="LISTEN_FDS"):
        handed_over({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


def told(heard: socket.socket) -> list[str]:
    return heard.recv(4096).decode().split("\n")


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_hears_how_the_service_is(tmp_path: Path, abstract: bool) -> None:
    """... tells the manager that it is ready, reloads, lives and stops."""
    address = f"@gateway-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + address[1:] if abstract else address)
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
        manager = ServiceManager(environment)
        assert environment == {}
        assert manager.watchdog == 1.5
        manager.ready("serving")
        assert told(heard) == ["READY=1", "STATUS=serving"]
        manager.reloading()
        reloading = told(heard)
        assert reloading[0] == "RELOADING=1"
        assert re.fullmatch(r"MONOTONIC_USEC=\d+", reloading[1])
        manager.alive()
        assert told(heard) == ["WATCHDOG=1"]
        manager.stopping()
        assert told(heard)[0] == "STOPPING=1"
        manager.close()
        manager.alive()
        heard.setblocking(False)
        with pytest.raises(BlockingIOError):
            told(heard)


def test_nobody_listens(tmp_path: Path) -> None:
    """... serves all the same without a manager, with one that is gone, and with a watchdog for another process."""
    for address in ("", str(tmp_path / "gone"), "vsock:2:1"):
        manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
        manager.ready("serving")
        manager.alive()
        assert manager.watchdog is None
        manager.close()
