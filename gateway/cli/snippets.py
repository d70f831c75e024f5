"""``gateway snippets``: the configuration of a proxy that asks this gateway."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.config.load import load
from gateway.forward_auth import Dialect
from gateway.snippets.caddy import caddy
from gateway.snippets.envoy import envoy
from gateway.snippets.nginx import nginx
from gateway.snippets.site import Site, site_of
from gateway.snippets.traefik import traefik

WRITERS: Final[dict[Dialect, Callable[[Site], str]]] = {
    Dialect.NGINX: nginx,
    Dialect.TRAEFIK: traefik,
    Dialect.CADDY: caddy,
    Dialect.ENVOY: envoy,
}


def run_snippets(dialect: Dialect, config: Path | None, *, site: str, port: int, upstream: str) -> None:
    """Print the configuration.

    :raises ConfigError: the gateway's own configuration is wrong, or the backend is not clear.
    """
    sys.stdout.write(WRITERS[dialect](site_of(load(config).config, host=site, port=port, upstream=upstream)))
