"""``make bench``: CPU microseconds per request of the gateway and its peers, side by side in one run.

Every peer stands in front of the same nginx with the same tokens; each is pinned to one core, load and upstream to the
other. The figure is user and system time of the peer's process tree divided by the requests it answered. Peers start
anew for every round, their order rotates, and what is printed are medians and their ratios within the run. An answer
other than 200, or a connection to the upstream for every request, fails the run.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.bench.load import (
    MEGABYTES_10,
    PROFILES,
    Measured,
    Profile,
    cpu_seconds,
    free_port,
    load,
    paced,
    peak_megabytes,
    reachable,
)
from tests.bench.peers import NEEDED, PEERS, ROOT, Site, missing
from tests.bench.report import Results, write_page
from tests.bench.report import table as table_of
from tests.support import forge

USERS: Final = 2_000
COLD: Final = 26_000
PADDING: Final = "x" * 330
"""Brings a token to about 1.2 KB."""
WARM_UP: Final = {"Express": 5_000}
"""Requests before the clock starts, where a compiler has to be warmed up."""
PARALLEL: Final = 32
"""Transfers at once when memory is measured."""


def measure(site: Site, peer: str, profile: Profile, seconds: int) -> Measured:
    """One peer under one load, started for it."""
    port = free_port()
    process = subprocess.Popen(PEERS[peer](site, port), cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        reachable(port, process)
        sys.stderr.write(f"\r{profile.name}: {peer} on port {port}".ljust(78))
        _warm_up(site, port, peer, profile)
        before, started = cpu_seconds(process.pid), time.monotonic()
        done = (paced if profile.paced else load)(site, port, profile, seconds)
        took = time.monotonic() - started
        micros = (cpu_seconds(process.pid) - before) * 1e6 / done.requests
        return Measured(micros, done.requests / took, done.p50, done.p99)
    finally:
        process.terminate()
        process.wait(10)


def _warm_up(site: Site, port: int, peer: str, profile: Profile) -> None:
    wanted = WARM_UP.get(peer, 0)
    ordinary = PROFILES["hot"] if profile.name == "cold" or profile.paced else profile
    if ordinary.name == "users":  # every token was seen, however slow the machine is
        wanted = max(wanted, 2 * USERS)
    warmed = load(site, port, ordinary, 1).requests
    while warmed < wanted and not (profile.body or profile.path == "/10m"):
        warmed += load(site, port, ordinary, 1).requests


def memory(site: Site, peer: str, seconds: int) -> tuple[float, float]:
    """Megabytes resident before, and at most while 32 transfers of 10 MB run at once, down and then up."""
    port = free_port()
    process = subprocess.Popen(PEERS[peer](site, port), cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        reachable(port, process)
        load(site, port, PROFILES["hot"], 1)
        before = peak_megabytes(process.pid)
        load(site, port, Profile("10 MB down", path="/10m", connections=PARALLEL), seconds)
        load(site, port, Profile("10 MB up", path="/up", body=MEGABYTES_10, connections=PARALLEL), seconds)
        return before, peak_megabytes(process.pid)
    finally:
        process.terminate()
        process.wait(10)


def _mint(numbers: range) -> list[str]:
    now = time.time()
    return [forge.id_token(now=now, uid=f"user-{number:06d}", padding=PADDING) for number in numbers]


def prepare(site: Site, *, cold: bool) -> None:
    """Write the keys and the tokens of every profile."""
    forge.private_key()
    site.keys.write_bytes(forge.certificates())
    tokens = _mint(range(USERS))
    (site.directory / "hot").write_text(tokens[0] + "\n")
    (site.directory / "users").write_text("\n".join(tokens) + "\n")
    if cold:
        # Forked, so that all sign with the one key.
        with concurrent.futures.ProcessPoolExecutor(2) as pool:
            halves = pool.map(_mint, [range(USERS, USERS + COLD // 2), range(USERS + COLD // 2, USERS + COLD)])
            (site.directory / "cold").write_text("\n".join(token for half in halves for token in half) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer is measured (default 5)")
    parser.add_argument("--seconds", type=int, default=2, help="how long each time (default 2)")
    parser.add_argument("--profiles", default=",".join(PROFILES), help="which loads, separated by commas")
    parser.add_argument("--peers", default=",".join(PEERS), help="which programs, separated by commas")
    parser.add_argument("--memory", action="store_true", help="also measure memory under 32 transfers of 10 MB")
    parser.add_argument("--write", action="store_true", help="write docs/reference/performance.md and its chart")
    return parser.parse_args()


def main() -> None:
    options = _options()
    for tool in ("nginx", "wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed for the benchmark; install it with your system's packages")
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("the benchmark needs two cores")
    profiles = [PROFILES[name] for name in options.profiles.split(",")]
    peers = [peer for peer in options.peers.split(",") if not missing(peer)]
    for peer in options.peers.split(","):
        if wanted := missing(peer):
            sys.stderr.write(f"without {peer}: {wanted} is not installed\n")
            if peer in NEEDED:
                raise SystemExit(2)
    results: Results = {profile.name: {peer: [] for peer in peers} for profile in profiles}
    resident: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # nginx serves the files as another user when root starts it
        site = Site(Path(name), free_port())
        prepare(site, cold="cold" in options.profiles)
        upstream = subprocess.Popen(site.backend())
        try:
            reachable(site.upstream_port, upstream)
            for number in range(options.rounds):
                for profile in profiles:
                    shift = number % len(peers)
                    for peer in peers[shift:] + peers[:shift]:
                        results[profile.name][peer].append(measure(site, peer, profile, options.seconds))
                sys.stderr.write(f"\rround {number + 1} of {options.rounds} is done".ljust(79) + "\n")
            if options.memory:
                resident = {peer: memory(site, peer, options.seconds) for peer in peers}
        finally:
            upstream.terminate()
            upstream.wait(10)
    sys.stdout.write(table_of(results, resident) + "\n")
    if options.write:
        write_page(results, resident, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
