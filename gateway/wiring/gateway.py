"""The gateway as a whole: opened, started, reloaded and closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gateway.assets import load_assets
from gateway.core.client_ip import parse_address
from gateway.errors import ConfigError
from gateway.observe.decisions import DecisionLog
from gateway.observe.figures import connection_figures, live_figures
from gateway.observe.gathered import families
from gateway.observe.health import Check, Readiness, admin_application, listen, readiness
from gateway.observe.life import reload_figures, tls_figures
from gateway.observe.metrics import metrics_page
from gateway.proxy.redirect import RedirectServer
from gateway.proxy.server import ProxyServer
from gateway.proxy.tls import ServerTls
from gateway.wiring.assembly import Assembly
from gateway.wiring.functions import FunctionsServer
from gateway.wiring.lasting import Lasting
from gateway.wiring.news import Ended, News, Renewed, Revoked
from gateway.wiring.reloads import Reloads, need_restart
from gateway.wiring.settings import client_limits, decision_log, live_settings

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from gateway.config.load import Loaded
    from gateway.core.claims import Claims, Principal
    from gateway.core.client_ip import IPAddress
    from gateway.core.ports import AddressSource, AuditSink, RevocationSource, Standing, Verifier
    from gateway.guard import SessionGuard
    from gateway.observe.gathered import Family
    from gateway.observe.metrics import Figure

SHUTDOWN_GRACE: Final = 10.0
"""Seconds that requests in flight may take once the gateway stops; ``listen.grace`` says otherwise."""

RETIREMENT: Final = 10.0
"""Seconds that a configuration's own parts live on after it was replaced: longer than any judgement waits for one."""

_log = logging.getLogger(__name__)


class Gateway:
    """A gateway that can be opened, started and closed once, and reloaded any number of times in between.

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
        self._started_with = loaded.config
        self._addresses = addresses
        self._own_audit = audit is None
        self._demo_account = demo_account
        self._lasting = Lasting(audit or decision_log(loaded.config))
        self._assembly = self._assemble(loaded, generation)
        self._reloads = Reloads(generation, self._lasting.clock.now())
        self._tls: ServerTls | None = None
        self._server: ProxyServer | None = None
        self._closing: ProxyServer | None = None
        self._figures: tuple[Figure, ...] = ()
        self._redirect: RedirectServer | None = None
        self._functions: FunctionsServer | None = None
        self._admin: web.AppRunner | None = None
        self._retired: dict[Assembly, asyncio.Task[None]] = {}
        self._stopping = False
        self._heard_from: RevocationSource | None = None
        self._port = 0
        self.on_news: Callable[[News], None] | None = None
        """Told of what other processes of this gateway have to know."""

    def _assemble(self, loaded: Loaded, generation: int) -> Assembly:
        return Assembly(
            loaded,
            self._lasting,
            addresses=self._addresses,
            demo_account=self._demo_account,
            generation=generation,
        )

    @property
    def guard(self) -> SessionGuard:
        """The judge.

        :raises RuntimeError: the gateway has not been opened.
        """
        if self._assembly.guard is None:
            raise RuntimeError("the gateway is not open")
        return self._assembly.guard

    @property
    def url(self) -> str:
        """Address of the public listener."""
        host = self._started_with.listen.public.host
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    # ---- life ----

    async def open(self) -> None:
        """Prepare keys, accounts and the guard, without listening.

        Certificates and accounts that cannot be reached are no error here: requests get 503 until they can.

        :raises ConfigError: credentials are missing or unusable.
        """
        await self._assembly.open()
        self._adopt(self._assembly)

    async def start(
        self, *, public: Sequence[socket.socket] | None = None, admin: socket.socket | None = None, alone: bool = True
    ) -> None:
        """Open, then listen.

        :param public: listening sockets for the public listener, instead of what the configuration says.
        :param admin: a listening socket for the admin listener.
        :param alone: this process answers for itself; otherwise another one has the admin and redirect listeners.
        :raises ConfigError: a port is taken, an asset is missing, credentials or certificates are unusable.
        """
        config = self._started_with
        listening = config.listen
        assets = load_assets()
        if listening.tls is not None:
            self._tls = ServerTls.of(listening.tls, self._assembly.loaded.directory)
        await self.open()
        endpoints, replies, readers = self._assembly.serve(assets)
        self._server = ProxyServer(
            self.guard,
            self._assembly.upstreams,
            endpoints,
            replies,
            self._lasting.sink,
            readers=readers,
            limits=client_limits(config),
            live=live_settings(config),
            proxy_protocol=listening.proxy_protocol,
            questions=self._assembly.questions,
            identity=self._assembly.identity,
        )
        self._server.on_answer(self._lasting.metrics.answered)
        if self.on_news is not None:
            self._server.live.on_renewed = self._renewed
        self._watch_figures()
        if not config.functions.listen.is_off:
            # With accounts and data of its own: those of the configuration may go when that is replaced.
            self._functions = FunctionsServer(self._assembly.loaded, self._lasting.clock, None)
            await self._functions.start()
        if alone and (admin is not None or not listening.admin.is_off):
            application = admin_application(self.ready, metrics_page(self._lasting.metrics))
            self._admin = await listen(application, listening.admin.host, listening.admin.port, admin)
        tls = self._tls.context if self._tls is not None else None
        self._port = await self._server.start(listening.public.host, listening.public.port, tls=tls, sockets=public)
        if self._tls is not None:
            self._tls.watch(config.reload.every)
        if alone and listening.redirect is not None:
            self._redirect = RedirectServer(self._port)
            await self._redirect.start(listening.redirect.host, listening.redirect.port)

    async def reload(self, loaded: Loaded) -> None:
        """Go over to another configuration: at once for every new request, while those in flight end with the old one.

        :raises ConfigError: it cannot be carried out; nothing has changed then.
        """
        old, server = self._assembly, self._server
        if server is None:
            raise RuntimeError("the gateway has not been started")
        new = self._assemble(loaded, old.generation + 1)
        try:
            if self._tls is not None:
                self._tls.reload()
            await new.open()
            endpoints, replies, readers = new.serve(load_assets())
            assert new.guard is not None
            server.replace(
                new.guard,
                new.upstreams,
                endpoints=endpoints,
                replies=replies,
                readers=readers,
                questions=new.questions,
                identity=new.identity,
            )
        except BaseException:
            self._reloads.failed()
            await new.close()
            raise
        # Nothing is awaited from here to the end of the swap.
        server.live.settings = live_settings(loaded.config)
        self._assembly = new
        self._adopt(new)
        if self._own_audit and loaded.config.log != old.config.log:
            self._flush()
            self._lasting.sink.inner = decision_log(loaded.config)
        self._watch_figures()
        self._reloads.succeeded(new.generation, self._lasting.clock.now())
        for key in need_restart(self._started_with, loaded.config):
            _log.warning("%s has changed, which takes effect when the gateway is started again", key)
        self._retired[old] = asyncio.create_task(self._retire(old), name="retirement of a configuration")

    async def _retire(self, old: Assembly) -> None:
        """Close an old configuration's own parts when the requests that began with it have been judged."""
        await asyncio.sleep(RETIREMENT)
        del self._retired[old]
        await old.close()

    async def reload_failed(self) -> None:
        """A configuration could not even be read."""
        self._reloads.failed()

    async def close(self, grace: float | None = None) -> None:
        """Finish requests in flight, then let go of everything. Closing what was never opened is harmless.

        :param grace: seconds that they may take; ``listen.grace`` when it is left out.
        """
        self._stopping = True
        self._closing, self._server = self._server, None
        server = self._closing
        redirect, self._redirect = self._redirect, None
        if redirect is not None:
            redirect.close()
        if self._tls is not None:
            self._tls.close()
        if server is not None:
            await server.close(self._assembly.config.listen.grace if grace is None else grace)
        functions, self._functions = self._functions, None
        if functions is not None:
            await functions.close()
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.cleanup()
        retired, self._retired = self._retired, {}
        for retiring in retired.values():
            retiring.cancel()
        await asyncio.gather(*retired.values(), return_exceptions=True)
        for old in (*retired, self._assembly):
            await old.close()
        await self._lasting.close()
        self._flush()

    def hurry(self) -> None:
        """Cut off whatever :meth:`close` still waits for."""
        if self._closing is not None:
            self._closing.hurry()

    # ---- what others ask and tell ----

    async def revoke(self, principal: Principal) -> None:
        """End every session of a user, effective here from the next request on.

        :raises DependencyError: the account service does not answer.
        :raises ConfigError: revocation is switched off.
        """
        if self._assembly.revocation is None:
            raise ConfigError("$.firebase.credentials", "is none, so nothing can be revoked", "adc or file:PATH")
        await self._assembly.revocation.revoke_now(principal)

    def session_cookies(self) -> Verifier:
        """A verifier of Firebase session cookies. Their certificates are fetched when the first cookie comes.

        :raises RuntimeError: the gateway has not been opened.
        """
        if self._assembly.guard is None:
            raise RuntimeError("the gateway is not open")
        return self._assembly.session_cookies()

    async def diagnose(self) -> dict[str, str | None]:
        """Ask every dependency once: name to None when it answers, else to what is wrong."""
        return await self._assembly.diagnose()

    def ready(self) -> Readiness:
        """Whether traffic should come here."""
        stopping: dict[str, Check] = {"stopping": lambda: "the gateway is stopping"} if self._stopping else {}
        functions: dict[str, Check] = {}
        if self._functions is not None:
            functions["function certificates"] = self._functions.functions.fault
        return readiness(self._assembly.checks() | functions | stopping)

    def counted(self) -> list[Family]:
        """All that this process counts, to be shown by another one."""
        return families(self._lasting.metrics)

    def stopping(self) -> None:
        """Be no longer ready: :meth:`close` will follow."""
        self._stopping = True

    def heard(self, news: News) -> None:
        """Take note of what another process of this gateway was told."""
        if isinstance(news, Ended):
            self._lasting.deny_list.heard(news.principal, news.auth_time, news.until)
        elif isinstance(news, Renewed):
            if self._server is not None:
                self._server.live.renewed(news.claims, parse_address(news.client))
        elif self._assembly.revocation is not None:
            self._assembly.revocation.revoked(news.principal, news.moment)

    # ---- inside ----

    def _adopt(self, assembly: Assembly) -> None:
        assembly.adopt()
        self._lasting.deny_list.on_deny = self._ended
        if assembly.revocation is not None:
            assembly.revocation.on_revoked = self._revoked
            if assembly.revocation is not self._heard_from:
                self._heard_from = assembly.revocation
                assembly.revocation.on_change(self._changed)

    def _changed(self, principal: Principal, _standing: Standing) -> None:
        if self._server is not None:
            self._server.live.changed(principal)

    def _renewed(self, claims: Claims, client: IPAddress | None) -> None:
        if self.on_news is not None:
            self.on_news(Renewed(claims, "" if client is None else str(client)))

    def _ended(self, principal: Principal, auth_time: int, until: float) -> None:
        if self.on_news is not None:
            self.on_news(Ended.of(principal, auth_time, until))

    def _revoked(self, principal: Principal, moment: int) -> None:
        if self.on_news is not None:
            self.on_news(Revoked.of(principal, moment))

    def _watch_figures(self) -> None:
        figures = [*self._assembly.figures(), *reload_figures(self._reloads)]
        if self._server is not None:
            figures += [*connection_figures(self._server.bounds.admission), *live_figures(self._server.live)]
        if self._tls is not None:
            figures += tls_figures(self._certificate_left)
        metrics = self._lasting.metrics
        # What the configuration before showed and this one has not is shown no more.
        metrics.figures = [figure for figure in metrics.figures if figure not in self._figures]
        self._figures = tuple(figures)
        metrics.watch(*figures)

    def _certificate_left(self) -> float:
        return self._tls.expires_at - self._lasting.clock.now() if self._tls is not None else 0.0

    def _flush(self) -> None:
        if isinstance(self._lasting.sink.inner, DecisionLog):
            self._lasting.sink.inner.flush()
