"""The gateway as it is measured: real guard, verifier, revocation cache, routes and decision log."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.adapters.revocation_cache import RevocationCache
from gateway.clock import SystemClock
from gateway.core.claims import Principal
from gateway.core.client_ip import AddressResolver
from gateway.core.ports import AccountRecord
from gateway.forward_auth import ForwardAuth
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints, LoginSettings
from gateway.http.enforce import Enforcer
from gateway.http.reply import Replies
from gateway.http.scripts import WorkerSettings
from gateway.mutators.identity import IdentityWriter
from gateway.observe.decisions import DecisionLog, JsonLines
from gateway.policy.routes import Auth, Route, RouteTable
from gateway.proxy.server import ProxyServer
from gateway.proxy.upstream import Upstream
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.verifier import IdTokenVerifier
from tests.support import forge
from tests.support.wire import FakeAssets


class Keys:
    """Published keys, read from a file instead of over HTTPS."""

    def __init__(self, path: Path) -> None:
        self._keys: dict[str, RSAPublicKey] = {}
        for kid, pem in json.loads(path.read_text()).items():
            key = x509.load_pem_x509_certificate(pem.encode()).public_key()
            assert isinstance(key, RSAPublicKey)
            self._keys[kid] = key

    def peek(self, kid: str) -> RSAPublicKey | None:
        return self._keys.get(kid)

    async def key(self, kid: str) -> RSAPublicKey | None:
        return self._keys.get(kid)


class Everybody:
    """An account service where everybody has an account in good standing."""

    async def look_up(self, tenant: str | None, uids: Sequence[str]) -> Mapping[str, AccountRecord]:
        return {uid: AccountRecord(disabled=False, valid_since=0) for uid in uids}

    async def revoke(self, principal: Principal) -> None:
        """Nothing to do: the cache remembers it."""


def _questions(enforcer: Enforcer) -> ForwardAuth:
    return ForwardAuth(enforcer, IdentityWriter())


async def serve(options: argparse.Namespace) -> None:
    clock = SystemClock()
    revocation = RevocationCache(Everybody(), clock)
    await revocation.start()
    routes = [
        Route("assets", "/static/**", "app", Auth.PUBLIC),
        Route("admin", "/admin/**", "app"),
        Route("all", "/**", "app"),
    ]
    guard = SessionGuard(
        routes=RouteTable(routes),
        verifier=IdTokenVerifier(IdTokenRules(forge.PROJECT), Keys(options.keys), clock),
        revocation=revocation,
        addresses=AddressResolver([ip_network("127.0.0.1/32")] if options.asked else ()),
        clock=clock,
    )
    replies = Replies(FakeAssets(), title="Bench")
    login = LoginSettings(api_key="key", project_id=forge.PROJECT, title="Bench")
    endpoints = Endpoints(FakeAssets(), replies, login, WorkerSettings(api_key="key"))
    with options.log.open("w") as stream:
        audit = DecisionLog(JsonLines(), stream)
        proxy = ProxyServer(
            guard,
            {"app": Upstream("app", [options.upstream])},
            endpoints,
            replies,
            audit,
            fast_path=not options.ordinary,
            questions=_questions if options.asked else None,
        )
        await proxy.start("127.0.0.1", options.port)
        gc.collect()
        gc.freeze()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--ordinary", action="store_true")
    parser.add_argument("--asked", action="store_true", help="answer questions of a proxy on this machine")
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    factory = None
    if options.uvloop:
        import uvloop  # noqa: PLC0415 - only where it is installed

        factory = uvloop.new_event_loop
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(options))


if __name__ == "__main__":
    main()
