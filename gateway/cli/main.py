"""The command table. Each command lives in a module of its own and is imported only when it runs.

Exit status: 0 done, 1 the answer is no (``explain`` refused, ``check`` found a fault that may mend itself), 2 the
operator has something to mend.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter
from rich.console import Console
from rich.text import Text

from gateway import __version__
from gateway.errors import ConfigError
from gateway.policy.ip_change import Preset

EXIT_CONFIG: Final = 2

app: Final = App(
    name="gateway",
    version=__version__,
    help="Session gateway for Firebase Authentication and Google Cloud Identity Platform.",
)

ConfigFile = Annotated[Path | None, Parameter(name=["--config", "-c"])]


@app.command
def demo(
    *,
    port: int = 8080,
    provider_port: int = 9099,
    database: Path | None = None,
    memory: bool = False,
    plain: bool = False,
) -> None:
    """Run everything on this machine: gateway, identity provider and a sample application.

    Parameters
    ----------
    port
        Where the browser goes.
    provider_port
        Where the embedded identity provider listens.
    database
        Keep accounts and keys in this SQLite file. Default: a file in your state directory, kept between runs.
    memory
        Keep nothing.
    plain
        Print decisions as they are logged, without colours.
    """
    from gateway.cli.demo import run_demo

    run_demo(port=port, provider_port=provider_port, database=database, memory=memory, plain=plain)


@app.command
def serve(*, config: ConfigFile = None, dev: bool = False, public: str | None = None) -> None:
    """Serve a configuration.

    Parameters
    ----------
    config
        The TOML file.
    dev
        Also start the embedded identity provider on loopback and use it. Never for production.
    public
        Listen here instead of where the file says, as host:port.
    """
    from gateway.cli.serve import run_serve

    run_serve(config, dev=dev, public=public)


@app.command
def check(file: Path, /, *, show: bool = False, offline: bool = False) -> int:
    """Find what would break before it does: the file, the certificates, the account service, the backends.

    Parameters
    ----------
    file
        The configuration.
    show
        Print every value and where it came from.
    offline
        Look at the file only.
    """
    from gateway.cli.check import run_check

    return run_check(file, show=show, offline=offline)


@app.command
def explain(  # noqa: PLR0913 - each is an option of the command
    url: str,
    /,
    *,
    config: ConfigFile = None,
    token_file: Path | None = None,
    claims: Path | None = None,
    ip: str | None = None,
    method: str = "GET",
    header: Annotated[tuple[str, ...], Parameter(name=["--header", "-H"])] = (),
    at: str | None = None,
    json: bool = False,
) -> int:
    """Judge a described request and print each step with its answer.

    Parameters
    ----------
    url
        The address a browser would open, or just its path.
    config
        The TOML file.
    token_file
        A file that holds an ID token; `-` reads standard input. Tokens are never taken from the command line.
    claims
        A JSON file of claims to judge as if a token with them had verified.
    ip
        The address the request comes from.
    method
        The request's method.
    header
        A header as `Name: value`; may be repeated.
    at
        With claims: the moment to judge at, such as 2026-10-02T09:30:00Z.
    json
        Print one JSON object instead of lines.
    """
    from gateway.cli.explain import Asked, run_explain

    asked = Asked(url, method, ip, header, at)
    return run_explain(asked, config=config, token_file=token_file, claims=claims, as_json=json)


@app.command
def routes(*, config: ConfigFile = None, json: bool = False) -> None:
    """List the routes in the order in which they are tried, with what each demands.

    Parameters
    ----------
    config
        The TOML file.
    json
        Print a JSON list instead of lines.
    """
    from gateway.cli.routes import run_routes

    run_routes(config, as_json=json)


ip: Final = App(name="ip", help="Try a network policy: on two addresses, or on what the decision log has seen.")
app.command(ip)


@ip.command
def judge(
    sign_in_ip: str, request_ip: str, /, *, config: ConfigFile = None, preset: Preset | None = None, idle: float = 1.0
) -> int:
    """Print how a request's network stands to a sign-in's, and what each preset does about it.

    Parameters
    ----------
    sign_in_ip
        The address in the claim signInIpAddress; an empty text for a session without one.
    request_ip
        The address that the request comes from.
    config
        A TOML file, for its databases and exemptions.
    preset
        Only this one; the exit status is then 1 when it refuses.
    idle
        Hours since the session was last seen.
    """
    from gateway.cli.ip import run_judge

    return run_judge(sign_in_ip, request_ip, config=config, preset=preset, idle=idle)


@ip.command
def replay(log: Path, /, *, config: ConfigFile = None, preset: Preset | None = None, days: float | None = None) -> int:
    """Print what a preset would have done to the requests in a decision log.

    Parameters
    ----------
    log
        A file of JSON lines as the gateway writes them; `-` reads standard input.
    config
        A TOML file, for its preset, databases and exemptions.
    preset
        Instead of the file's; without either, relaxed.
    days
        Only the last so many days of the log.
    """
    from gateway.cli.ip import run_replay

    return run_replay(log, config=config, preset=preset, days=days)


def fail(error: ConfigError) -> None:
    """Print what is wrong, where, and what to try; to standard error, in plain words."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("error", "bold red"), f": {error.where}: {error.what}"))
    if error.hint:
        console.print(Text.assemble(("try", "bold"), f": {error.hint}"))


def main() -> None:
    """Entry point of the ``gateway`` command."""
    try:
        status = app()
    except ConfigError as error:
        fail(error)
        sys.exit(EXIT_CONFIG)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
