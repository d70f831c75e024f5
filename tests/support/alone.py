"""A gateway in a process of its own, with the real guard and verifier, so that its memory and its pace are its own.

``alone(backend.url)`` starts ``python -m tests.support.alone`` and gives its port and process id. The child reads
certificates from the environment; the account service is one where everybody stands.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.adapters.revocation_cache import RevocationCache
from gateway.clock import SystemClock
from gateway.core.claims import Principal
from gateway.core.client_ip import AddressResolver
from gateway.core.ports import AccountRecord
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints, LoginSettings
from gateway.http.reply import Replies
from gateway.http.scripts import WorkerSettings
from gateway.observe.decisions import DecisionLog, json_line
from gateway.policy.routes import Auth, Route, RouteTable
from gateway.proxy.limits import Limits
from gateway.proxy.server import ProxyServer
from gateway.proxy.upstream import Upstream
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.verifier import IdTokenVerifier
from tests.support import forge
from tests.support.wire import FakeAssets

ROOT: Final = Path(__file__).resolve().parents[2]
START: Final = 30.0
"""Seconds that the child may take to listen."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Alone:
    """The running child."""

    port: int
    pid: int
    process: asyncio.subprocess.Process

    @property
    def memory(self) -> int:
        """Bytes of memory that it holds now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE

    @property
    def files(self) -> int:
        """Files that it has open now."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@asynccontextmanager
async def alone(upstream: str, *, files: int = 0, fast_path: bool = True, **limits: Any) -> AsyncIterator[Alone]:
    """A gateway in front of ``upstream``.

    :param files: its limit of open files; 0: ours.
    :param limits: fields of :class:`gateway.proxy.limits.Limits`.
    """
    options = {"upstream": upstream, "fast_path": fast_path, "limits": limits}
    environment = {
        **os.environ,
        "ALONE_OPTIONS": json.dumps(options),
        "ALONE_KEY": forge.certificate(),
        "PYTHONPATH": str(ROOT),
    }
    run = f"{'ulimit -n ' + str(files) + ' && ' if files else ''}exec '{sys.executable}' -m tests.support.alone"
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", run, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START)
        if not line:
            _, errors = await process.communicate()
            raise RuntimeError(errors.decode())
        yield Alone(int(line), process.pid, process)
    finally:
        if process.returncode is None:
            process.kill()
        # Its pipes are read to their end, or the loop would meet them again when it has closed.
        await process.communicate()


class _Keys:
    def __init__(self, pem: str) -> None:
        key = x509.load_pem_x509_certificate(pem.encode()).public_key()
        assert isinstance(key, RSAPublicKey)
        self._key = key

    def peek(self, kid: str) -> RSAPublicKey | None:
        return self._key if kid == forge.KID else None

    async def key(self, kid: str) -> RSAPublicKey | None:
        return self.peek(kid)


class _Everybody:
    async def look_up(self, tenant: str | None, uids: Sequence[str]) -> Mapping[str, AccountRecord]:
        return {uid: AccountRecord(disabled=False, valid_since=0) for uid in uids}

    async def revoke(self, principal: Principal) -> None:
        """Nobody asks."""


async def _serve(options: Mapping[str, Any], log: TextIO) -> None:
    clock = SystemClock()
    revocation = RevocationCache(_Everybody(), clock)
    await revocation.start()
    guard = SessionGuard(
        routes=RouteTable([Route("public", "/public/**", "app", Auth.PUBLIC), Route("all", "/**", "app")]),
        verifier=IdTokenVerifier(IdTokenRules(forge.PROJECT), _Keys(os.environ["ALONE_KEY"]), clock),
        revocation=revocation,
        addresses=AddressResolver(),
        clock=clock,
    )
    assets = FakeAssets()
    replies = Replies(assets, title="Alone")
    login = LoginSettings(api_key="key", project_id=forge.PROJECT, title="Alone")
    proxy = ProxyServer(
        guard,
        {"app": Upstream("app", [options["upstream"]])},
        Endpoints(assets, replies, login, WorkerSettings(api_key="key")),
        replies,
        DecisionLog(json_line, log),
        limits=Limits(**options["limits"]),
        fast_path=options["fast_path"],
    )
    print(await proxy.start("127.0.0.1", 0), flush=True)  # noqa: T201 - the parent reads it
    await asyncio.Event().wait()


if __name__ == "__main__":
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        asyncio.run(_serve(json.loads(os.environ["ALONE_OPTIONS"]), nowhere))
