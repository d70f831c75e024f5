"""What the benchmark's peers have to bear, and the figures that are read off meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.peers import ERRORS, LOAD_CORE, OUTPUT, Site
from tests.house.tree import ROOT

CONNECTIONS: Final = 32
PACE: Final = 400
"""Requests per second of the profile ``paced``."""
RECEIVE: Final = 65_536
_METERED: Final = re.compile(rb'^gateway_http_requests_total\{code="2xx",route="all"\} (\S+)$', re.MULTILINE)
MICROS: Final = 1e6
NANOS: Final = 1e9
READY_WITHIN: Final = 15.0
"""Seconds that a peer may take to start."""
ANSWERS_WITHIN: Final = 20
"""Seconds that a request may take; wrk's own limit of two is too little for 32 transfers at once on a busy machine."""
ENDS_WITHIN: Final = 15.0
"""Seconds that it may take to end."""


class RowFailedError(Exception):
    """A peer did not bear a load as it must, so that there is no figure to compare."""


ERRORS_OF_WRK: Final = ("statuses", "connects", "reads", "writes", "timeouts")
"""What can go wrong with a request, in the order in which the scripts tell."""
LUA_LOAD: Final = "load.lua"
LUA_QUESTION: Final = "question.lua"
"""What wrk sends."""


MEGABYTES_10: Final = 10 * 1024 * 1024


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

    @property
    def small(self) -> bool:
        """Thousands of such requests are done in seconds."""
        return self.body < MEGABYTES_10 and self.path != "/10m"


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

    :raises RowFailedError: an answer was not 200, or none came.
    """
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{profile.connections}", f"-d{seconds}s"]
    command += ["--timeout", f"{ANSWERS_WITHIN}s"]
    script = str(ROOT / "tests" / "bench" / profile.script)
    environment = os.environ | {
        "BENCH_TOKENS": str(site.directory / profile.tokens),
        "BENCH_PATH": profile.path,
        "BENCH_BODY": str(profile.body),
    }
    program = [*command, "-s", script, f"http://127.0.0.1:{port}/"]
    done = subprocess.run(program, env=environment, check=True, capture_output=True, text=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    requests, p50, p99, *errors = map(int, line.split()[1:])
    if any(errors) or not requests:
        told = ", ".join(f"{count} {kind}" for kind, count in zip(ERRORS_OF_WRK, errors, strict=True) if count)
        raise RowFailedError(f"of {requests} requests went wrong: {told or 'all'}")
    return Loaded(requests, p50, p99)


def paced(site: Site, port: int, profile: Profile, seconds: int) -> Loaded:
    """Send :data:`PACE` requests a second on one connection, each at its time, and measure each on a bare socket.

    :raises RowFailedError: an answer was not 200.
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
                raise RowFailedError(f"an answer began with {answer[:40]!r}")
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
        raise RowFailedError("the connection was closed")
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
    """User and system time of a process and its children, of all their threads that are alive.

    The scheduler's own account, in nanoseconds: that of ``stat`` is kept in hundredths of a second, which is a tenth of
    what 400 requests a second take.
    """
    spent = 0
    for one in family(pid):
        for thread in Path(f"/proc/{one}/task").iterdir():
            with contextlib.suppress(OSError):  # it has just ended
                spent += int((thread / "schedstat").read_text().split()[0])
    return spent / NANOS


def peak_megabytes(pid: int) -> float:
    """The most memory that a process and its children ever had resident, in megabytes."""
    total = 0
    for one in family(pid):
        status = Path(f"/proc/{one}/status").read_text()
        total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    return total / 1024


# ---- what it did ----


def upstream_connections(site: Site) -> int:
    """Connections that the backend ever accepted, that of the question included."""
    words = _ask(site.upstream_port, "/connections").split()
    return int(words[words.index(b"requests") + 1])  # "server accepts handled requests", then three numbers


def account_look_ups(site: Site) -> int:
    """Account look-ups that were ever made."""
    return int(json.loads(_ask(site.services_port, "/counts"))["look_ups"])


def metered(site: Site) -> int:
    """Requests on the timed route that a gateway's metrics show as answered well; 0 where it has none."""
    found = _METERED.search(_ask(site.admin_port, "/metrics"))
    return int(float(found.group(1))) if found is not None else 0


def _ask(port: int, path: str) -> bytes:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=READY_WITHIN)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()


def lines_of(path: Path) -> int:
    """Lines of a file."""
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))


# ---- processes ----


@contextlib.contextmanager
def running(site: Site, command: list[str], port: int, output: str = OUTPUT) -> Iterator[int]:
    """A program from when it listens, and its number; it is ended in the end.

    :param output: the file in the site's directory that its standard output goes to.
    :raises SystemExit: it does not listen in time.
    """
    errors = site.directory / ERRORS
    with (site.directory / output).open("wb") as stream, errors.open("wb") as complaints:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=complaints, env=_environment()
        )
    try:
        if not _listens(port, process):
            said = errors.read_text(errors="replace")[-2000:]
            raise SystemExit(f"it did not start: {' '.join(command)}\n{said}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """Ours, without what would tell a gateway other things than its file does."""
    foreign = ("FIREBASE_", "GOOGLE_", "GATEWAY_", "LISTEN_", "NOTIFY_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign) and name != "PORT"}


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False
