"""What one configuration makes: the guard, and what the proxy serves with it.

A reload builds a whole new one beside the one at work and swaps them; when anything is wrong with the new one, it is
closed again and nothing has happened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.adapters.assertion_rotation import RotatingKeys
from gateway.adapters.firebase_users import FirebaseDirectory, ServiceAccountFile
from gateway.adapters.geoip import GeoFilesLocator
from gateway.adapters.google_keys import PublishedKeys
from gateway.adapters.memory import MAX_DENIAL
from gateway.adapters.revocation_cache import RevocationCache
from gateway.adapters.revoker import LimitedRevoker
from gateway.config.identity import assertion_settings
from gateway.config.networks import network_settings
from gateway.config.rules import policy_routes
from gateway.core.client_ip import AddressResolver
from gateway.errors import DependencyError
from gateway.files import stamp
from gateway.forward_auth import Dialect, ForwardAuth
from gateway.guard import FOREVER, SessionGuard
from gateway.http.assertion_keys import AssertionKeysEndpoint
from gateway.http.cookies import sdk_id_cookie
from gateway.http.cookies_proxy import SdkCookies, SdkServices
from gateway.http.endpoints import Endpoints
from gateway.http.reply import Replies
from gateway.http.session_cookie import SessionCookieEndpoint
from gateway.http.sessions import SignOut
from gateway.http.trail import TrailReaders
from gateway.mutators.identity import IdentityWriter
from gateway.observe.figures import all_figures, data_figures, upstream_figures
from gateway.observe.health import Check, account_service_check
from gateway.observe.metrics import Figure, TimedVerifier
from gateway.policy.networks import NetworkJudge
from gateway.proxy.upstream import Upstream
from gateway.services import account_credentials, service_addresses
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.session_cookie import session_cookie_rules
from gateway.tokens.verifier import IdTokenVerifier, SessionCookieVerifier
from gateway.wiring.settings import cookie_settings, locator_of, login_settings, worker_settings
from gateway.wiring.upstreams import all_standings, make_upstream, upstream_check, upstream_key

if TYPE_CHECKING:
    from gateway.adapters.firebase_users import AccountCredentials
    from gateway.assets import Assets
    from gateway.config.backends import Upstream as UpstreamTable
    from gateway.config.load import Loaded
    from gateway.core.credential import CookieName
    from gateway.core.ports import AddressSource, Verifier
    from gateway.http.enforce import Enforcer
    from gateway.mutators.assertion import Assertions
    from gateway.tokens.id_token import TokenRules
    from gateway.wiring.lasting import Lasting

_log = logging.getLogger(__name__)


class Assembly:
    """The parts of one configuration. Opened once, closed once.

    :param lasting: what is there before and after this configuration.
    :param addresses: replaces what the configuration says of proxies.
    :param generation: the configuration's number; decisions of another are void.
    :raises ConfigError: the configuration cannot be carried out.
    """

    def __init__(
        self,
        loaded: Loaded,
        lasting: Lasting,
        *,
        addresses: AddressSource | None = None,
        demo_account: Mapping[str, str] | None = None,
        generation: int = 0,
    ) -> None:
        self.loaded = loaded
        self.config = loaded.config
        self.generation = generation
        self.keys: PublishedKeys | None = None
        self.cookie_keys: PublishedKeys | None = None
        self.directory: FirebaseDirectory | None = None
        self.revocation: RevocationCache | None = None
        self.locator: GeoFilesLocator | None = None
        self.guard: SessionGuard | None = None
        self.upstreams: dict[str, Upstream] = {}
        self.assertions: Assertions | None = None
        self.identity = IdentityWriter()
        self._lasting = lasting
        self._lease = lasting.parts.lease()
        self._services = service_addresses(loaded.config)
        self._addresses: AddressSource = addresses or AddressResolver(
            (network.block for network in loaded.config.listen.trusted_proxies), loaded.config.listen.forwarded
        )
        self._demo_account = demo_account

    # ---- life ----

    async def open(self) -> None:
        """Prepare keys, accounts and the guard.

        Certificates and accounts that cannot be reached are no error here: requests get 503 until they can.

        :raises ConfigError: credentials are missing or unusable.
        """
        config, lasting = self.config, self._lasting
        await self._accounts()
        verifier = TimedVerifier(await self._id_tokens(), lasting.metrics.verify)
        self.guard = SessionGuard(
            routes=policy_routes(config),
            verifier=verifier,
            cookies=await self._cookies(verifier),
            revocation=self.revocation,
            deny_list=lasting.deny_list,
            networks=await self._networks(),
            revoker=self._revoker(),
            addresses=self._addresses,
            clock=lasting.clock,
            max_age=config.session.max_age or FOREVER,
            generation=self.generation,
        )

    def adopt(self) -> None:
        """Become the configuration that counts: what lasts is told what changed for it."""
        config, lasting = self.config, self._lasting
        lasting.deny_list.lifetime = min(config.session.max_age or MAX_DENIAL, MAX_DENIAL)
        if self.revocation is not None:
            self.revocation.retune(config.revocation.max_staleness, config.revocation.outage_window)

    async def close(self) -> None:
        """Let go of everything that no other configuration uses. Closing what was never opened is harmless."""
        await self._lease.release()

    # ---- what the proxy serves ----

    def serve(self, assets: Assets) -> tuple[Endpoints, Replies, TrailReaders]:
        """Make the gateway's own addresses and answers, and the backends (:attr:`upstreams`).

        :raises ConfigError: an asset is missing, or a backend cannot be used.
        """
        config, prefix = self.config, self.config.listen.prefix
        for table in config.upstream:
            self.upstreams[table.name] = self._upstream(table)
        replies = Replies(assets, prefix=prefix, title=config.login.title, home=config.login.home)
        self.assertions = self._assertions()
        self.identity = IdentityWriter(self.assertions)
        endpoints = Endpoints(
            assets,
            replies,
            login_settings(config, self._services, self._demo_account),
            worker_settings(config, self._services),
            prefix=prefix,
            preset=config.network.preset,
            sign_out=SignOut(
                replies,
                self._lasting.deny_list,
                self.revocation.revoke_now if self.revocation is not None else None,
                prefix=prefix,
                cookies=cookie_settings(config),
            ),
            session_cookie=SessionCookieEndpoint(
                cookie_settings(config),
                replies,
                self._lasting.clock,
                address=f"{prefix}session",
                preset=config.network.preset,
                source=self.directory,
            ),
            sdk_cookies=self._sdk_cookies(replies),
            assertion_keys=(
                AssertionKeysEndpoint(self.assertions, replies, self._lasting.clock)
                if self.assertions is not None
                else None
            ),
        )
        return endpoints, replies, TrailReaders(network.block for network in config.log.explain_to)

    def questions(self, enforcer: Enforcer) -> ForwardAuth:
        """What answers proxies that only ask; nobody, where no dialect is configured."""
        dialects = [Dialect(name) for name in self.config.forward_auth.dialects]
        return ForwardAuth(enforcer, self.identity, prefix=self.config.listen.prefix, dialects=dialects)

    def _assertions(self) -> Assertions | None:
        """Who makes assertions, with the keys that there are, where a route asks for any."""
        table = self.config.assertion
        if not any(route.identity.assertion for route in self.config.route):
            return None
        settings = assertion_settings(table)
        path = self.loaded.directory / table.keys_file if table.keys_file else None
        keys, new = self._lease.take(
            ("assertions", path, settings, table.rotate_every),
            lambda: RotatingKeys(path, settings, self._lasting.clock, every=table.rotate_every),
            RotatingKeys.close,
        )
        if new:
            keys.start()
        return keys.assertions

    def _upstream(self, table: UpstreamTable) -> Upstream:
        """A backend: the one there is, connections and all, where its table has not changed."""

        def make() -> Upstream:
            return make_upstream(table, self.loaded.directory)

        return self._lease.take(upstream_key(table, self.loaded.directory), make, Upstream.close)[0]

    # ---- what it says of itself ----

    def checks(self) -> dict[str, Check]:
        """What readiness rests on."""
        checks: dict[str, Check] = {"certificates": self.keys_fault}
        if self.revocation is not None:
            window = self.config.revocation.outage_window
            checks["account service"] = account_service_check(self.revocation.status, window)
        if self.cookie_keys is not None:
            checks["session cookie certificates"] = self.cookie_keys_fault
        for name, upstream in self.upstreams.items():
            checks[f"upstream {name}"] = upstream_check(upstream)
        return checks

    def figures(self) -> tuple[Figure, ...]:
        """What its parts tell the metrics."""
        lasting = self._lasting
        sources = {"id_token": self.keys, "session_cookie": self.cookie_keys}
        keys = {kind: source for kind, source in sources.items() if source is not None}
        figures = all_figures(__version__, lasting.sink, lasting.deny_list, keys, self.revocation)
        figures += upstream_figures(all_standings(self.upstreams.values()))
        return figures if self.locator is None else (*figures, *data_figures(self.locator.ages))

    async def diagnose(self) -> dict[str, str | None]:
        """Ask every dependency once: name to None when it answers, else to what is wrong."""
        found = {"certificates": self.keys_fault()}
        if self.cookie_keys is not None:
            found["session cookie certificates"] = self.cookie_keys_fault()
        if self.directory is not None:
            try:
                await self.directory.look_up(None, ["gateway-check"])
            except DependencyError as error:
                found["account service"] = str(error)
            else:
                found["account service"] = None
        for status in self.locator.status() if self.locator is not None else ():
            found[f"network.{status.name}"] = None if status.error is None else f"{status.path}: {status.error}"
        return found

    def keys_fault(self) -> str | None:
        """Why no ID token can be verified; None when one can."""
        return None if self.config.firebase.unsigned_tokens else _fault_of(self.keys)

    def cookie_keys_fault(self) -> str | None:
        """Why no session cookie can be verified; None when one can."""
        return _fault_of(self.cookie_keys)

    # ---- the parts ----

    async def _accounts(self) -> None:
        config = self.config
        credentials = account_credentials(self.loaded)
        if credentials is None:
            return
        project, endpoint = config.firebase.project_id, self._services.accounts
        key = (project, endpoint, _credential_key(credentials))
        directory, _ = self._lease.take(
            ("accounts", *key),
            lambda: FirebaseDirectory(project, credentials, endpoint=endpoint),
            FirebaseDirectory.close,
        )
        # Made in any case, which checks the figures; where there is one for the same accounts, that one goes on.
        candidate = RevocationCache(
            directory,
            self._lasting.clock,
            max_staleness=config.revocation.max_staleness,
            outage_window=config.revocation.outage_window,
        )
        revocation, new = self._lease.take(("revocation", *key), lambda: candidate, RevocationCache.close)
        if new:
            await revocation.start()
        self.directory, self.revocation = directory, revocation

    async def _id_tokens(self) -> Verifier:
        firebase = self.config.firebase
        rules = IdTokenRules(firebase.project_id, frozenset(firebase.tenants), int(firebase.clock_skew))
        if firebase.unsigned_tokens:
            _log.warning(
                "firebase.unsigned_tokens is set: whoever reaches this gateway can sign in as anybody of %s",
                firebase.project_id,
            )
            return self._unsigned(rules)
        self.keys, new = self._published(self._services.certificates, "$.firebase.endpoints.id_token_certificates")
        if new:
            await self.keys.start()
        return self._verifier(IdTokenVerifier, rules, self.keys)

    def session_cookies(self) -> Verifier:
        """A verifier of Firebase session cookies. Their certificates are fetched when the first cookie comes."""
        firebase = self.config.firebase
        rules = session_cookie_rules(firebase.project_id, frozenset(firebase.tenants), int(firebase.clock_skew))
        if firebase.unsigned_tokens:
            return self._unsigned(rules)
        where = "$.firebase.endpoints.session_cookie_certificates"
        self.cookie_keys, _ = self._published(self._services.cookie_certificates, where)
        return self._verifier(SessionCookieVerifier, rules, self.cookie_keys)

    def _published(self, url: str, where: str) -> tuple[PublishedKeys, bool]:
        development = self.config.firebase.emulator is not None
        return self._lease.take(
            ("keys", url, development),
            lambda: PublishedKeys(
                url, self._lasting.session, self._lasting.clock, accept_local=development, where=where
            ),
            PublishedKeys.close,
        )

    def _verifier(
        self, kind: type[IdTokenVerifier | SessionCookieVerifier], rules: TokenRules, keys: PublishedKeys
    ) -> Verifier:
        """A verifier, with the tokens that it remembers where the rules are the same as before."""
        development = self.config.firebase.emulator is not None

        def make() -> IdTokenVerifier | SessionCookieVerifier:
            verifier = kind(rules, keys, self._lasting.clock, accept_local_keys=development)
            keys.on_change(verifier.keys_changed)
            return verifier

        async def close(verifier: IdTokenVerifier | SessionCookieVerifier) -> None:
            keys.leave(verifier.keys_changed)

        return self._lease.take(("verifier", kind, rules, keys.url, development), make, close)[0]

    def _unsigned(self, rules: TokenRules) -> Verifier:
        # Imported here, so that without the switch the code is not even loaded.
        from gateway.tokens.unsigned import UnsignedVerifier  # noqa: PLC0415

        return UnsignedVerifier(rules, self._lasting.clock)

    async def _cookies(self, id_tokens: Verifier) -> dict[CookieName, Verifier]:
        """The cookies that carry a session, each with who verifies what it carries."""
        session = self.config.session
        cookies: dict[CookieName, Verifier] = {}
        if session.cookie == "id_token":
            cookies[cookie_settings(self.config).cookie] = id_tokens
        elif session.cookie == "session_cookie":
            cookies[cookie_settings(self.config).cookie] = self.session_cookies()
            if self.cookie_keys is not None and self.cookie_keys.status().age is None:
                await self.cookie_keys.start()
        if session.sdk_cookies:
            cookies[sdk_id_cookie(self.config.worker.apps[0].name)] = id_tokens
        return cookies

    async def _networks(self) -> NetworkJudge:
        config, lasting = self.config, self._lasting
        # Made in any case, as above.
        candidate = locator_of(self.loaded, lasting.clock)
        if candidate is not None:
            network = config.network
            files = (network.asn_db, network.country_db, network.relay_list, network.hosting_list)
            key = ("locator", self.loaded.directory, files, network.max_data_age)
            make: Callable[[], GeoFilesLocator] = partial(_same, candidate)
            locator, new = self._lease.take(key, make, GeoFilesLocator.close)
            if new:
                await locator.start()
            self.locator = locator
        return NetworkJudge(
            memory=lasting.networks, locator=self.locator, clock=lasting.clock, settings=network_settings(config)
        )

    def _revoker(self) -> LimitedRevoker | None:
        revocation, network = self.revocation, self.config.network
        if revocation is None or not network.revoke_on:
            return None
        # One key for one limit: a reload must not begin the hour anew.
        return self._lease.take(
            ("revoker", id(revocation), network.revoke_limit),
            lambda: LimitedRevoker(revocation.revoke_now, self._lasting.clock, limit=network.revoke_limit),
            LimitedRevoker.close,
        )[0]

    def _sdk_cookies(self, replies: Replies) -> SdkCookies | None:
        if not self.config.session.sdk_cookies or self._services.sdk is None:
            return None
        app = self.config.worker.apps[0]
        services = SdkServices(*self._services.sdk, app.api_key or self.config.firebase.api_key)
        return SdkCookies(services, self._lasting.session, replies, self._lasting.clock, app=app.name)


def _same(part: GeoFilesLocator) -> GeoFilesLocator:
    return part


def _credential_key(credentials: AccountCredentials) -> Hashable:
    """Tells credentials apart, a key file that was replaced under its name included."""
    return (credentials, stamp(credentials.path)) if isinstance(credentials, ServiceAccountFile) else credentials


def _fault_of(keys: PublishedKeys | None) -> str | None:
    if keys is None:
        return "not open"
    status = keys.status()
    if status.usable:
        return None
    return f"no usable certificates from {status.url}: {status.error or 'not fetched yet'}"
