"""``gateway keys``: the keys of assertions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from gateway.adapters.assertion_keys import AssertionKeyFile
from gateway.config.load import load
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.mutators.assertion import KeyRing


def run_rotate(file: Path | None) -> None:
    """Add a key to the configured file, which running gateways read again by themselves.

    :raises ConfigError: the configuration names no file, or it cannot be read or written.
    """
    now = time.time()
    _show(_file(file).rotate(now), now)


def run_list(file: Path | None) -> None:
    """Show the keys of the configured file.

    :raises ConfigError: the configuration names no file, or it cannot be read.
    """
    now = time.time()
    try:
        ring = _file(file).read()
    except FileNotFoundError as error:
        raise ConfigError(
            "$.assertion.keys_file", f"{error.filename} does not exist yet", "start the gateway"
        ) from None
    _show(ring, now)


def _file(file: Path | None) -> AssertionKeyFile:
    loaded = load(file)
    name = loaded.config.assertion.keys_file
    if not name:
        raise ConfigError(
            "$.assertion.keys_file", "is not set, so keys live in the memory of each process", "name a file"
        )
    return AssertionKeyFile(loaded.directory / name)


def _show(ring: KeyRing, now: float) -> None:
    console = Console(soft_wrap=True, highlight=False)
    published, signer = ring.published(now), ring.signer(now)
    console.print(f"{'kid':43}  {'signs from (UTC)':19}  state")
    for key in ring.keys:
        begins = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(key.signs_from))
        state = "signs" if key is signer else "published" if key in published else "over"
        console.print(f"{key.kid}  {begins}  {state}{', signs later' if key.signs_from > now else ''}")
