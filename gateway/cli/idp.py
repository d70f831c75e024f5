"""``gateway idp``: the embedded identity provider alone, for applications with the middleware."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from gateway.blocking.builtin import record_sign_in_ip
from gateway.cli.serve import run, set_up_logging, until_signalled
from gateway.config.types import HostPort
from gateway.errors import ConfigError

DEFAULT_LISTEN: Final = "127.0.0.1:9099"
"""Where an Auth emulator listens."""

_log = logging.getLogger("gateway")


def run_idp(*, listen: str, project: str, database: Path | None) -> None:
    """Run the provider until SIGINT or SIGTERM.

    :param database: the SQLite file; None to keep nothing.
    :raises ConfigError: the address is none, or is taken.
    """
    try:
        address = HostPort.parse(listen)
    except ValueError as error:
        raise ConfigError("--listen", str(error), "such as 127.0.0.1:9099") from None
    set_up_logging()
    run(_serve(address, project, database))


async def _serve(listen: HostPort, project: str, database: Path | None) -> None:
    from gateway.idp import IdentityProvider, ProviderSettings

    settings = ProviderSettings(project_id=project, database=database, host=listen.host, port=listen.port)
    provider = IdentityProvider(
        settings,
        before_sign_in=record_sign_in_ip,
        on_mail=lambda mail: _log.warning("mail to %s: %s", mail.to, mail.link),
        on_text=lambda text: _log.warning("text to %s: your code is %s", text.to, text.code),
    )
    await provider.start()
    try:
        _log.warning("identity provider for %s at %s; never use it for real users", project, provider.url)
        _log.info('in the settings of your application: [firebase] emulator = "%s"', listen)
        await until_signalled()
    finally:
        await asyncio.shield(provider.close())
