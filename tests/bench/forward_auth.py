"""``make bench-questions``: CPU microseconds of one warm forward-auth decision, beside the endpoint people write first.

wrk asks over kept-open connections what the generated nginx configuration asks, with the fields of a browser's request,
for one signed-in user. Both peers verify the same things about the ID token and answer 200 with ``X-Forwarded-User``;
each is pinned to one core, wrk to the other. Peers start anew for every round and change places; the figures are
medians. An answer other than 200 fails the run, and so does a ratio above the one that was promised.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.bench.load import LUA_QUESTION, Measured, Profile, RowFailedError, cpu_seconds, load, running
from tests.bench.peers import ASKED, Site
from tests.bench.run import PADDING
from tests.support import forge
from tests.support.ports import free_port

PROMISED: Final = 0.25
"""What a warm decision may cost at most, measured in the usual endpoint's."""
USUAL: Final = "usual endpoint"
CLIENT: Final = "203.0.113.7"
"""Whom the questions are about: the address in them, and that of the sign-in."""
QUESTION: Final = Profile("question", path="/.gateway/auth/nginx", script=LUA_QUESTION)


def measure(site: Site, peer: str, seconds: int) -> Measured:
    """One peer, started for it and warmed up for a second."""
    port = free_port()
    with running(site, ASKED[peer](site, port), port) as process:
        load(site, port, QUESTION, 1)
        before, started = cpu_seconds(process), time.monotonic()
        done = load(site, port, QUESTION, seconds)
        took = time.monotonic() - started
        micros = (cpu_seconds(process) - before) * 1e6 / done.requests
        return Measured(micros, done.requests / took, done.p50, done.p99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer is measured (default 5)")
    parser.add_argument("--seconds", type=int, default=2, help="how long each time (default 2)")
    options = parser.parse_args()
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed for the benchmark; install it with your system's packages")
    found: dict[str, list[Measured]] = {peer: [] for peer in ASKED}
    with tempfile.TemporaryDirectory() as name:
        services = free_port()
        site = Site(Path(name), services, services)
        site.write_keys()
        token = forge.id_token(now=time.time(), uid="user-000000", signInIpAddress=CLIENT, padding=PADDING)
        (site.directory / QUESTION.tokens).write_text(token + "\n")
        with running(site, site.stand_ins(), services, "stand-ins.log"):
            for number in range(options.rounds):
                order = list(ASKED) if number % 2 else list(reversed(ASKED))
                for peer in order:
                    try:
                        found[peer].append(measure(site, peer, options.seconds))
                    except RowFailedError as failure:
                        raise SystemExit(f"{peer}: {failure}") from failure
    usual = statistics.median(one.micros for one in found[USUAL])
    ratios = {}
    for peer, measured in found.items():
        micros = statistics.median(one.micros for one in measured)
        ratios[peer] = micros / usual
        rate = statistics.median(one.rate for one in measured)
        sys.stdout.write(f"{peer:28} {micros:7.1f} µs  {rate:8.0f} /s  {ratios[peer]:5.2f}\n")
    if ratios["gateway"] > PROMISED:
        raise SystemExit(f"a warm decision costs {ratios['gateway']:.2f} of the usual endpoint; promised: {PROMISED}")


if __name__ == "__main__":
    main()
