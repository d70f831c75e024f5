"""``make bench``: CPU microseconds per request of the gateway and its peers, side by side in one run.

Every peer stands in front of the same nginx with the same tokens; each is pinned to one core, load and upstream to the
other. The figure is user and system time of the peer's process tree divided by the requests it answered. Peers start
anew for every round, their order rotates, and what is printed are medians and their ratios within the run. An answer
other than 200 fails the row.

Profiles: ``hot`` one token, ``users`` 2000 tokens in rotation, ``cold`` every token once.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.util
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import forge

ROOT: Final = Path(__file__).resolve().parents[2]
PEER_CORE, LOAD_CORE = "0", "1"
CONNECTIONS: Final = 32
USERS: Final = 2_000
COLD: Final = 8_000
BODY: Final = 200
"""Bytes of the upstream's answer."""
PADDING: Final = "x" * 330
"""Brings a token to about 1.2 KB."""
TICKS: Final = os.sysconf("SC_CLK_TCK")

NGINX: Final = """
worker_processes 1; daemon off; pid {dir}/{name}.pid; error_log {dir}/{name}.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600;
  client_body_temp_path {dir}/{name}-body; proxy_temp_path {dir}/{name}-proxy; fastcgi_temp_path {dir}/{name}-f;
  uwsgi_temp_path {dir}/{name}-u; scgi_temp_path {dir}/{name}-s;
  {upstream}
  server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ {location} }} }}
}}
"""


@dataclass(frozen=True)
class Site:
    """Where everything of one run is."""

    directory: Path
    upstream_port: int

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{self.upstream_port}"

    def nginx(self, name: str, port: int, upstream: str, location: str, core: str) -> list[str]:
        config = self.directory / f"{name}.conf"
        text = NGINX.format(dir=self.directory, name=name, port=port, upstream=upstream, location=location)
        config.write_text(text)
        return ["taskset", "-c", core, "nginx", "-c", str(config)]


Command = Callable[[Site, int], list[str]]


def _gateway(*more: str) -> Command:
    def command(site: Site, port: int) -> list[str]:
        keys, log = str(site.directory / "keys.json"), str(site.directory / "decisions.log")
        program = [sys.executable, "-m", "tests.bench.gateway_peer", "--port", str(port), "--upstream", site.upstream]
        return ["taskset", "-c", PEER_CORE, *program, "--keys", keys, "--log", log, *more]

    return command


def _usual(site: Site, port: int) -> list[str]:
    program = [sys.executable, "-m", "tests.bench.usual_peer", "--port", str(port), "--upstream", site.upstream]
    return ["taskset", "-c", PEER_CORE, *program, "--keys", str(site.directory / "keys.json")]


def _plain_nginx(site: Site, port: int) -> list[str]:
    upstream = f"upstream app {{ server 127.0.0.1:{site.upstream_port}; keepalive 64; keepalive_requests 100000000; }}"
    location = 'proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";'
    return site.nginx("peer", port, upstream, location, PEER_CORE)


PEERS: Final[dict[str, Command]] = {
    "nginx": _plain_nginx,
    "gateway": _gateway(),
    "gateway (ordinary way)": _gateway("--ordinary"),
    "usual aiohttp": _usual,
}
if importlib.util.find_spec("uvloop") is not None:
    PEERS["gateway (uvloop)"] = _gateway("--uvloop")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def reachable(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"a peer did not start: {process.args!r}")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children."""
    ticks, pids = 0, [pid]
    while pids:
        current = pids.pop()
        fields = Path(f"/proc/{current}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
        pids += [int(child) for child in Path(f"/proc/{current}/task/{current}/children").read_text().split()]
    return ticks / TICKS


@dataclass(frozen=True)
class Measured:
    """One peer in one round."""

    micros: float
    rate: float
    p50: int
    p99: int


def load(port: int, tokens: Path, seconds: int) -> tuple[int, int, int]:
    """Requests answered, and the 50th and 99th percentile of their time in microseconds."""
    target = f"http://127.0.0.1:{port}/"
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    script = str(ROOT / "tests/bench/load.lua")
    environment = os.environ | {"BENCH_TOKENS": str(tokens)}
    done = subprocess.run([*command, "-s", script, target], env=environment, check=True, capture_output=True, text=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    requests, bad, p50, p99 = map(int, line.split()[1:])
    if bad or not requests:
        raise SystemExit(f"{bad} of {requests} requests went wrong")
    return requests, p50, p99


def measure(site: Site, command: Command, profile: str, seconds: int) -> Measured:
    port = free_port()
    process = subprocess.Popen(command(site, port), cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        reachable(port, process)
        if profile == "cold":
            load(port, site.directory / "hot", 1)
        else:
            warmed = 0
            while warmed < 2 * USERS:  # every token was seen, however slow the machine is
                warmed += load(port, site.directory / profile, 1)[0]
        before, started = cpu_seconds(process.pid), time.monotonic()
        requests, p50, p99 = load(port, site.directory / profile, seconds)
        took = time.monotonic() - started
        return Measured((cpu_seconds(process.pid) - before) * 1e6 / requests, requests / took, p50, p99)
    finally:
        process.terminate()
        process.wait(10)


def _mint(numbers: range) -> list[str]:
    now = time.time()
    return [forge.id_token(now=now, uid=f"user-{number:06d}", padding=PADDING) for number in numbers]


def prepare(directory: Path, *, cold: bool) -> None:
    forge.private_key()
    (directory / "keys.json").write_bytes(forge.certificates())
    tokens = _mint(range(USERS))
    (directory / "hot").write_text(tokens[0] + "\n")
    (directory / "users").write_text("\n".join(tokens) + "\n")
    if cold:
        # Forked, so that all sign with the one key.
        with concurrent.futures.ProcessPoolExecutor(2) as pool:
            halves = pool.map(_mint, [range(USERS, USERS + COLD // 2), range(USERS + COLD // 2, USERS + COLD)])
            (directory / "cold").write_text("\n".join(token for half in halves for token in half) + "\n")


def table(results: dict[str, dict[str, list[Measured]]]) -> str:
    lines = ["| peer | profile | CPU µs | spread | x nginx | x usual aiohttp | req/s | p50 µs | p99 µs |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for profile, peers in results.items():
        micros = {peer: statistics.median(one.micros for one in rounds) for peer, rounds in peers.items()}
        for peer, rounds in peers.items():
            ratios = [
                f"{micros[peer] / micros[other]:.2f}" if other in micros else "" for other in ("nginx", "usual aiohttp")
            ]
            low, high = min(one.micros for one in rounds), max(one.micros for one in rounds)
            rate = statistics.median(one.rate for one in rounds)
            p50, p99 = (statistics.median(value) for value in zip(*((one.p50, one.p99) for one in rounds), strict=True))
            lines.append(
                f"| {peer} | {profile} | {micros[peer]:.1f} | {low:.0f}-{high:.0f} | {' | '.join(ratios)} "
                f"| {rate:.0f} | {p50:.0f} | {p99:.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--profiles", default="hot,users,cold")
    parser.add_argument("--peers", default=",".join(PEERS))
    options = parser.parse_args()
    for tool in ("nginx", "wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed for the benchmark; install it with your system's packages")
    profiles, peers = options.profiles.split(","), options.peers.split(",")
    results: dict[str, dict[str, list[Measured]]] = {profile: {peer: [] for peer in peers} for profile in profiles}
    with tempfile.TemporaryDirectory() as name:
        site = Site(Path(name), free_port())
        prepare(site.directory, cold="cold" in profiles)
        answer = f"return 200 '{'a' * BODY}';"
        command = site.nginx("upstream", site.upstream_port, "", answer, LOAD_CORE)
        upstream = subprocess.Popen(command)
        try:
            reachable(site.upstream_port, upstream)
            for number in range(options.rounds):
                for profile in profiles:
                    shift = number % len(peers)
                    for peer in peers[shift:] + peers[:shift]:
                        results[profile][peer].append(measure(site, PEERS[peer], profile, options.seconds))
        finally:
            upstream.terminate()
            upstream.wait(10)
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
