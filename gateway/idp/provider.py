"""The provider as one thing: settings, start, stop, and what the rest of the program asks of it.

The rules this file obeys (``threats.md`` row 15): **a development provider stays on loopback and on demo projects**
unless it is forced, and **a configuration that cannot work stops the start with a clear message**.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from gateway.clock import SystemClock
from gateway.core.client_ip import IPAddress, parse_address
from gateway.core.context import Headers
from gateway.core.ports import Clock, SignInHook
from gateway.errors import ConfigError
from gateway.idp.access import Access, is_loopback
from gateway.idp.accounts import Accounts, Changes, normal_email
from gateway.idp.answers import ERROR_FORMATS
from gateway.idp.claims import check_claims
from gateway.idp.codes import EXPIRED_CODES_KEPT, Codes, Mail, Mailbox, Text
from gateway.idp.events import EVENT_TYPES
from gateway.idp.expiring import Expiring
from gateway.idp.functions import MAX_DEADLINE, Caller, FunctionSettings, InProcess, Registry, is_absolute
from gateway.idp.hooks import Hooks
from gateway.idp.mfa import ENROLLING_LIFETIME, HALF_DONE_LIFETIME
from gateway.idp.passwords import PROFILES, Passwords, ProfileName, check_strength
from gateway.idp.phone import PROOF_LIFETIME
from gateway.idp.project import tenant_switches
from gateway.idp.realm import ProjectConfig, Realm
from gateway.idp.records import KeyPurpose
from gateway.idp.server import AddressOf, Server
from gateway.idp.sessions import DEAD_SESSIONS_KEPT, Sessions
from gateway.idp.signing_keys import KeyRing
from gateway.idp.sms import SmsCodes
from gateway.idp.store import Store, StoreThread
from gateway.idp.tenants import Tenants
from gateway.idp.throttle import GuessThrottle
from gateway.tokens.mint import PrivateKeySource, generate_private_key, sign

DEMO_PREFIX: Final = "demo-"
"""How project ids begin that can never be a real Firebase project (https://firebase.google.com/docs/emulator-suite)."""

MAINTENANCE_SECONDS: Final = 3_600.0
"""Between two looks at the age of keys, codes and sessions; far less than the time a key is published ahead."""

_PROJECT_ID: Final = re.compile(r"[a-z0-9][a-z0-9.:-]{2,61}[a-z0-9]", re.ASCII)
_WHERE: Final = "identity provider"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """How a provider runs.

    ``database`` None keeps everything in memory. ``admin_secret`` is the bearer token of privileged calls; None means
    the emulator's ``owner``, accepted on a loopback bind only. ``force`` allows other binds, and project ids that do
    not begin with ``demo-``. ``public_url`` is the origin in mailed links. ``password_profile`` ``testing`` is for
    suites. ``functions`` are the blocking functions that are registered when it starts.
    """

    project_id: str
    database: Path | None
    host: str = "127.0.0.1"
    port: int = 9099
    admin_secret: str | None = field(default=None, repr=False)
    force: bool = False
    public_url: str | None = None
    email_enumeration_protection: bool = True
    sign_up: bool = True
    password_sign_in: bool = True
    email_link_sign_in: bool = True
    anonymous_sign_in: bool = True
    password_profile: ProfileName = "strong"  # noqa: S105 - the name of a profile
    functions: FunctionSettings = field(default_factory=FunctionSettings)


class IdentityProvider:
    """The embedded identity provider. ``start`` and ``close``, or ``app`` in a test server."""

    def __init__(  # noqa: PLR0913 - each is a way in which tests and commands look in from outside
        self,
        settings: ProviderSettings,
        *,
        before_sign_in: SignInHook | None = None,
        before_create: SignInHook | None = None,
        address_of: AddressOf | None = None,
        on_mail: Callable[[Mail], None] | None = None,
        on_text: Callable[[Text], None] | None = None,
        functions: Mapping[str, InProcess] | None = None,
        clock: Clock | None = None,
        key_source: PrivateKeySource = generate_private_key,
    ) -> None:
        """Nothing is opened yet.

        :param before_sign_in: blocking function asked before tokens are issued.
        :param before_create: blocking function asked before an account is stored.
        :param address_of: finds a client's address; by default the socket's peer and nothing else.
        :param on_mail: called on the event loop with each :class:`Mail`.
        :param on_text: called on the event loop with each :class:`Text`, a code by SMS.
        :param functions: functions that live in this process, by the URL that they are registered under; a call of that
            URL goes to them instead of over HTTP.
        :param key_source: makes RSA keys; a suite hands in one that does not take a tenth of a second.
        """
        self._settings = settings
        self._clock = clock or SystemClock()
        self._key_source = key_source
        self._own_functions = (before_create, before_sign_in)
        self._caller = Caller(functions)
        self._realm: Realm | None = None
        self._runner: web.AppRunner | None = None
        self._port = settings.port
        self.mailbox = Mailbox(on_mail, on_text)
        access = Access(
            loopback=is_loopback(settings.host),
            admin_secret=settings.admin_secret,
            public_host=urlsplit(settings.public_url).hostname if settings.public_url else None,
        )
        server = Server(realm_of=self._opened, access=access, address_of=address_of or socket_address)
        self.app: Final = server.application()
        self.app.cleanup_ctx.append(self._lifetime)

    @property
    def url(self) -> str:
        """The origin that it answers at; after ``start`` with the port that was bound."""
        host = self._settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    async def start(self) -> None:
        """Open the store and the keys, then listen.

        :raises ConfigError: a setting that is refused, a database that cannot be used, or a port that is taken.
        """
        runner = web.AppRunner(self.app, access_log=None)
        try:
            await runner.setup()
            await web.TCPSite(runner, self._settings.host, self._settings.port).start()
        except OSError as error:
            await runner.cleanup()
            raise self._unbindable(error) from None
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening, finish what runs, close the database. Does nothing when it is not running."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def create_account(
        self,
        email: str,
        password: str,
        *,
        uid: str | None = None,
        display_name: str | None = None,
        custom_attributes: Mapping[str, Any] | None = None,
        email_verified: bool = False,
    ) -> str:
        """Create an account, as an administrator would, and answer its uid; one of that address is left as it is.

        :raises WireError: address, password or claims are refused.
        """
        realm = self._opened()
        address = normal_email(email)
        existing = await realm.db.run(realm.accounts.by_email, address)
        if existing is not None:
            return existing.uid
        check_strength(password)
        claims = check_claims(custom_attributes or {})
        candidate = realm.accounts.candidate(
            uid=uid,
            email=address,
            password_hash=await realm.passwords.hash(password),
            display_name=display_name,
            email_verified=email_verified,
            custom_attributes=json.dumps(claims, separators=(",", ":"), ensure_ascii=False) if claims else None,
        )
        return (await realm.db.run(realm.accounts.insert, candidate)).uid

    async def revoke_sessions(self, uid: str) -> None:
        """End every session of an account, like ``revokeRefreshTokens``.

        :raises WireError: ``USER_NOT_FOUND``.
        """
        realm = self._opened()

        def commit() -> None:
            changes = Changes(valid_since=int(self._clock.now()))
            realm.accounts.change(realm.accounts.get(uid), changes)

        await realm.db.run(commit)

    async def rotate_keys(self) -> None:
        """Publish successors of both signing keys; they sign once every verifier had time to fetch them."""
        realm = self._opened()
        await realm.db.run(realm.id_keys.rotate)
        await realm.db.run(realm.cookie_keys.rotate)

    async def sign_event(self, event: Mapping[str, Any]) -> str:
        """An event JWT as this provider sends it to a blocking function, signed with the key of ID tokens."""
        realm = self._opened()
        return await realm.db.run(lambda: sign(event, realm.id_keys.signer()))

    # ---- inside --------------------------------------------------------------------------------------------------

    def _opened(self) -> Realm:
        if self._realm is None:
            raise RuntimeError("the identity provider is not running")
        return self._realm

    def _origin(self) -> str:
        return self._settings.public_url.rstrip("/") if self._settings.public_url else self.url

    async def _lifetime(self, _app: web.Application) -> AsyncIterator[None]:
        """Open before the first request, close after the last (an aiohttp cleanup context)."""
        check_settings(self._settings)
        db = StoreThread()
        try:
            store = await db.open(self._settings.database, self._settings.project_id)
            realm = await db.run(self._assemble, store, db)
        except BaseException:
            await db.close()
            raise
        self._realm = realm
        maintenance = asyncio.create_task(self._maintain(realm))
        try:
            yield
        finally:
            maintenance.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await maintenance
            self._realm = None
            await self._caller.close()
            realm.passwords.close()
            await db.close()

    def _assemble(self, store: Store, db: StoreThread) -> Realm:
        settings = self._settings
        id_keys = KeyRing(KeyPurpose.ID_TOKEN, store, self._clock, self._key_source)
        cookie_keys = KeyRing(KeyPurpose.SESSION_COOKIE, store, self._clock, self._key_source)
        id_keys.maintain()
        cookie_keys.maintain()
        now = int(self._clock.now())
        store.purge(
            sessions_ended_before=now - DEAD_SESSIONS_KEPT,
            codes_expired_before=now - EXPIRED_CODES_KEPT,
        )
        before_create, before_sign_in = self._own_functions
        hooks = Hooks(
            settings.project_id,
            self._clock,
            Registry(settings.functions, self._clock),
            self._caller,
            self.sign_event,
            before_create=before_create,
            before_sign_in=before_sign_in,
        )
        passwords = Passwords(settings.password_profile)
        config = ProjectConfig(
            email_enumeration_protection=settings.email_enumeration_protection,
            sign_up=settings.sign_up,
            password_sign_in=settings.password_sign_in,
            email_link_sign_in=settings.email_link_sign_in,
            anonymous_sign_in=settings.anonymous_sign_in,
        )

        def make(space: Store, config: ProjectConfig, tenant: str | None = None) -> Realm:
            return Realm(
                project_id=settings.project_id,
                project_number=project_number(settings.project_id),
                config=config,
                clock=self._clock,
                db=db,
                accounts=Accounts(space, self._clock, tenant),
                sessions=Sessions(space, id_keys, cookie_keys, self._clock, settings.project_id, tenant),
                codes=Codes(space, self._clock, self._origin, tenant),
                id_keys=id_keys,
                cookie_keys=cookie_keys,
                passwords=passwords,
                hooks=hooks,
                throttle=GuessThrottle(self._clock),
                mailbox=self.mailbox,
                sms_codes=SmsCodes(self._clock),
                half_done=Expiring(self._clock, HALF_DONE_LIFETIME),
                number_proofs=Expiring(self._clock, PROOF_LIFETIME),
                enrolling=Expiring(self._clock, ENROLLING_LIFETIME),
                tenants=tenants,
                tenant=tenant,
            )

        tenants = Tenants(
            store, db, self._clock, lambda tenant, wanted: make(store.of(tenant), tenant_switches(wanted), tenant)
        )
        return make(store, config)

    async def _maintain(self, realm: Realm) -> None:
        while True:
            await asyncio.sleep(MAINTENANCE_SECONDS)
            try:
                await realm.db.run(realm.id_keys.maintain)
                await realm.db.run(realm.cookie_keys.maintain)
            except Exception:  # noqa: BLE001 - a full disk now must not stop the next look
                _log.exception("looking after the signing keys failed; the present ones stay in use")

    def _unbindable(self, error: OSError) -> ConfigError:
        where = f"{self._settings.host}:{self._settings.port}"
        if error.errno == errno.EADDRINUSE:
            return ConfigError(
                where, "the identity provider's port is taken", "stop the other program or choose a port"
            )
        return ConfigError(
            where, f"the identity provider cannot listen there: {error.strerror or error}", "such as 127.0.0.1:9099"
        )


def socket_address(peer: str, _headers: Headers) -> IPAddress | None:
    """The peer of the socket in canonical form. No header is believed."""
    return parse_address(peer)


def check_settings(settings: ProviderSettings) -> None:
    """Refuse settings under which a development provider would be a danger.

    :raises ConfigError: see the module.
    """
    if _PROJECT_ID.fullmatch(settings.project_id) is None:
        raise ConfigError(_WHERE, f"{settings.project_id!r} is no project id", "lower-case letters, digits and dashes")
    if not 0 <= settings.port <= 65_535:  # noqa: PLR2004 - RFC 9293 section 3.1: 16 bits
        raise ConfigError(_WHERE, f"{settings.port} is no port number", "0 to 65535")
    if settings.admin_secret == "":
        raise ConfigError(_WHERE, "the administrator's secret is empty", "leave it out, or choose a long random text")
    if settings.password_profile not in PROFILES:
        raise ConfigError(_WHERE, f"no password profile {settings.password_profile!r}", " or ".join(PROFILES))
    _check_functions(settings.functions)
    if settings.public_url is not None:
        parts = urlsplit(settings.public_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
            raise ConfigError(_WHERE, "the public URL is not an origin", "for example https://auth.example")
    if settings.force:
        if settings.password_profile == "testing" and not is_loopback(settings.host):  # noqa: S105 - a profile
            raise ConfigError(_WHERE, "the testing password profile is refused off loopback", "use 'strong'")
        return
    if not is_loopback(settings.host):
        raise ConfigError(
            _WHERE,
            f"{settings.host} is not a loopback address; this provider is for development",
            "listen on 127.0.0.1, or force it if you know what stands in front of it",
        )
    if not settings.project_id.startswith(DEMO_PREFIX):
        raise ConfigError(
            _WHERE,
            f"{settings.project_id!r} could be a real project",
            f"use a project id that begins with {DEMO_PREFIX!r}, or force it",
        )


def _check_functions(functions: FunctionSettings) -> None:
    for event, uri in functions.triggers.items():
        if event not in EVENT_TYPES:
            raise ConfigError(_WHERE, f"no blocking event {event!r}", ", ".join(EVENT_TYPES))
        if not is_absolute(uri):
            raise ConfigError(_WHERE, f"{uri!r} is no URL of a function", "such as https://fn.example/before-create")
    if not 0 < functions.deadline <= MAX_DEADLINE:
        raise ConfigError(_WHERE, f"no deadline for functions: {functions.deadline:g} s", f"up to {MAX_DEADLINE:g} s")
    if functions.error_format not in ERROR_FORMATS:
        raise ConfigError(_WHERE, f"no error format {functions.error_format!r}", " or ".join(ERROR_FORMATS))


def project_number(project_id: str) -> str:
    """A project number that stays the same for a project id: twelve digits, as Google's."""
    digest = int.from_bytes(hashlib.sha256(project_id.encode("utf-8")).digest()[:8], "big")
    return str(10**11 + digest % (9 * 10**11))
