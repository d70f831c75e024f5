"""Blocking functions: from the configuration to a running listener."""

from __future__ import annotations

import importlib
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import web

from gateway.adapters.firebase_users import FirebaseDirectory
from gateway.blocking import BlockingFunctions, ready_made
from gateway.blocking.ready_made.smtp import SmtpSender
from gateway.errors import ConfigError, RevocationUnavailable
from gateway.services import account_credentials, service_addresses
from gateway.wiring.settings import locator_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.adapters.geoip import GeoFilesLocator
    from gateway.config.functions import Functions, Photo, VerificationMail
    from gateway.config.load import Loaded
    from gateway.config.model import Config
    from gateway.core.ports import Clock, GeoLocator

DEFAULT_NAMES: Final = ("functions", "app")
"""What a module calls its functions when the configuration names the module alone."""

_SETTINGS: Final = {
    "allow_domains": "$.functions.allowed_domains",
    "default_display_name": "$.functions.display_name",
    "map_claims": "$.functions.claims",
    "recaptcha": "$.functions.recaptcha",
    "screen_photo": "$.functions.photo",
    "sender": "$.functions.verification_mail.sender",
    "store_refresh_tokens": "$.functions.refresh_tokens",
    "trust_providers": "$.functions.trusted_providers",
}
"""Where the errors of ready-made functions are, in the words of the file."""

SHUTDOWN_GRACE: Final = 8.0
"""Seconds that events in flight may take once the program stops: they end by themselves before."""

_LOCALE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)


class FunctionsServer:
    """The listener of ``functions.listen``, with the functions that the configuration names.

    :param locator: tells operator and country of sign-ins; default: what ``network`` names.
    :raises ConfigError: a function that cannot be loaded or a setting that it refuses.
    """

    def __init__(
        self, loaded: Loaded, clock: Clock, directory: FirebaseDirectory | None, locator: GeoFilesLocator | None = None
    ) -> None:
        self._loaded = loaded
        self._own_directory: FirebaseDirectory | None = None
        self._own_locator: GeoFilesLocator | None = None
        settings = loaded.config.functions
        if directory is None and settings.verification_mail is not None:
            directory = self._own_directory = _directory(loaded)
        if locator is None and settings.sign_in_ip == "network":
            locator = self._own_locator = locator_of(loaded, clock)
        self.functions: Final = configured_functions(loaded, directory, locator)
        self._runner: web.AppRunner | None = None
        self._port = settings.listen.port if not settings.listen.is_off else 0

    @property
    def url(self) -> str:
        """Where it listens."""
        host = self._loaded.config.functions.listen.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    async def start(self) -> None:
        """Fetch certificates, then listen.

        :raises ConfigError: the address cannot be listened on.
        """
        if self._own_locator is not None:
            await self._own_locator.start()
        listen = self._loaded.config.functions.listen
        self._runner = await listen_for_events(self.functions.application(), listen.host, listen.port)
        self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Finish what runs, deferred work included. Closing what was never started is harmless."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        for part in (self._own_locator, self._own_directory):
            if part is not None:
                await part.close()


async def listen_for_events(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Serve an application of blocking functions.

    :raises ConfigError: the address cannot be listened on.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_GRACE)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            "$.functions.listen",
            f"cannot listen on {host}:{port}: {error.strerror}",
            'stop the other program, or set another address under [functions] listen = "127.0.0.1:8082"',
        ) from None
    return runner


def configured_functions(
    loaded: Loaded, directory: FirebaseDirectory | None, locator: GeoLocator | None
) -> BlockingFunctions:
    """The functions of a configuration: what refuses first, then what changes, then your own.

    :param directory: makes links for verification mails; None where nothing is to be served.
    :raises ConfigError: a function that cannot be loaded or a setting that it refuses.
    """
    try:
        return _configured(loaded, directory, locator)
    except ConfigError as error:
        # What a function refuses it calls by its own name; who wrote the file knows the key.
        raise ConfigError(_SETTINGS.get(error.where, error.where), error.what, error.hint) from None


def _configured(loaded: Loaded, directory: FirebaseDirectory | None, locator: GeoLocator | None) -> BlockingFunctions:
    config, settings = loaded.config, loaded.config.functions
    functions = BlockingFunctions(
        config.firebase.project_id,
        audiences=settings.audiences,
        emulator=config.firebase.unsigned_tokens,
        certificates=service_addresses(config).certificates,
        accept_local_keys=config.firebase.emulator is not None,
        deadline=settings.deadline,
        clock_skew=int(config.firebase.clock_skew),
    )
    _add_conditions(functions, settings)
    if settings.verification_mail is not None:
        functions.before_sign_in(ready_made.demand_verified_email())
    _add_changes(functions, settings, loaded, locator)
    if settings.refresh_tokens is not None:
        functions.before_create(_refresh_tokens(loaded))
    if settings.verification_mail is not None:
        send = _sender(settings.verification_mail, loaded.directory)
        functions.before_create(ready_made.send_verification_mail(partial(_link, directory), send))
    if settings.recaptcha:
        override = _recaptcha(settings)
        if "before_sms" in settings.recaptcha_events:
            functions.before_sms(override)
        if "before_email" in settings.recaptcha_events:
            functions.before_email(override)
    if settings.handlers:
        functions.include(load_functions(settings.handlers, "$.functions.handlers", loaded.directory))
    return functions


def development_audience(config: Config) -> dict[str, Any]:
    """What to override so that events of the embedded provider, which calls our own listener, are for us."""
    if config.functions.listen.is_off:
        return {}
    return {"functions.audience": [*config.functions.audiences, _own_url(config)]}


def development_triggers(loaded: Loaded) -> dict[str, str]:
    """What to register with the embedded provider: event to our own listener, for events that have a function.

    :raises ConfigError: a function that cannot be loaded or a setting that it refuses.
    """
    if loaded.config.functions.listen.is_off:
        return {}
    url = _own_url(loaded.config)
    return {str(event): url for event in configured_functions(loaded, None, None).events}


def _own_url(config: Config) -> str:
    return f"http://{config.functions.listen}/"


def load_functions(name: str, where: str, directory: Path) -> BlockingFunctions:
    """The functions that ``module:name`` names, or ``module`` with one of the default names.

    :param where: names the setting in the error.
    :param directory: modules are looked for here too.
    :raises ConfigError: there are none of that name.
    """
    module, colon, attribute = name.partition(":")
    if colon:
        found = load_object(name, where, directory)
    else:
        loaded = _module(module, where, directory)
        found = next((value for name in DEFAULT_NAMES if (value := getattr(loaded, name, None)) is not None), None)
        attribute = " or ".join(DEFAULT_NAMES)
    if not isinstance(found, BlockingFunctions):
        raise ConfigError(where, f"{module} has no BlockingFunctions called {attribute}", '"module:name"')
    return found


def load_object(name: str, where: str, directory: Path) -> Any:
    """What ``module:name`` names.

    :raises ConfigError: there is no such thing.
    """
    module, _, path = name.partition(":")
    if not module or not path:
        raise ConfigError(where, f"{name!r} is not module:name", '"hooks:functions"')
    found: Any = _module(module, where, directory)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigError(where, f"{module} has no {path}", "name something that stands in the module") from None
    return found


def _module(name: str, where: str, directory: Path) -> Any:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(where, f"{name!r} is no module's name", '"hooks:functions"')
    place = str(directory.resolve())
    if place not in sys.path:
        sys.path.insert(0, place)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(where, f"there is no module {name}", f"it is looked for in {directory} too") from None
        raise


def _function(name: str, where: str, directory: Path) -> Callable[..., Any]:
    found = load_object(name, where, directory)
    if not callable(found):
        raise ConfigError(where, f"{name} is no function")
    function: Callable[..., Any] = found
    return function


def _directory(loaded: Loaded) -> FirebaseDirectory | None:
    credentials = account_credentials(loaded)
    if credentials is None:
        return None
    config = loaded.config
    return FirebaseDirectory(config.firebase.project_id, credentials, endpoint=service_addresses(config).accounts)


def _add_conditions(functions: BlockingFunctions, settings: Functions) -> None:
    """Who may register and sign in at all."""
    if settings.refused_networks:
        refuse = ready_made.refuse_networks(settings.refused_networks)
        functions.before_create(refuse)
        functions.before_sign_in(refuse)
    if settings.trusted_providers:
        functions.before_create(ready_made.trust_providers(*settings.trusted_providers))
    if settings.allowed_domains:
        functions.before_create(ready_made.allow_domains(*settings.allowed_domains))
    if settings.refuse_unverified_email:
        functions.before_create(ready_made.refuse_unverified_email())


def _add_changes(functions: BlockingFunctions, settings: Functions, loaded: Loaded, locator: GeoLocator | None) -> None:
    """What is written into the account and the session."""
    if settings.display_name:
        functions.before_create(ready_made.default_display_name(settings.display_name))
    if settings.photo is not None:
        functions.before_create(_photo(settings.photo, loaded.directory))
    for mapping in settings.claims:
        mapped = ready_made.map_claims(mapping.provider, custom=mapping.custom, session=mapping.session)
        if mapping.custom:
            functions.before_create(mapped)
        functions.before_sign_in(mapped)
    if settings.sign_in_ip == "plain":
        functions.before_sign_in(ready_made.track_sign_in_ip())
    elif settings.sign_in_ip == "network":
        key = loaded.config.network.claim_key.encode()
        functions.before_sign_in(ready_made.track_sign_in_network(key, locator))


def _photo(photo: Photo, directory: Path) -> Any:
    where = "$.functions.photo.judge"
    if photo.judge.startswith(("https://", "http://")):
        headers = {"X-Api-Key": str(photo.api_key)} if photo.api_key else {}
        judge: Callable[[str], Any] = ready_made.HttpJudge(photo.judge, headers, where=where)
    else:
        judge = _function(photo.judge, where, directory)
    return ready_made.screen_photo(judge, photo.replacement, on_error=photo.on_error, timeout=photo.timeout)


def _refresh_tokens(loaded: Loaded) -> Any:
    tokens = loaded.config.functions.refresh_tokens
    assert tokens is not None
    where = "$.functions.refresh_tokens"
    follow_up = _function(tokens.follow_up, f"{where}.follow_up", loaded.directory) if tokens.follow_up else None
    try:
        sealer = ready_made.TokenSealer([str(key) for key in (tokens.key, *tokens.old_keys)])
    except ConfigError as error:
        raise ConfigError(f"{where}.{error.where}", error.what, error.hint) from None
    return ready_made.store_refresh_tokens(
        _function(tokens.save, f"{where}.save", loaded.directory),
        sealer,
        providers=tokens.providers,
        follow_up=follow_up,
    )


def _recaptcha(settings: Functions) -> Any:
    rows = [
        ready_made.RecaptchaRule(
            action=row.action, score_above=row.score_above, phone_prefixes=row.phone_prefixes, types=row.types
        )
        for row in settings.recaptcha
    ]
    otherwise = None if settings.recaptcha_otherwise == "verdict" else settings.recaptcha_otherwise
    return ready_made.override_recaptcha(rows, otherwise=otherwise)


def _sender(mail: VerificationMail, directory: Path) -> Callable[..., Any]:
    if "://" not in mail.send:
        return _function(mail.send, "$.functions.verification_mail.send", directory)
    return SmtpSender(
        mail.send,
        sender=mail.sender,
        subject=mail.subject,
        text=mail.text,
        user=mail.user,
        password=str(mail.password),
    )


async def _link(directory: FirebaseDirectory | None, email: str, locale: str | None, tenant: str | None) -> str:
    if directory is None:
        raise RevocationUnavailable("there is no account service to make links")
    link = await directory.verification_link(tenant, email)
    if link is None:
        raise ready_made.NoAccountYet
    return in_language(link, locale)


def in_language(link: str, locale: str | None) -> str:
    """The link to the page in a language: firebase-admin cannot ask for one, and the page reads it off the link."""
    if locale is None or _LOCALE.fullmatch(locale) is None:
        return link
    parts = urlsplit(link)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "lang"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("lang", locale)])))
