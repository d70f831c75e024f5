"""``gateway check``: what would break, before it does."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.config.load import Loaded, load
from gateway.config.rules import policy_routes
from gateway.config.types import encode
from gateway.errors import ConfigError
from gateway.proxy.address import spoken
from gateway.proxy.tls import ServerTls
from gateway.wiring import Gateway
from gateway.wiring.functions import configured_functions
from gateway.wiring.upstreams import make_upstream

Row: TypeAlias = tuple[str, bool | None, str]
"""Name, verdict (None good, False worth knowing, True a fault), and the words."""

_FAULT: Final = 1
_DAY: Final = 86_400
"""Seconds."""
_SOON: Final = 14
"""Days before its end by which a certificate should have been renewed: ACME clients do it a month before."""
_PROBE_SECONDS: Final = 5.0
"""How long a backend may take to answer the probe."""


def run_check(file: Path, *, show: bool, offline: bool) -> int:
    """Print what was found; 0 when nothing would break, else 1.

    :raises ConfigError: the file cannot be used at all.
    """
    console = Console(highlight=False, soft_wrap=True)
    loaded = load(file)
    if show:
        console.print(_values(loaded))
    rows: list[Row] = [("configuration", None, f"{file} is good: {_routes(loaded)}")]
    rows += _functions(loaded)
    rows += _hints(loaded)
    rows += _certificate(loaded)
    if not offline:
        rows += asyncio.run(_probe(loaded))
    for name, fault, text in rows:
        mark = ("✗ ", "red") if fault else ("✓ ", "green") if fault is None else ("! ", "yellow")
        console.print(Text.assemble(mark, f"{name:<16}{text}"))
    return _FAULT if any(fault for _, fault, _ in rows) else 0


def _functions(loaded: Loaded) -> list[Row]:
    """Blocking functions, loaded to see whether they can be.

    :raises ConfigError: they cannot.
    """
    settings = loaded.config.functions
    if settings.is_empty:
        return []
    answered = ", ".join(configured_functions(loaded, None, None).events)
    rows: list[Row] = [("functions", None, f"answer {answered}")]
    if not settings.listen.is_off and not settings.audiences and loaded.config.firebase.emulator is None:
        rows.append(
            ("functions", False, "functions.audience is empty: events for other addresses on Cloud Run are taken too")
        )
    return rows


def _routes(loaded: Loaded) -> str:
    routes, upstreams = len(loaded.config.route), len(loaded.config.upstream)
    return f"{routes} route{'s' if routes != 1 else ''}, {upstreams} upstream{'s' if upstreams != 1 else ''}"


def _certificate(loaded: Loaded) -> list[Row]:
    """How the public listener's certificate stands."""
    table = loaded.config.listen.tls
    if table is None:
        return []
    try:
        days = (ServerTls.of(table, loaded.directory).expires_at - time.time()) / _DAY
    except ConfigError as error:
        return [("certificate", True, f"{error.where}: {error.what}")]
    if days <= 0:
        return [("certificate", True, "listen.tls.cert_file ended; nobody can connect")]
    return [("certificate", False if days < _SOON else None, f"good for {days:.1f} days")]


def _hints(loaded: Loaded) -> list[Row]:
    config = loaded.config
    rows: list[Row] = [(f"route {name}", False, text) for name, text in _reachable_otherwise(loaded)]
    if not config.firebase.api_key:
        rows.append(
            ("login page", False, "firebase.api_key is empty: the login page and the worker cannot sign anybody in")
        )
    if config.firebase.credentials == "none" and config.firebase.emulator is None:
        rows.append(
            (
                "revocation",
                False,
                "firebase.credentials is none: revoked and disabled users pass until their token expires",
            )
        )
    if config.firebase.emulator is not None:
        rows.append(("mode", False, f"development: firebase.emulator is {config.firebase.emulator}"))
    if not config.listen.public.is_loopback and not config.listen.trusted_proxies:
        rows.append(
            (
                "client address",
                False,
                "listen.trusted_proxies is empty: behind a load balancer every client would have its address",
            )
        )
    return rows


def _reachable_otherwise(loaded: Loaded) -> list[tuple[str, str]]:
    """Routes that rewrite paths, and so lead to what a stricter route of the same backend guards."""
    routes = list(policy_routes(loaded.config))
    found = []
    for route in routes:
        stricter = [
            other.name for other in routes if other.upstream == route.upstream and not route.guards_as_well_as(other)
        ]
        if route.rewrite is not None and stricter:
            names = ", ".join(stricter)
            found.append((route.name, f"rewrites paths of a backend that {names} guards more strictly under others"))
    return found


async def _probe(loaded: Loaded) -> list[Row]:
    gateway = Gateway(loaded)
    rows: list[Row] = []
    try:
        await gateway.open()
        for name, fault in (await gateway.diagnose()).items():
            rows.append((name, fault is not None or None, fault or "answers"))
    finally:
        await gateway.close()
    for table in loaded.config.upstream:
        name = f"upstream {table.name}"
        for url, found in (await make_upstream(table, loaded.directory).probe(_PROBE_SECONDS)).items():
            if isinstance(found, Exception):
                rows.append((name, True, f"{url} does not answer: {spoken(found)}"))
            elif table.health is not None and found not in table.health.status.numbers:
                rows.append((name, True, f"{url} answers its health check with status {found}"))
            else:
                rows.append((name, None, f"{url} answers with status {found}"))
    return rows


def _values(loaded: Loaded) -> Table:
    table = Table("key", "value", "from", box=None, pad_edge=False)
    for path, value in _flat(msgspec.to_builtins(loaded.config, enc_hook=encode), "$"):
        table.add_row(
            Text(path), Text(json.dumps(value, ensure_ascii=False)), Text(loaded.origins.get(path, "default"))
        )
    return table


def _flat(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [row for key, member in value.items() for row in _flat(member, f"{path}.{key}")]
    if isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value):
        return [row for index, item in enumerate(value) for row in _flat(item, f"{path}[{index}]")]
    return [(path, value)]
