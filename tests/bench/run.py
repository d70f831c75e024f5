"""``make bench``: CPU microseconds per request of the gateway and its peers, side by side in one run.

Every peer stands in front of the same nginx with the same tokens; each is pinned to one core, load and upstream to the
other. The figure is user and system time of the peer's process tree divided by the requests it answered. Peers start
anew for every round, their order rotates, and what is printed are medians and their ratios within the run.

A row fails, and so does the run in the end, when an answer is other than 200, when connections to the backend were
opened while the clock ran as if there were no keeping them open, or when log or metrics lack requests. The
run fails at once when a process of ours that was timed with one token or 2,000 does not pass :mod:`tests.bench.proof`
right afterwards.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import functools
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.goals import Run
from tests.bench.load import (
    MEGABYTES_10,
    PROFILES,
    Loaded,
    Measured,
    Profile,
    RowFailedError,
    account_look_ups,
    cpu_seconds,
    lines_of,
    load,
    metered,
    paced,
    peak_megabytes,
    running,
    upstream_connections,
)
from tests.bench.peers import NEEDED, PEERS, Site, missing
from tests.bench.proof import NotShownError, prove
from tests.bench.report import text as text_of
from tests.bench.report import write_page
from tests.support import forge
from tests.support.ports import free_port

USERS: Final = 2_000
COLD_EACH: Final = 7
"""Tokens of each user for every second that the profile ``cold`` lasts, so that 14,000 can be used once in a second."""
PADDING: Final = "x" * 270
"""Brings a token to about 1.2 KB."""
WARM_UP: Final = {"Express": 5_000}
"""Requests before the clock starts, where a compiler has to be warmed up."""
MEMORY_SECONDS: Final = 4
"""How long such transfers go on each way, so that all of them end even on a busy machine."""
PARALLEL: Final = 32
"""Transfers at once when memory is measured."""
PROVEN: Final = ("hot", "users")
"""Profiles after which our processes are put to the proof."""


def measure(site: Site, peer: str, profile: Profile, seconds: int) -> Measured:
    """One peer under one load, started for it.

    :raises RowFailedError: it did not bear the load as it must.
    :raises NotShownError: it is ours, and did not obey at once.
    """
    port = free_port()
    program = PEERS[peer]
    with running(site, program.command(site, port), port) as process:
        sys.stderr.write(f"\r{profile.name}: {peer}".ljust(78))
        warmed = _warm_up(site, port, peer, profile)
        connections, look_ups = upstream_connections(site), account_look_ups(site)
        before, started = cpu_seconds(process), time.monotonic()
        done = (paced if profile.paced else load)(site, port, profile, seconds)
        took = time.monotonic() - started
        micros = (cpu_seconds(process) - before) * 1e6 / done.requests
        opened = upstream_connections(site) - connections - 1  # the question's own
        _check(site, peer, profile, done, opened, account_look_ups(site) - look_ups)
        if program.ours and (shown := metered(site)) < warmed + done.requests:
            raise RowFailedError(f"the metrics show {shown} of {warmed + done.requests} requests")
        if program.ours and profile.name in PROVEN:
            prove(port, site.counts)
    if program.log and (lines := lines_of(site.directory / program.log)) < warmed + done.requests:
        raise RowFailedError(f"{lines} lines in the log of {warmed + done.requests} requests")
    return Measured(micros, done.requests / took, done.p50, done.p99)


def _check(site: Site, peer: str, profile: Profile, done: Loaded, opened: int, look_ups: int) -> None:
    """Whether a figure may stand beside the others.

    :raises RowFailedError: it may not.
    """
    # What was under way when the warm-up ended was cut off, so each connection may have to be opened once; twice for
    # bodies, which the backend reads by passing the request on to itself.
    if opened > profile.connections * (2 if profile.body else 1):
        raise RowFailedError(f"{opened} new connections to the backend for {done.requests} requests")
    if profile.name == "cold":
        tokens = lines_of(site.directory / profile.tokens)
        if PEERS[peer].remembers and done.requests > tokens:
            raise RowFailedError(f"{done.requests} requests with {tokens} tokens: some were used twice")
        if look_ups:
            raise RowFailedError(f"{look_ups} accounts had to be asked for while the clock ran")


def _warm_up(site: Site, port: int, peer: str, profile: Profile) -> int:
    """Let connections, compilers and caches settle; the number of requests that it took.

    Before ``users`` and ``cold`` every user was seen, however slow the machine is: ``cold`` is about new tokens of
    people whose accounts have been looked up, since no peer but the gateway looks at accounts.
    """
    kind = {"cold": PROFILES["users"], "paced": PROFILES["hot"]}.get(profile.name, profile)
    wanted = WARM_UP.get(peer, 0) if kind.small else 0
    if kind.name == "users":
        wanted = max(wanted, 2 * USERS)
    done = load(site, port, kind, 1).requests
    warmed = done
    if done < wanted:
        # In one go, because each starts with the first token.
        warmed += load(site, port, kind, math.ceil(wanted / done)).requests
    return warmed


def memory(site: Site, peer: str) -> tuple[float, float]:
    """Megabytes resident before, and at most while 32 transfers of 10 MB run at once, down and then up."""
    port = free_port()
    with running(site, PEERS[peer].command(site, port), port) as process:
        sys.stderr.write(f"\rmemory: {peer}".ljust(78))
        load(site, port, PROFILES["hot"], 1)
        before = peak_megabytes(process)
        load(site, port, Profile("10 MB down", path="/10m", connections=PARALLEL), MEMORY_SECONDS)
        load(site, port, Profile("10 MB up", path="/up", body=MEGABYTES_10, connections=PARALLEL), MEMORY_SECONDS)
        return before, peak_megabytes(process)


def _mint(now: float, numbers: range) -> list[str]:
    """One token for each number: of each user in turn, and all of a user's of one session, as if it were renewed."""
    return [
        forge.id_token(
            now=now,
            uid=f"user-{number % USERS:06d}",
            jti=f"{number:09d}",
            signInIpAddress="127.0.0.1",
            padding=PADDING,
        )
        for number in numbers
    ]


def prepare(site: Site, cold_seconds: int) -> None:
    """Write the keys and the tokens of every profile; those of ``cold`` for so many seconds."""
    site.write_keys()
    mint = functools.partial(_mint, time.time())
    tokens = mint(range(USERS))
    (site.directory / "hot").write_text(tokens[0] + "\n")
    (site.directory / "users").write_text("\n".join(tokens) + "\n")
    if cold_seconds:
        end = USERS * (1 + COLD_EACH * cold_seconds)
        middle = (USERS + end) // 2
        # Forked, so that all sign with the one key.
        with concurrent.futures.ProcessPoolExecutor(2) as pool:
            halves = pool.map(mint, [range(USERS, middle), range(middle, end)])
            (site.directory / "cold").write_text("\n".join(token for half in halves for token in half) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer is measured (default 5)")
    parser.add_argument("--seconds", type=int, default=2, help="how long each time (default 2)")
    parser.add_argument("--profiles", default=",".join(PROFILES), help="which loads, separated by commas")
    parser.add_argument("--peers", default=",".join(PEERS), help="which programs, separated by commas")
    parser.add_argument("--memory", action="store_true", help="also measure memory under transfers of 10 MB")
    parser.add_argument("--write", action="store_true", help="write docs/reference/performance.md and its chart")
    return parser.parse_args()


@contextlib.contextmanager
def _failing(run: Run, name: str, peer: str) -> Iterator[None]:
    """Note a failure of a row, which has no figures then, and go on with the others."""
    try:
        yield
    except RowFailedError as failure:
        run.failed[name, peer] = str(failure)
        run.results.get(name, {}).pop(peer, None)
        sys.stderr.write(f"\r{name}: {peer} failed: {failure}".ljust(79) + "\n")


def _round(site: Site, run: Run, profile: Profile, peer: str) -> None:
    """One figure, or why there is none: then this peer has no row under this load."""
    if (profile.name, peer) in run.failed:
        return
    with _failing(run, profile.name, peer):
        try:
            run.results[profile.name][peer].append(measure(site, peer, profile, run.seconds))
        except NotShownError as failure:
            raise SystemExit(f"\n{profile.name}: {peer} did not pass the proof: {failure}") from failure
        run.proofs += PEERS[peer].ours and profile.name in PROVEN


def _measure_all(run: Run, profiles: list[Profile], peers: list[str], *, with_memory: bool) -> None:
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.chmod(0o755)  # nginx serves the files as another user when root starts it
        site = Site(directory, free_port(), free_port())
        prepare(site, run.seconds if "cold" in run.results else 0)
        stack.enter_context(running(site, site.stand_ins(), site.services_port, "stand-ins.log"))
        stack.enter_context(running(site, site.backend(), site.upstream_port, "upstream.log"))
        for number in range(run.rounds):
            for profile in profiles:
                shift = number % len(peers)
                for peer in peers[shift:] + peers[:shift]:
                    _round(site, run, profile, peer)
            sys.stderr.write(f"\rround {number + 1} of {run.rounds} is done".ljust(79) + "\n")
        for peer in peers if with_memory else ():
            with _failing(run, "memory", peer):
                run.resident[peer] = memory(site, peer)


def main() -> None:
    options = _options()
    for tool in ("nginx", "wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed for the benchmark; install it with your system's packages")
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("the benchmark needs two cores")
    profiles = [PROFILES[name] for name in options.profiles.split(",")]
    peers = [peer for peer in options.peers.split(",") if not missing(peer)]
    absent = {peer: missing(peer) for peer in options.peers.split(",") if missing(peer)}
    for peer, wanted in absent.items():
        sys.stderr.write(f"without {peer}: {wanted} is not installed\n")
        if peer in NEEDED:
            raise SystemExit(2)
    run = Run({profile.name: {peer: [] for peer in peers} for profile in profiles}, options.rounds, options.seconds)
    run.absent = absent
    _measure_all(run, profiles, peers, with_memory=options.memory or options.write)
    sys.stderr.write("\r".ljust(79) + "\r")
    sys.stdout.write(text_of(run) + "\n")
    if options.write:
        write_page(run)
    if run.failed:
        raise SystemExit("rows failed: " + "; ".join(f"{name}, {peer}" for name, peer in run.failed))


if __name__ == "__main__":
    main()
