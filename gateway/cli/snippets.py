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
    """Print the configuration, and on standard error what the gateway's own file still lacks for it.

    :raises ConfigError: the gateway's own configuration is wrong, or the backend is not clear.
    """
    own = load(config).config
    sys.stdout.write(WRITERS[dialect](site_of(own, host=site, port=port, upstream=upstream)))
    if dialect not in own.forward_auth.dialects:
        sys.stderr.write(
            f'note: {dialect} may not ask this gateway yet; write [forward_auth] dialects = ["{dialect}"] and its '
            "address into [listen] trusted_proxies\n"
        )
