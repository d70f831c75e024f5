"""What the benchmark's peers have to bear, and the figures that are read off meanwhile."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.peers import LOAD_CORE, ROOT, Site

TICKS: Final = os.sysconf("SC_CLK_TCK")
CONNECTIONS: Final = 32
PACE: Final = 400
"""Requests per second of the profile ``paced``."""
RECEIVE: Final = 65_536
MICROS: Final = 1e6
READY_WITHIN: Final = 15.0
"""Seconds that a peer may take to start."""


LUA_LOAD: Final = "load.lua"
LUA_QUESTION: Final = "question.lua"
"""What wrk sends."""


@dataclass(frozen=True)
class Profile:
    """One kind of load. ``tokens`` names the file that they are taken from; ``body`` is in bytes, upwards.

    ``script`` says what wrk sends.
    """

    name: str
    tokens: str = "hot"
    path: str = "/api/items?page=1"
    body: int = 0
    connections: int = CONNECTIONS
    paced: bool = False
    script: str = LUA_LOAD


MEGABYTES_10: Final = 10 * 1024 * 1024
PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile("hot"),
        Profile("users", tokens="users"),
        Profile("cold", tokens="cold"),
        Profile("64 KB down", path="/64k"),
        Profile("64 KB up", path="/up", body=64 * 1024),
        Profile("10 MB down", path="/10m", connections=8),
        Profile("10 MB up", path="/up", body=MEGABYTES_10, connections=8),
        Profile("paced", paced=True),
    )
}


@dataclass(frozen=True)
class Loaded:
    """What one load did: requests answered, and the 50th and 99th percentile of their time in microseconds."""

    requests: int
    p50: float
    p99: float


@dataclass(frozen=True)
class Measured:
    """One peer in one round: CPU in microseconds per request, requests per second, times in microseconds."""

    micros: float
    rate: float
    p50: float
    p99: float


def load(site: Site, port: int, profile: Profile, seconds: int) -> Loaded:
    """Let wrk send for ``seconds``.

    :raises SystemExit: an answer was not 200, or none came.
    """
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{profile.connections}", f"-d{seconds}s"]
    script = str(ROOT / "tests" / "bench" / profile.script)
    environment = os.environ | {
        "BENCH_TOKENS": str(site.directory / profile.tokens),
        "BENCH_PATH": profile.path,
        "BENCH_BODY": str(profile.body),
    }
    program = [*command, "-s", script, f"http://127.0.0.1:{port}/"]
    done = subprocess.run(program, env=environment, check=True, capture_output=True, text=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    requests, bad, p50, p99 = map(int, line.split()[1:])
    if bad or not requests:
        raise SystemExit(f"{profile.name} on port {port}: {bad} of {requests} requests went wrong")
    return Loaded(requests, p50, p99)


def paced(site: Site, port: int, profile: Profile, seconds: int) -> Loaded:
    """Send :data:`PACE` requests a second on one connection, each at its time, and measure each on a bare socket.

    :raises SystemExit: an answer was not 200.
    """
    token = (site.directory / profile.tokens).read_text().splitlines()[0]
    head = f"GET {profile.path} HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    times: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        for number in range(PACE * seconds):
            pause = started + number / PACE - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            before = time.perf_counter()
            wire.sendall(head)
            answer = _answer(wire)
            times.append((time.perf_counter() - before) * MICROS)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{profile.name}: {answer[:40]!r}")
    marks = statistics.quantiles(times, n=100)
    return Loaded(len(times), marks[49], marks[98])


def _answer(wire: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(wire)
    head, _, body = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(wire)
        return head
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += _more(wire)
    return head


def _more(wire: socket.socket) -> bytes:
    data = wire.recv(RECEIVE)
    if not data:
        raise SystemExit("a peer closed the connection")
    return data


# ---- what a process used ----


def family(pid: int) -> list[int]:
    """A process and all below it."""
    pids, found = [pid], []
    while pids:
        current = pids.pop()
        found.append(current)
        pids += [int(child) for child in Path(f"/proc/{current}/task/{current}/children").read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children."""
    ticks = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def peak_megabytes(pid: int) -> float:
    """The most memory that a process and its children ever had resident, in megabytes."""
    total = 0
    for one in family(pid):
        status = Path(f"/proc/{one}/status").read_text()
        total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    return total / 1024


def reachable(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens.

    :raises SystemExit: nothing does in time.
    """
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"a peer did not start: {process.args!r}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
