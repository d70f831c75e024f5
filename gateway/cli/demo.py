"""``gateway demo``: gateway, identity provider and a sample backend on one machine, with nothing to set up.

Everything here listens on loopback. The one liberty the demo takes is :class:`gateway.demo.network.DemoNetwork`: it
pretends that this machine sits somewhere on the Internet, so that a change of network can be shown.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from gateway.blocking.builtin import record_sign_in_ip
from gateway.cli.serve import DEV_API_KEY, run, set_up_logging, until_signalled
from gateway.config.load import load
from gateway.core.claims import Principal
from gateway.demo.backend import DemoBackend
from gateway.demo.data import ACCOUNTS, ADA
from gateway.demo.network import DemoNetwork
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.observe.decisions import DecisionLog, text_line
from gateway.wiring import Gateway

if TYPE_CHECKING:
    from gateway.core.ports import DecisionEvent
    from gateway.idp import Mail

DEMO_PROJECT: Final = "demo-freewheel"
STALENESS: Final = "2s"
"""How soon the demo notices a revocation: short, so that nobody waits for the lesson."""

_STYLES: Final = {"allow": "green", "challenge": "yellow", "deny": "red"}


def default_database() -> Path:
    """The demo's file in the user's state directory (XDG Base Directory specification)."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "session-gateway" / "demo.sqlite3"


def run_demo(*, port: int, provider_port: int, database: Path | None, memory: bool, plain: bool) -> None:
    """Run the demo until SIGINT or SIGTERM.

    :raises ConfigError: a port is taken, or the database cannot be used.
    """
    set_up_logging(logging.WARNING)
    chosen = None if memory else database or _writable(default_database())
    run(_demo(port, provider_port, chosen, Console(highlight=False, soft_wrap=True, no_color=plain or None)))


def _writable(path: Path) -> Path | None:
    """The path when its directory can be made and written to, else None: the demo then keeps nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path.parent, os.W_OK) else None


async def _demo(port: int, provider_port: int, database: Path | None, console: Console) -> None:
    network = DemoNetwork()
    async with contextlib.AsyncExitStack() as stack:
        provider = IdentityProvider(
            ProviderSettings(project_id=DEMO_PROJECT, database=database, port=provider_port),
            before_sign_in=record_sign_in_ip,
            address_of=network.client,
            on_mail=lambda mail: _print_mail(console, mail),
            on_text=lambda text: console.print(Text.assemble(("  text to ", "dim"), f"{text.to}  ·  {text.code}")),
        )
        await provider.start()
        stack.push_async_callback(provider.close)
        for account in ACCOUNTS:
            await provider.create_account(
                account.email,
                account.passphrase,
                display_name=account.display_name,
                custom_attributes=dict(account.custom_claims),
            )

        async def revoke(uid: str) -> None:
            await gateway.revoke(Principal(DEMO_PROJECT, None, uid))

        backend = DemoBackend(network=network, revoke=revoke, noticed_within=float(STALENESS.removesuffix("s")))
        await backend.start()
        stack.push_async_callback(backend.close)
        loaded = load(None, environment={}, overrides=demo_settings(port, provider.url, backend.url))
        log = DecisionLog(lambda event: _line(console, event), sys.stdout)
        gateway = Gateway(
            loaded, addresses=network, audit=log, demo_account={"email": ADA.email, "password": ADA.passphrase}
        )
        stack.push_async_callback(gateway.close)
        await gateway.start()
        _print_banner(console, gateway.url, provider.url, database)
        await until_signalled()
        console.print("\nStopping.")


def demo_settings(port: int, provider_url: str, backend_url: str) -> dict[str, Any]:
    """The demo's configuration, as overrides for :func:`gateway.config.load.load`."""
    return {
        "firebase": {
            "project_id": DEMO_PROJECT,
            "api_key": DEV_API_KEY,
            "emulator": provider_url.removeprefix("http://"),
        },
        "listen": {"public": f"127.0.0.1:{port}", "admin": "off"},
        "revocation": {"max_staleness": STALENESS},
        "login": {"title": "Freewheel"},
        "upstream": [{"name": "freewheel", "urls": [backend_url]}],
        "route": [
            {"name": "about", "match": {"path": "/public/**"}, "auth": "public"},
            # A WebSocket handshake passes no service worker, so it arrives without a token: a limit of browsers.
            {"name": "echo", "match": {"path": "/ws"}, "auth": "optional"},
            # Reachable while challenged, or nobody could travel home again.
            {"name": "network", "match": {"path": "/demo/network"}, "auth": "optional"},
            {
                "name": "api",
                "match": {"path": "/api/**"},
                "unauthenticated": "401",
                "identity": {"groups_claim": "roles"},
            },
            {"name": "app", "match": {"path": "/**"}, "identity": {"groups_claim": "roles"}},
        ],
    }


def _print_banner(console: Console, url: str, provider_url: str, database: Path | None) -> None:
    kept = f"kept in {database}" if database is not None else "kept in memory only"
    rows = (
        ("Open", url.replace("127.0.0.1", "localhost")),
        ("Sign in as", f"{ADA.email}  ·  {ADA.passphrase}   (or create an account of your own)"),
        ("Provider", f"{provider_url}   accounts are {kept}"),
        ("Mail", "links that would be sent are printed below"),
        ("Stop", "Ctrl+C"),
    )
    console.print()
    console.print(Text("  session-gateway demo", style="bold"))
    console.print()
    for name, value in rows:
        console.print(Text.assemble((f"  {name:<12}", "dim"), value))
    console.print()
    console.print(Text("  Decisions, as the gateway makes them:", style="dim"))


def _print_mail(console: Console, mail: Mail) -> None:
    console.print(Text.assemble(("  mail to ", "dim"), mail.to, ("  ·  ", "dim"), mail.kind, ("\n  ", ""), mail.link))


def _line(console: Console, event: DecisionEvent) -> str:
    line = "  " + text_line(event)
    if not console.is_terminal or console.no_color:
        return line
    with console.capture() as capture:
        console.print(Text(line, style=_STYLES[event.decision.reason.outcome]), end="")
    return capture.get()
