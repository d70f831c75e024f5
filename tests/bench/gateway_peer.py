"""The gateway as it is measured: ``gateway serve`` with a configuration file, nothing in it made for the occasion.

This program calls what the command calls. Around it: the event loop is chosen, ``--ordinary`` leaves the fast path out,
and a socket tells how many requests took it, which the proof wants to know. Google is played by
:mod:`tests.bench.stand_ins`, whose addresses are in the file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import gateway.wiring.gateway
from gateway.cli.serve import run_serve
from gateway.proxy.server import ProxyServer


class MeasuredServer(ProxyServer):
    """The proxy, which also tells whoever connects to ``counts`` how many requests took the fast path."""

    def __init__(self, *parts: Any, counts: Path, **more: Any) -> None:
        super().__init__(*parts, **more)
        self._counts = counts
        self._teller: asyncio.Server | None = None

    async def start(self, *where: Any, **more: Any) -> int:
        port = await super().start(*where, **more)
        self._teller = await asyncio.start_unix_server(self._tell, self._counts)
        return port

    async def _tell(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fast = self.fast
        replayed, judged = (fast.replayed, fast.judged) if fast is not None else (0, 0)
        writer.write(json.dumps({"replayed": replayed, "judged": judged}).encode())
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--counts", type=Path, required=True, help="a socket that tells what took the fast path")
    parser.add_argument("--ordinary", action="store_true", help="without the fast path")
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    if options.uvloop:
        import uvloop  # noqa: F401, PLC0415 - the command takes it where it is installed; here it has to be
    else:
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # which is how Python says that it is not installed
    server = partial(MeasuredServer, counts=options.counts, fast_path=not options.ordinary)
    with mock.patch.object(gateway.wiring.gateway, "ProxyServer", server):
        run_serve(options.config, dev=False, public=None)


if __name__ == "__main__":
    main()
