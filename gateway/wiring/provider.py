"""The embedded identity provider, as a configuration describes it, and the functions that it calls.

A development set-up needs no registration: blocking functions of ``[functions]`` are called at their own listener, or
in this process where they have none, unless ``[provider.functions]`` names another address for the event.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from gateway.blocking.builtin import record_sign_in_ip
from gateway.clock import SystemClock
from gateway.idp import Forward, FunctionSettings, IdentityProvider, ProviderSettings
from gateway.wiring.functions import FunctionsServer, development_triggers
from gateway.wiring.settings import locator_of

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.config.provider import ProviderFunctions
    from gateway.core.client_ip import AddressResolver

_KEYS: Final = {
    "before_create": "beforeCreate",
    "before_sign_in": "beforeSignIn",
    "before_email": "beforeSendEmail",
    "before_sms": "beforeSendSms",
}
"""The settings' names of the events, and the wire's."""

_log = logging.getLogger(__name__)


LOCAL_FUNCTION: Final = "https://in-process.run.app/"
"""The address of functions that are called in this process, where ``functions.audience`` names none: of a form that
functions take without one (blocking-functions.md section 1.5). Nothing is sent there."""


class LocalFunctions:
    """The functions that ``[functions]`` names, for a provider in the same process.

    ``triggers`` are the events that have a function.
    """

    def __init__(self, loaded: Loaded) -> None:
        """Load them.

        :raises ConfigError: a function that cannot be loaded or a setting that it refuses.
        """
        clock = SystemClock()
        settings = loaded.config.functions
        self._locator = locator_of(loaded, clock) if settings.sign_in_ip == "network" else None
        self._server = FunctionsServer(loaded, clock, None, self._locator)
        self.uri: Final = next(iter(settings.audiences), LOCAL_FUNCTION)
        self.triggers: Final = {str(event): self.uri for event in self._server.functions.events}

    async def start(self) -> None:
        """Read the databases; the provider need not run yet."""
        if self._locator is not None:
            await self._locator.start()

    async def respond(self, body: bytes) -> tuple[int, Mapping[str, Any]]:
        """Answer an event. The provider's certificates are fetched with the first."""
        functions = self._server.functions
        await functions.start()
        return await functions.respond(body)

    async def close(self) -> None:
        """Let deferred work finish, then let go of everything."""
        await self._server.functions.close()
        await self._server.close()
        if self._locator is not None:
            await self._locator.close()


def provider_of(
    loaded: Loaded, addresses: AddressResolver, functions: LocalFunctions | None = None
) -> IdentityProvider:
    """The provider, not started yet. Mails and texts that it would send are logged.

    :param addresses: finds a client's address; the gateway's own, so that both see the same one.
    :param functions: functions in this process; those that the settings name come first.
    """
    settings = loaded.config.provider
    called = function_settings(settings.functions)
    # Functions of this very gateway are called unless others are named.
    own = development_triggers(loaded) if functions is None else functions.triggers
    called = replace(called, triggers={**own, **called.triggers})
    return IdentityProvider(
        ProviderSettings(
            project_id=loaded.config.firebase.project_id,
            database=loaded.directory / settings.database,
            host=settings.listen.host,
            port=settings.listen.port,
            functions=called,
        ),
        before_sign_in=record_sign_in_ip,
        address_of=addresses.client,
        on_mail=lambda mail: _log.warning("mail to %s: %s", mail.to, mail.link),
        functions=None if functions is None else {functions.uri: functions.respond},
        on_text=lambda text: _log.warning("text to %s: your code is %s", text.to, text.code),
    )


def function_settings(functions: ProviderFunctions) -> FunctionSettings:
    """Blocking functions, in the provider's words."""
    return FunctionSettings(
        triggers={event: uri for key, event in _KEYS.items() if (uri := getattr(functions, key))},
        forward=Forward(
            id_token="id-token" in functions.forward,
            access_token="access-token" in functions.forward,
            refresh_token="refresh-token" in functions.forward,
        ),
        error_format=functions.error_format,
        any_success=functions.any_success,
        deadline=functions.deadline,
        unsigned=functions.unsigned,
        commit_new_user=functions.commit_new_user,
    )
