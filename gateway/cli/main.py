"""The command table. Each command lives in a module of its own and is imported only when it runs.

Exit status: 0 done, 1 the answer is no (``explain`` refused, ``check`` found a fault that may mend itself), 2 the
operator has something to mend.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final, Literal

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
def idp(*, listen: str = "127.0.0.1:9099", project: str = "demo-local", database: Path | None = None) -> None:
    """Run the embedded identity provider alone, for an application that uses the middleware. Never for production.

    Parameters
    ----------
    listen
        Where it listens, as host:port.
    project
        The project that its tokens belong to.
    database
        Keep accounts and keys in this SQLite file. Default: keep nothing.
    """
    from gateway.cli.idp import run_idp

    run_idp(listen=listen, project=project, database=database)


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


@app.command
def snippets(
    proxy: Literal["nginx", "traefik", "caddy", "envoy"],
    /,
    *,
    config: ConfigFile = None,
    site: str = "",
    port: int = 80,
    upstream: str = "",
) -> None:
    """Print a configuration for a proxy that asks this gateway about each request (forward auth).

    Parameters
    ----------
    proxy
        Which proxy.
    config
        The TOML file.
    site
        The site's host name. Default: any.
    port
        Where the proxy listens.
    upstream
        The backend, where the file names several.
    """
    from gateway.cli.snippets import run_snippets
    from gateway.forward_auth import Dialect

    run_snippets(Dialect(proxy), config, site=site, port=port, upstream=upstream)


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


functions: Final = App(name="functions", help="Blocking functions: try them, register them, see what is registered.")
app.command(functions)


@functions.command(name="serve")
def serve_functions(name: str | None = None, /, *, config: ConfigFile = None, listen: str | None = None) -> None:
    """Answer events of Identity Platform until stopped.

    Parameters
    ----------
    name
        A `BlockingFunctions` as `module:name`; looked for in this directory too.
    config
        A TOML file, for its ready-made functions; `name` then stands for `functions.handlers`.
    listen
        Where to listen, as host:port. Default: the platform's PORT, else 127.0.0.1:8081.
    """
    from gateway.cli.functions_serve import run_functions_serve

    run_functions_serve(name, config, listen=listen)


@functions.command
def invoke(  # noqa: PLR0913 - each is an option of the command
    event: str,
    /,
    *,
    url: str | None = None,
    module: Annotated[str | None, Parameter(name="--app")] = None,
    user: str = "ada@example.com",
    ip: str = "203.0.113.9",
    provider: str = "password",
    locale: str | None = None,
    user_agent: str = "gateway functions invoke",
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    config: ConfigFile = None,
    project: str | None = None,
    unsigned: bool = False,
    error_format: Literal["documented", "raw", "emulator"] = "documented",
    show_event: bool = False,
) -> int:
    """Make an event up, have functions answer it, and print what that does to the user and the token.

    The exit status is 1 when the answer is a refusal.

    Parameters
    ----------
    event
        before-create, before-sign-in, before-email or before-sms.
    url
        Where the function is. The event is signed with the key of the embedded provider that the configuration names.
    module
        Run the functions of `module:name` in this process instead; nothing about the event is verified then. With
        neither, the functions that the configuration names are run.
    user
        An e-mail address, a phone number, or a JSON file with a whole `user_record`.
    ip
        The address that the person signs in from.
    provider
        How: password, emailLink, phone, google.com, saml.… and so on.
    locale
        The person's language, such as fr.
    user_agent
        The person's browser.
    set_
        Any field of the event as `path=value`, such as `user_record.email_verified=true`; may be repeated. An empty
        value removes the field.
    config
        The TOML file, for the project and the provider's database.
    project
        The project, instead of the file's; without either, demo-project.
    unsigned
        Send the event as the official emulator does, for functions in emulator mode.
    error_format
        How a refusal is written for clients: documented, raw or emulator.
    show_event
        Print the event's claims first.
    """
    from gateway.cli.functions import Made, Target, run_invoke

    made = Made(event=event, user=user, ip=ip, provider=provider, locale=locale, user_agent=user_agent, changes=set_)
    target = Target(url=url, app=module, config=config, project=project, unsigned=unsigned, error_format=error_format)
    return run_invoke(made, target, show_event=show_event)


@functions.command
def register(
    url: str,
    /,
    *,
    event: tuple[str, ...] = (),
    forward: tuple[str, ...] = (),
    project: str | None = None,
    config: ConfigFile = None,
    emulator: str | None = None,
    dry_run: bool = False,
) -> int:
    """Have Identity Platform call a function, with application default credentials.

    What is registered for other events stays.

    Parameters
    ----------
    url
        The function's public address; from then on the audience of its events.
    event
        An event to call it for; may be repeated. Without any: before-create and before-sign-in.
    forward
        A credential of other providers that functions get: id-token, access-token or refresh-token; may be repeated.
        Without any, that stays as it is.
    project
        The project.
    config
        The TOML file, for the project and a development provider.
    emulator
        The address of an emulator or embedded provider to register with instead, such as 127.0.0.1:9099.
    dry_run
        Print the request and send nothing.
    """
    from gateway.cli.functions_register import run_register, service_of

    service = service_of(config, project, emulator)
    return run_register(url, service, events=event, forward=forward, dry_run=dry_run)


@functions.command
def status(
    *, project: str | None = None, config: ConfigFile = None, emulator: str | None = None, json: bool = False
) -> int:
    """Print which functions are registered; the exit status is 1 when none are.

    Parameters
    ----------
    project
        The project.
    config
        The TOML file, for the project and a development provider.
    emulator
        The address of an emulator or embedded provider to ask instead, such as 127.0.0.1:9099.
    json
        Print a JSON object instead of lines.
    """
    from gateway.cli.functions_register import run_status, service_of

    return run_status(service_of(config, project, emulator), as_json=json)


keys: Final = App(name="keys", help="The keys that assertions for backends are signed with.")
app.command(keys)


@keys.command
def rotate(*, config: ConfigFile = None) -> None:
    """Add a key. It is published at once and signs ten minutes later; nothing that was signed before becomes invalid.

    Parameters
    ----------
    config
        The TOML file, which names the file of the keys. Running gateways read that one again by themselves.
    """
    from gateway.cli.keys import run_rotate

    run_rotate(config)


@keys.command(name="list")
def list_keys(*, config: ConfigFile = None) -> None:
    """Show the keys, when each signs and which are published.

    Parameters
    ----------
    config
        The TOML file.
    """
    from gateway.cli.keys import run_list

    run_list(config)


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
