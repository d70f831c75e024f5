"""The composition root: from a configuration to a running gateway. The only module that knows everyone.

Nothing is looked up globally: every part gets what it needs through its constructor, here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from gateway.adapters.firebase_users import (
    AccountCredentials,
    ApplicationDefault,
    BearerSecret,
    FirebaseDirectory,
    ServiceAccountFile,
)
from gateway.adapters.google_keys import PublishedKeys
from gateway.adapters.revocation_cache import RevocationCache
from gateway.assets import load_assets
from gateway.clock import SystemClock
from gateway.config.rules import policy_routes
from gateway.core.client_ip import AddressResolver
from gateway.errors import ConfigError, DependencyError
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints, LoginSettings, WorkerSettings
from gateway.http.reply import Replies
from gateway.observe.decisions import DecisionLog, NoLog, json_line, text_line
from gateway.observe.health import admin_application, listen
from gateway.proxy.server import ProxyServer
from gateway.proxy.upstream import Timeouts, Upstream
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.verifier import IdTokenVerifier

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.config.load import Loaded
    from gateway.config.model import Config
    from gateway.core.claims import Principal
    from gateway.core.ports import AddressSource, AuditSink

EMULATOR_SECRET: Final = "owner"  # noqa: S105 - known to everybody, and good on loopback only
"""The bearer token that Auth emulators take for privileged calls, on loopback (firebase-admin sends the same)."""

SHUTDOWN_GRACE: Final = 10.0
"""Seconds that requests in flight may take once the gateway stops."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceAddresses:
    """Where the services of a project are: Google's, their replacements, or one emulator.

    ``browser_emulator`` is the origin that the login page's SDK is pointed at, empty for Google itself.
    """

    certificates: str
    accounts: str | None
    token: str
    connect: tuple[str, ...]
    browser_emulator: str


def service_addresses(config: Config) -> ServiceAddresses:
    """The addresses that a configuration means.

    The emulator form puts Google's host name in front of each path (``identity-toolkit.md`` section 1), which is what
    the Firebase SDKs do when they are pointed at an emulator.
    """
    firebase = config.firebase
    if firebase.emulator is not None:
        origin = f"http://{firebase.emulator}"
        return ServiceAddresses(
            certificates=f"{origin}/www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com",
            accounts=f"{origin}/identitytoolkit.googleapis.com",
            token=f"{origin}/securetoken.googleapis.com/v1/token",
            connect=(),
            browser_emulator=origin,
        )
    endpoints = firebase.endpoints
    is_google = endpoints.identity_toolkit == type(endpoints)().identity_toolkit
    return ServiceAddresses(
        certificates=endpoints.id_token_certificates,
        accounts=None if is_google else endpoints.identity_toolkit,
        token=f"{endpoints.secure_token}/v1/token",
        connect=(endpoints.identity_toolkit.origin, endpoints.secure_token.origin),
        browser_emulator="",
    )


def account_credentials(loaded: Loaded) -> AccountCredentials | None:
    """How account look-ups are authorised; None when revocation checks are switched off."""
    firebase = loaded.config.firebase
    if firebase.credentials == "none":
        return None
    if firebase.emulator is not None:
        return BearerSecret(EMULATOR_SECRET)
    if firebase.credentials == "adc":
        return ApplicationDefault()
    return ServiceAccountFile(loaded.directory / firebase.credentials.removeprefix("file:"))


class Gateway:
    """A gateway that can be opened, started and closed once.

    ``open`` prepares everything that judging needs; ``start`` also listens. ``addresses``, ``audit`` and
    ``demo_account`` replace what the configuration says, for the demo and for tests.

    :raises ConfigError: the configuration cannot be carried out.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        addresses: AddressSource | None = None,
        audit: AuditSink | None = None,
        demo_account: Mapping[str, str] | None = None,
        generation: int = 0,
    ) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._services = service_addresses(loaded.config)
        self._addresses: AddressSource = addresses or AddressResolver(
            network.block for network in loaded.config.listen.trusted_proxies
        )
        self._audit: AuditSink = audit or _decision_log(loaded.config)
        self._demo_account = demo_account
        self._generation = generation
        self._session: aiohttp.ClientSession | None = None
        self._keys: PublishedKeys | None = None
        self._directory: FirebaseDirectory | None = None
        self._revocation: RevocationCache | None = None
        self._guard: SessionGuard | None = None
        self._server: ProxyServer | None = None
        self._admin: web.AppRunner | None = None
        self._port = 0

    @property
    def guard(self) -> SessionGuard:
        """The judge.

        :raises RuntimeError: the gateway has not been opened.
        """
        if self._guard is None:
            raise RuntimeError("the gateway is not open")
        return self._guard

    @property
    def url(self) -> str:
        """Address of the public listener."""
        host = self._config.listen.public.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    async def open(self) -> None:
        """Prepare keys, accounts and the guard, without listening.

        Certificates and accounts that cannot be reached are no error here: requests get 503 until they can.

        :raises ConfigError: credentials are missing or unusable.
        """
        config = self._config
        clock = SystemClock()
        development = config.firebase.emulator is not None
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=True)
        self._keys = PublishedKeys(self._services.certificates, self._session, clock, accept_local=development)
        credentials = account_credentials(self._loaded)
        if credentials is not None:
            self._directory = FirebaseDirectory(
                config.firebase.project_id, credentials, endpoint=self._services.accounts
            )
            self._revocation = RevocationCache(
                self._directory,
                clock,
                max_staleness=config.revocation.max_staleness,
                outage_window=config.revocation.outage_window,
            )
            await self._revocation.start()
        await self._keys.start()
        rules = IdTokenRules(
            config.firebase.project_id, frozenset(config.firebase.tenants), int(config.firebase.clock_skew)
        )
        self._guard = SessionGuard(
            routes=policy_routes(config),
            verifier=IdTokenVerifier(rules, self._keys, clock, accept_local_keys=development),
            revocation=self._revocation,
            addresses=self._addresses,
            generation=self._generation,
        )

    async def start(self) -> None:
        """Open, then listen.

        :raises ConfigError: a port is taken, an asset is missing, credentials are unusable.
        """
        config = self._config
        assets = load_assets()
        await self.open()
        replies = Replies(assets, prefix=config.listen.prefix, title=config.login.title, home=config.login.home)
        endpoints = Endpoints(
            assets,
            replies,
            self._login_settings(),
            self._worker_settings(),
            prefix=config.listen.prefix,
            preset=config.network.preset,
        )
        upstreams = {
            upstream.name: Upstream(
                upstream.name,
                upstream.urls,
                Timeouts(upstream.timeouts.connect, upstream.timeouts.first_byte, upstream.timeouts.idle),
            )
            for upstream in config.upstream
        }
        self._server = ProxyServer(self.guard, upstreams, endpoints, replies, self._audit)
        if not config.listen.admin.is_off:
            checks = {"certificates": self._keys_fault}
            self._admin = await listen(admin_application(checks), config.listen.admin.host, config.listen.admin.port)
        self._port = await self._server.start(config.listen.public.host, config.listen.public.port)

    async def close(self) -> None:
        """Finish requests in flight, then let go of everything. Closing what was never opened is harmless."""
        server, self._server = self._server, None
        if server is not None:
            await server.close(SHUTDOWN_GRACE)
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.cleanup()
        revocation, self._revocation = self._revocation, None
        if revocation is not None:
            await revocation.close()
        directory, self._directory = self._directory, None
        if directory is not None:
            await directory.close()
        keys, self._keys = self._keys, None
        if keys is not None:
            await keys.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if isinstance(self._audit, DecisionLog):
            self._audit.flush()

    async def revoke(self, principal: Principal) -> None:
        """End every session of a user, effective here from the next request on.

        :raises DependencyError: the account service does not answer.
        :raises ConfigError: revocation is switched off.
        """
        if self._revocation is None:
            raise ConfigError("$.firebase.credentials", "is none, so nothing can be revoked")
        await self._revocation.revoke_now(principal)

    async def diagnose(self) -> dict[str, str | None]:
        """Ask every dependency once: name to None when it answers, else to what is wrong."""
        found = {"certificates": self._keys_fault()}
        if self._directory is not None:
            try:
                await self._directory.look_up(None, ["gateway-check"])
            except DependencyError as error:
                found["account service"] = str(error)
            else:
                found["account service"] = None
        return found

    def _keys_fault(self) -> str | None:
        if self._keys is None:
            return "not open"
        status = self._keys.status()
        if status.usable:
            return None
        return f"no usable certificates from {status.url}: {status.error or 'not fetched yet'}"

    def _login_settings(self) -> LoginSettings:
        config = self._config
        return LoginSettings(
            api_key=config.firebase.api_key,
            project_id=config.firebase.project_id,
            auth_domain=config.firebase.auth_domain,
            emulator_url=self._services.browser_emulator,
            title=config.login.title,
            home=config.login.home,
            providers=config.login.providers,
            return_to=config.login.return_to,
            connect=self._services.connect,
            demo=self._demo_account,
        )

    def _worker_settings(self) -> WorkerSettings:
        listen_ = self._config.listen
        pages = ("login", "logout", "assets/", "session-worker.js")
        return WorkerSettings(
            api_key=self._config.firebase.api_key,
            token_url=self._services.token,
            path=listen_.worker,
            excluded=tuple(listen_.prefix + page for page in pages),
        )


def _decision_log(config: Config) -> AuditSink:
    if config.log.decisions == "off":
        return NoLog()
    return DecisionLog(json_line if config.log.decisions == "json" else text_line)
