"""What the configuration says, in the words of the parts that are to do it. Nothing here opens or reads anything."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from gateway.adapters.geoip import GeoFiles, GeoFilesLocator
from gateway.http.cookies import SessionCookieSettings
from gateway.http.endpoints import LoginSettings
from gateway.http.scripts import WorkerApp, WorkerSettings
from gateway.observe.decisions import DecisionLog, JsonLines, NoLog, text_line
from gateway.proxy.limits import Limits
from gateway.proxy.live import LiveSettings

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.config.model import Config
    from gateway.core.ports import AuditSink, Clock
    from gateway.services import ServiceAddresses


def locator_of(loaded: Loaded, clock: Clock) -> GeoFilesLocator | None:
    """What the configured databases say of addresses; None when there are none. Nothing is read yet.

    :raises ConfigError: a database is configured and the package that reads it is not installed.
    """
    network = loaded.config.network
    asn, country, relay, hosting = (
        loaded.directory / path if path else None
        for path in (network.asn_db, network.country_db, network.relay_list, network.hosting_list)
    )
    files = GeoFiles(asn, country, relay, hosting)
    return GeoFilesLocator(files, clock, max_age=network.max_data_age) if files.named() else None


def cookie_settings(config: Config) -> SessionCookieSettings:
    """The session cookie."""
    session = config.session
    app = config.worker.apps[0].name
    return SessionCookieSettings(
        session.cookie, session.cookie_name, int(session.cookie_lifetime), session.sdk_cookies, app
    )


def login_settings(config: Config, services: ServiceAddresses, demo_account: Mapping[str, str] | None) -> LoginSettings:
    """The login page."""
    return LoginSettings(
        api_key=config.worker.apps[0].api_key or config.firebase.api_key,
        project_id=config.firebase.project_id,
        auth_domain=config.firebase.auth_domain,
        emulator_url=services.browser_emulator,
        title=config.login.title,
        home=config.login.home,
        providers=config.login.providers,
        return_to=config.login.return_to,
        connect=services.connect,
        demo=demo_account,
    )


def worker_settings(config: Config, services: ServiceAddresses) -> WorkerSettings:
    """The service worker."""
    worker = config.worker
    return WorkerSettings(
        api_key=config.firebase.api_key,
        token_url=services.token,
        path=config.listen.worker,
        apps=tuple(WorkerApp(app.api_key, app.name, app.tenants) for app in worker.apps),
        excluded=worker.excluded,
        cookie=config.session.cookie != "off",
        enabled=worker.enabled,
        sdk=worker.sdk,
        own=worker.own,
    )


def client_limits(config: Config) -> Limits:
    """How much clients may take."""
    limits = config.limits
    return Limits(
        head=limits.head,
        idle=limits.idle,
        connections=limits.connections,
        per_peer=limits.per_peer,
        body=limits.body,
        min_rate=limits.min_rate,
        upload_window=limits.upload_window,
        download_window=limits.download_window,
    )


def live_settings(config: Config) -> LiveSettings:
    """How connections that last are looked after.

    Twice within ``max_staleness`` at least: that tells the revocation source that their users are still there, and it
    keeps its promise only for those.
    """
    session, websocket = config.session, config.websocket
    recheck = min(session.recheck_streams, config.revocation.max_staleness / 2)
    return LiveSettings(recheck, session.stream_grace, websocket.idle_timeout, websocket.max_message)


def decision_log(config: Config) -> AuditSink:
    """Where decisions are written."""
    if config.log.decisions == "off":
        return NoLog()
    key = config.log.pseudonym_key.encode()
    return DecisionLog(JsonLines(key) if config.log.decisions == "json" else partial(text_line, key=key))
