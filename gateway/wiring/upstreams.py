"""Backends as the configuration describes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config.backends import KEEP
from gateway.config.types import UNIX
from gateway.observe.health import Degraded
from gateway.proxy.address import BackendTls
from gateway.proxy.health import HealthCheck
from gateway.proxy.upstream import Timeouts, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.config import backends
    from gateway.config.types import BackendUrl
    from gateway.proxy.upstream import Standing


def make_upstream(table: backends.Upstream, directory: Path) -> Upstream:
    """One backend. Its certificates are read here.

    :param directory: what relative paths start from.
    :raises ConfigError: an address or a file cannot be used.
    """
    times = table.timeouts
    return Upstream(
        table.name,
        [_url(url, directory) for url in table.urls],
        Timeouts(times.connect, times.first_byte, times.idle),
        tls=_tls(table.tls, directory),
        health=_health(table.health),
        host=table.host or KEEP,
    )


def upstream_key(table: backends.Upstream, directory: Path) -> tuple[object, ...]:
    """What a backend is known by from one configuration to the next: its table, and when its files last changed."""
    tls = table.tls
    names = (tls.ca_file, tls.cert_file, tls.key_file) if tls is not None else ()
    return ("upstream", table, *(_changed(directory / name) for name in names if name))


def upstream_check(upstream: Upstream) -> Callable[[], str | None]:
    """What is wrong with a backend's addresses, in a few words, or None.

    It never keeps traffic away: the gateway still signs people in and out, and says in its own words what is missing.
    """

    def check() -> str | None:
        standings = upstream.standings()
        out = [standing for standing in standings if not standing.healthy]
        if not out:
            return None
        told = "; ".join(f"{standing.address}: {standing.why}" for standing in out)
        return Degraded(f"{len(out)} of {len(standings)} addresses not well: {told}")

    return check


def all_standings(upstreams: Iterable[Upstream]) -> Callable[[], list[Standing]]:
    """How the addresses of all these backends stand, asked anew each time."""
    return lambda: [standing for upstream in upstreams for standing in upstream.standings()]


def _url(url: BackendUrl, directory: Path) -> str:
    return f"{UNIX}{directory / url.socket}" if url.socket else url


def _tls(table: backends.UpstreamTls | None, directory: Path) -> BackendTls | None:
    if table is None:
        return None
    authorities, certificate, key = (
        directory / name if name else None for name in (table.ca_file, table.cert_file, table.key_file)
    )
    return BackendTls(authorities, certificate, key, table.server_name, table.verify)


def _health(table: backends.Health | None) -> HealthCheck | None:
    if table is None:
        return None
    return HealthCheck(
        table.path, table.every, table.timeout, table.healthy_after, table.unhealthy_after, table.status.numbers
    )


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # reading it will say what is wrong
