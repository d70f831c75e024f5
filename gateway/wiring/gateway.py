"""The gateway as a whole: opened, started and closed once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import aiohttp

from gateway import __version__
from gateway.adapters.firebase_users import FirebaseDirectory
from gateway.adapters.google_keys import PublishedKeys
from gateway.adapters.memory import MAX_DENIAL, MemoryDenyList
from gateway.adapters.network_memory import InProcessNetworks
from gateway.adapters.revocation_cache import RevocationCache
from gateway.adapters.revoker import LimitedRevoker
from gateway.assets import load_assets
from gateway.clock import SystemClock
from gateway.config.networks import network_settings
from gateway.config.rules import policy_routes
from gateway.core.client_ip import AddressResolver
from gateway.errors import ConfigError, DependencyError
from gateway.guard import FOREVER, SessionGuard
from gateway.http.cookies import sdk_id_cookie
from gateway.http.cookies_proxy import SdkCookies, SdkServices
from gateway.http.endpoints import Endpoints
from gateway.http.reply import Replies
from gateway.http.session_cookie import SessionCookieEndpoint
from gateway.http.sessions import SignOut
from gateway.http.trail import TrailReaders
from gateway.observe.decisions import DecisionLog
from gateway.observe.figures import all_figures, data_figures
from gateway.observe.health import Check, account_service_check, admin_application, listen
from gateway.observe.metrics import CountingSink, Metrics, TimedVerifier, metrics_page
from gateway.policy.networks import NetworkJudge
from gateway.proxy.server import ProxyServer
from gateway.proxy.upstream import Timeouts, Upstream
from gateway.services import account_credentials, service_addresses
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.session_cookie import session_cookie_rules
from gateway.tokens.verifier import IdTokenVerifier, SessionCookieVerifier
from gateway.wiring.settings import cookie_settings, decision_log, locator_of, login_settings, worker_settings

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.adapters.geoip import GeoFilesLocator
    from gateway.config.load import Loaded
    from gateway.core.claims import Principal
    from gateway.core.credential import CookieName
    from gateway.core.ports import AddressSource, AuditSink, Clock, Verifier
    from gateway.tokens.id_token import TokenRules

SHUTDOWN_GRACE: Final = 10.0
"""Seconds that requests in flight may take once the gateway stops."""

_log = logging.getLogger(__name__)


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
            (network.block for network in loaded.config.listen.trusted_proxies), loaded.config.listen.forwarded
        )
        self._audit: AuditSink = audit or decision_log(loaded.config)
        self._demo_account = demo_account
        self._generation = generation
        self._clock: Clock = SystemClock()
        self._session: aiohttp.ClientSession | None = None
        self._keys: PublishedKeys | None = None
        self._cookie_keys: PublishedKeys | None = None
        self._directory: FirebaseDirectory | None = None
        self._revocation: RevocationCache | None = None
        self._locator: GeoFilesLocator | None = None
        self._revoker: LimitedRevoker | None = None
        self._guard: SessionGuard | None = None
        longest = min(loaded.config.session.max_age or MAX_DENIAL, MAX_DENIAL)
        self._deny_list = MemoryDenyList(self._clock, lifetime=longest)
        self._metrics = Metrics()
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
        clock = self._clock
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=True)
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
        verifier = await self._id_tokens(self._session)
        verifier = TimedVerifier(verifier, self._metrics.verify)
        self._guard = SessionGuard(
            routes=policy_routes(config),
            verifier=verifier,
            cookies=await self._cookies(verifier),
            revocation=self._revocation,
            deny_list=self._deny_list,
            networks=await self._networks(),
            revoker=self._revoker,
            addresses=self._addresses,
            clock=clock,
            max_age=config.session.max_age or FOREVER,
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
            login_settings(config, self._services, self._demo_account),
            worker_settings(config, self._services),
            prefix=config.listen.prefix,
            preset=config.network.preset,
            sign_out=SignOut(
                replies,
                self._deny_list,
                self._revocation.revoke_now if self._revocation is not None else None,
                prefix=config.listen.prefix,
            ),
            session_cookie=SessionCookieEndpoint(
                cookie_settings(self._config),
                replies,
                SystemClock(),
                address=f"{config.listen.prefix}session",
                preset=config.network.preset,
                source=self._directory,
            ),
            sdk_cookies=self._sdk_cookies(replies),
        )
        upstreams = {
            upstream.name: Upstream(
                upstream.name,
                upstream.urls,
                Timeouts(upstream.timeouts.connect, upstream.timeouts.first_byte, upstream.timeouts.idle),
            )
            for upstream in config.upstream
        }
        readers = TrailReaders(network.block for network in config.log.explain_to)
        self._server = ProxyServer(
            self.guard,
            upstreams,
            endpoints,
            replies,
            CountingSink(self._metrics, self._audit),
            readers=readers,
            proxy_protocol=config.listen.proxy_protocol,
        )
        if not config.listen.admin.is_off:
            self._server.on_answer = self._metrics.answered
            self._admin = await listen(self._admin_application(), config.listen.admin.host, config.listen.admin.port)
        self._port = await self._server.start(config.listen.public.host, config.listen.public.port)

    async def close(self) -> None:
        """Finish requests in flight, then let go of everything. Closing what was never opened is harmless."""
        server, self._server = self._server, None
        if server is not None:
            await server.close(SHUTDOWN_GRACE)
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.cleanup()
        locator, self._locator = self._locator, None
        if locator is not None:
            await locator.close()
        revoker, self._revoker = self._revoker, None
        if revoker is not None:
            await revoker.close()
        revocation, self._revocation = self._revocation, None
        if revocation is not None:
            await revocation.close()
        directory, self._directory = self._directory, None
        if directory is not None:
            await directory.close()
        keys, self._keys = self._keys, None
        if keys is not None:
            await keys.close()
        cookie_keys, self._cookie_keys = self._cookie_keys, None
        if cookie_keys is not None:
            await cookie_keys.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if isinstance(self._audit, DecisionLog):
            self._audit.flush()

    def _admin_application(self) -> web.Application:
        checks: dict[str, Check] = {"certificates": self._keys_fault}
        if self._revocation is not None:
            window = self._config.revocation.outage_window
            checks["account service"] = account_service_check(self._revocation.status, window)
        if self._cookie_keys is not None:
            checks["session cookie certificates"] = self._cookie_keys_fault
        sources = {"id_token": self._keys, "session_cookie": self._cookie_keys}
        keys = {kind: source for kind, source in sources.items() if source is not None}
        self._metrics.watch(*all_figures(__version__, self._audit, self._deny_list, keys, self._revocation))
        if self._locator is not None:
            self._metrics.watch(*data_figures(self._locator.ages))
        return admin_application(checks, metrics_page(self._metrics))

    async def _cookies(self, id_tokens: Verifier) -> dict[CookieName, Verifier]:
        """The cookies that carry a session, each with who verifies what it carries."""
        session = self._config.session
        cookies: dict[CookieName, Verifier] = {}
        if session.cookie == "id_token":
            cookies[cookie_settings(self._config).cookie] = id_tokens
        elif session.cookie == "session_cookie":
            cookies[cookie_settings(self._config).cookie] = self.session_cookies()
            if self._cookie_keys is not None:
                await self._cookie_keys.start()
        if session.sdk_cookies:
            cookies[sdk_id_cookie(self._config.worker.apps[0].name)] = id_tokens
        return cookies

    def session_cookies(self) -> Verifier:
        """A verifier of Firebase session cookies. Their certificates are fetched when the first cookie comes.

        :raises RuntimeError: the gateway has not been opened.
        """
        if self._session is None:
            raise RuntimeError("the gateway is not open")
        firebase = self._config.firebase
        rules = session_cookie_rules(firebase.project_id, frozenset(firebase.tenants), int(firebase.clock_skew))
        if firebase.unsigned_tokens:
            return self._unsigned(rules)
        development = firebase.emulator is not None
        if self._cookie_keys is None:
            self._cookie_keys = PublishedKeys(
                self._services.cookie_certificates,
                self._session,
                self._clock,
                accept_local=development,
                where="$.firebase.endpoints.session_cookie_certificates",
            )
        verifier = SessionCookieVerifier(rules, self._cookie_keys, self._clock, accept_local_keys=development)
        self._cookie_keys.on_change(verifier.keys_changed)
        return verifier

    async def _id_tokens(self, session: aiohttp.ClientSession) -> Verifier:
        firebase = self._config.firebase
        rules = IdTokenRules(firebase.project_id, frozenset(firebase.tenants), int(firebase.clock_skew))
        if firebase.unsigned_tokens:
            _log.warning(
                "firebase.unsigned_tokens is set: whoever reaches this gateway can sign in as anybody of %s",
                firebase.project_id,
            )
            return self._unsigned(rules)
        development = firebase.emulator is not None
        self._keys = PublishedKeys(self._services.certificates, session, self._clock, accept_local=development)
        verifier = IdTokenVerifier(rules, self._keys, self._clock, accept_local_keys=development)
        self._keys.on_change(verifier.keys_changed)
        await self._keys.start()
        return verifier

    async def _networks(self) -> NetworkJudge:
        config = self._config
        self._locator = locator_of(self._loaded, self._clock)
        if self._locator is not None:
            await self._locator.start()
        if self._revocation is not None and config.network.revoke_on:
            self._revoker = LimitedRevoker(self._revocation.revoke_now, self._clock, limit=config.network.revoke_limit)
        return NetworkJudge(
            memory=InProcessNetworks(),
            locator=self._locator,
            clock=self._clock,
            settings=network_settings(config),
        )

    def _unsigned(self, rules: TokenRules) -> Verifier:
        # Imported here, so that without the switch the code is not even loaded.
        from gateway.tokens.unsigned import UnsignedVerifier  # noqa: PLC0415

        return UnsignedVerifier(rules, self._clock)

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
        if self._cookie_keys is not None:
            found["session cookie certificates"] = self._cookie_keys_fault()
        if self._directory is not None:
            try:
                await self._directory.look_up(None, ["gateway-check"])
            except DependencyError as error:
                found["account service"] = str(error)
            else:
                found["account service"] = None
        for status in self._locator.status() if self._locator is not None else ():
            found[f"network.{status.name}"] = None if status.error is None else f"{status.path}: {status.error}"
        return found

    def _keys_fault(self) -> str | None:
        if self._config.firebase.unsigned_tokens:
            return None
        return _fault_of(self._keys)

    def _cookie_keys_fault(self) -> str | None:
        return _fault_of(self._cookie_keys)

    def _sdk_cookies(self, replies: Replies) -> SdkCookies | None:
        if not self._config.session.sdk_cookies or self._session is None or self._services.sdk is None:
            return None
        app = self._config.worker.apps[0]
        services = SdkServices(*self._services.sdk, app.api_key or self._config.firebase.api_key)
        return SdkCookies(services, self._session, replies, SystemClock(), app=app.name)


def _fault_of(keys: PublishedKeys | None) -> str | None:
    if keys is None:
        return "not open"
    status = keys.status()
    if status.usable:
        return None
    return f"no usable certificates from {status.url}: {status.error or 'not fetched yet'}"
