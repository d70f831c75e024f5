"""``gateway check``: what would break, before it does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.config.load import Loaded, load
from gateway.config.types import encode
from gateway.wiring import Gateway

Row: TypeAlias = tuple[str, bool | None, str]
"""Name, verdict (None good, False worth knowing, True a fault), and the words."""

_FAULT: Final = 1
_PROBE_SECONDS: Final = 5
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
    rows += _hints(loaded)
    if not offline:
        rows += asyncio.run(_probe(loaded))
    for name, fault, text in rows:
        mark = ("✗ ", "red") if fault else ("✓ ", "green") if fault is None else ("! ", "yellow")
        console.print(Text.assemble(mark, f"{name:<16}{text}"))
    return _FAULT if any(fault for _, fault, _ in rows) else 0


def _routes(loaded: Loaded) -> str:
    routes, upstreams = len(loaded.config.route), len(loaded.config.upstream)
    return f"{routes} route{'s' if routes != 1 else ''}, {upstreams} upstream{'s' if upstreams != 1 else ''}"


def _hints(loaded: Loaded) -> list[Row]:
    config = loaded.config
    rows: list[Row] = []
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


async def _probe(loaded: Loaded) -> list[Row]:
    gateway = Gateway(loaded)
    rows: list[Row] = []
    try:
        await gateway.open()
        for name, fault in (await gateway.diagnose()).items():
            rows.append((name, fault is not None or None, fault or "answers"))
    finally:
        await gateway.close()
    timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False, trust_env=False) as session:
        for upstream in loaded.config.upstream:
            for url in upstream.urls:
                try:
                    async with session.head(url, allow_redirects=False) as response:
                        rows.append((f"upstream {upstream.name}", None, f"{url} answers with status {response.status}"))
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    rows.append((f"upstream {upstream.name}", True, f"{url} does not answer: {type(error).__name__}"))
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
