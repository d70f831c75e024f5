"""What must fit together between the keys of a configuration.

The rule this file obeys: *a development identity provider and a production gateway never meet.* ``firebase.emulator``
is the one switch for development; it takes a loopback address only, and without it every endpoint is reached over https
or loopback, ``FIREBASE_AUTH_EMULATOR_HOST`` must not be set (firebase-admin would then check nothing), and keys that
bear the embedded provider's mark are refused by the verifier. ``firebase.unsigned_tokens`` gives up signatures, so it
takes all of that together with a project that cannot exist and a listener that nobody else reaches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.config.access import cors, requirements
from gateway.config.backends import check_upstream, path_rewrite
from gateway.config.functions import check_functions
from gateway.config.identity import check_telling, claim_fields
from gateway.config.limits import check_limits
from gateway.config.model import Config
from gateway.config.provider import check_provider_functions
from gateway.errors import ConfigError
from gateway.policy.baselines import MIN_KEY
from gateway.policy.routes import Route as PolicyRoute
from gateway.policy.routes import RouteTable
from gateway.tokens.id_token import MAX_SKEW

EMULATOR_VARIABLE: Final = "FIREBASE_AUTH_EMULATOR_HOST"
EMULATOR_PROJECT_PREFIX: Final = "demo-"
"""Ids of projects that exist in emulators only (Firebase Local Emulator Suite, "Demo projects")."""

_MIN_STALENESS: Final = 0.1
"""Seconds; below this the gateway would do nothing but look users up."""

MAX_WORKERS: Final = 256
"""Processes; more cores than any machine that this was tried on."""
MIN_LOOK: Final = 0.05
"""Seconds between two looks at files; each look is a call of the system for each file."""
_APP_NAME: Final = re.compile(r"[A-Za-z0-9._\[\]-]{1,64}")
MIN_RECHECK: Final = 1.0
MAX_RECHECK: Final = 3600.0
"""Seconds: judging again costs a look-up at best, and an ID token lives an hour."""
MAX_STREAM_GRACE: Final = 300.0
"""Seconds: as long as the largest clock skew."""

MIN_COOKIE_LIFETIME: Final = 300.0
MAX_COOKIE_LIFETIME: Final = 14 * 86_400.0
"""Seconds (Google's page "Manage session cookies")."""


def check_rules(config: Config, environment: Mapping[str, str], *, backends: bool = True) -> None:
    """Check everything that a single key cannot show.

    :param backends: there must be an upstream and a route.
    :raises ConfigError: at the first thing that does not fit.
    """
    _check_firebase(config, environment)
    _check_unsigned(config)
    _check_listen(config)
    check_limits(config.limits)
    _check_network(config)
    _check_worker(config)
    _check_session(config)
    if backends:
        _check_upstreams(config)
    check_functions(config)
    check_provider_functions(config.provider.functions)
    check_telling(config)
    policy_routes(config)


def _check_firebase(config: Config, environment: Mapping[str, str]) -> None:
    firebase = config.firebase
    if not firebase.project_id or not firebase.project_id.isascii() or any(c in firebase.project_id for c in "/ \t"):
        raise ConfigError(
            "$.firebase.project_id", "is not a project id", "the id, not the name, from the project's settings"
        )
    if firebase.clock_skew > MAX_SKEW:
        raise ConfigError("$.firebase.clock_skew", f"is more than {MAX_SKEW} seconds", "mend the clock instead")
    if firebase.credentials not in {"adc", "none"} and not firebase.credentials.startswith("file:"):
        raise ConfigError(
            "$.firebase.credentials", "is none of adc, none and file:PATH", 'such as "file:service-account.json"'
        )
    if config.revocation.max_staleness < _MIN_STALENESS:
        raise ConfigError("$.revocation.max_staleness", f"is less than {_MIN_STALENESS} seconds", 'such as "60s"')
    if firebase.emulator is not None:
        if not firebase.emulator.is_loopback:
            raise ConfigError(
                "$.firebase.emulator", "is not a loopback address", "development providers stay on this machine"
            )
        return
    if environment.get(EMULATOR_VARIABLE):
        raise ConfigError(
            EMULATOR_VARIABLE,
            "is set, which makes firebase-admin accept unsigned tokens",
            "unset it; to use a development provider set firebase.emulator",
        )
    for name in firebase.endpoints.__struct_fields__:
        url = getattr(firebase.endpoints, name)
        if not url.is_private_transport:
            raise ConfigError(f"$.firebase.endpoints.{name}", "is plain http beyond this machine", "use https")


def _check_unsigned(config: Config) -> None:
    if not config.firebase.unsigned_tokens:
        return
    where = "$.firebase.unsigned_tokens"
    if config.firebase.emulator is None:
        raise ConfigError(where, "needs firebase.emulator", "unsigned tokens come from an Auth emulator only")
    if not config.firebase.project_id.startswith(EMULATOR_PROJECT_PREFIX):
        raise ConfigError(
            where,
            f"needs a project_id that starts with {EMULATOR_PROJECT_PREFIX}",
            "anybody can make an unsigned token, so no project that could exist takes them",
        )
    if not config.listen.public.is_loopback:
        raise ConfigError(where, "needs listen.public on loopback", "anybody can make an unsigned token")


def _check_listen(config: Config) -> None:
    prefix = config.listen.prefix
    if not (prefix.startswith("/") and prefix.endswith("/") and len(prefix) > 2) or "//" in prefix or "*" in prefix:  # noqa: PLR2004 - "/" twice
        raise ConfigError("$.listen.prefix", "must start and end with / and hold a name", 'the default is "/.gateway/"')
    worker = config.listen.worker
    if not worker.startswith("/") or not worker.endswith(".js") or worker.startswith(prefix) or "//" in worker:
        raise ConfigError(
            "$.listen.worker", "must be a path that ends in .js, outside the prefix", 'such as "/service-worker.js"'
        )
    if config.listen.proxy_protocol and not config.listen.trusted_proxies:
        raise ConfigError(
            "$.listen.proxy_protocol", "needs listen.trusted_proxies", "name the networks of the proxies that send it"
        )
    if config.listen.proxy_protocol and config.listen.tls is not None:
        raise ConfigError(
            "$.listen.proxy_protocol",
            "cannot come before TLS here",
            "let the proxy that sends it end TLS, or pass connections on without it",
        )
    if config.listen.redirect is not None and config.listen.tls is None:
        raise ConfigError("$.listen.redirect", "needs listen.tls", "without it there is no https to go to")
    if not 1 <= config.listen.workers <= MAX_WORKERS:
        raise ConfigError("$.listen.workers", f"is not between 1 and {MAX_WORKERS}", "one for each core")
    if config.listen.workers > 1 and not config.functions.listen.is_off:
        raise ConfigError(
            "$.functions.listen",
            "cannot be shared by several workers",
            "leave it out here and run `gateway functions serve` beside the gateway",
        )
    if config.reload.every < MIN_LOOK:
        raise ConfigError("$.reload.every", f"is less than {MIN_LOOK:g} seconds", 'such as "2s"')
    for index, path in enumerate(config.login.return_to):
        if not path.startswith("/"):
            raise ConfigError(f"$.login.return_to[{index}]", "must start with /", 'such as "/app"')
    if not config.login.home.startswith("/") or config.login.home.startswith("//") or "\\" in config.login.home:
        raise ConfigError("$.login.home", "must be a path of this site", 'such as "/"')


def _check_network(config: Config) -> None:
    network = config.network
    if network.claim_key and len(network.claim_key.encode()) < MIN_KEY:
        raise ConfigError("$.network.claim_key", f"has less than {MIN_KEY} bytes", "openssl rand -base64 24")
    for name in ("country_db", "hosting_list", "exempt_asns"):
        if getattr(network, name) and not network.asn_db:
            raise ConfigError(f"$.network.{name}", "needs network.asn_db", "without it no operator is known")
    if network.relay_list and not network.country_db:
        raise ConfigError("$.network.relay_list", "needs network.country_db", "a relay shows nothing but a country")
    if network.revoke_on and config.firebase.credentials == "none":
        raise ConfigError("$.network.revoke_on", "needs firebase.credentials", "revoking asks the account service")
    if network.revoke_limit < 1:
        raise ConfigError("$.network.revoke_limit", "is less than 1", "empty revoke_on to switch it off")


def _check_worker(config: Config) -> None:
    worker, prefix = config.worker, config.listen.prefix
    if not worker.enabled and not worker.own and config.session.cookie == "off":
        raise ConfigError(
            "$.worker.enabled",
            "is false and session.cookie is off: nothing would carry a session",
            "switch one of them on",
        )
    if worker.own and (not worker.own.startswith("/") or worker.own.startswith((prefix, "//"))):
        raise ConfigError("$.worker.own", "must be a path of your app, outside the prefix", 'such as "/sw.js"')
    if worker.own == config.listen.worker:
        raise ConfigError("$.worker.own", "is listen.worker, which the gateway serves", "move one of them")
    if not worker.apps:
        raise ConfigError("$.worker.apps", "names no app", "leave it out for the app without a name")
    for index, app in enumerate(worker.apps):
        if not app.name:
            raise ConfigError(f"$.worker.apps[{index}].name", "is empty", 'the SDK calls it "[DEFAULT]"')
    for index, path in enumerate(worker.excluded):
        if not path.startswith("/"):
            raise ConfigError(f"$.worker.excluded[{index}]", "must start with /", 'such as "/static/"')


def _check_session(config: Config) -> None:
    session = config.session
    if not MIN_COOKIE_LIFETIME <= session.cookie_lifetime <= MAX_COOKIE_LIFETIME:
        raise ConfigError("$.session.cookie_lifetime", "is not between 5m and 14d", "Firebase makes no others")
    if session.sdk_cookies and _APP_NAME.fullmatch(config.worker.apps[0].name) is None:
        raise ConfigError("$.worker.apps[0].name", "cannot stand in a cookie's name", "letters, digits, _ and -")
    if not MIN_RECHECK <= session.recheck_streams <= MAX_RECHECK:
        raise ConfigError("$.session.recheck_streams", "is not between 1s and 1h", "60s is the default")
    if session.stream_grace > MAX_STREAM_GRACE:
        raise ConfigError("$.session.stream_grace", "is more than 5m", "renew the token instead: keepAlive() in pages")
    if session.cookie != "session_cookie":
        return
    if config.firebase.emulator is None and config.firebase.credentials == "none":
        raise ConfigError(
            "$.session.cookie",
            "is session_cookie, which Google makes for holders of credentials only",
            "set firebase.credentials, or use id_token",
        )
    if config.firebase.tenants:
        raise ConfigError(
            "$.session.cookie", "is session_cookie, which firebase-admin has not for tenants", "use id_token"
        )


def _check_upstreams(config: Config) -> None:
    names: set[str] = set()
    for index, upstream in enumerate(config.upstream):
        where = f"$.upstream[{index}]"
        if not upstream.name or upstream.name in names:
            raise ConfigError(f"{where}.name", "is empty or stands twice", "each backend needs a name of its own")
        names.add(upstream.name)
        check_upstream(upstream, where)
    if not config.upstream:
        raise ConfigError(
            "$.upstream", "names no backend", '[[upstream]] with name = "app" and urls = ["http://127.0.0.1:3000"]'
        )
    if not config.route:
        raise ConfigError(
            "$.route", "names no route, so everything would be denied", '[[route]] with match = { path = "/**" }'
        )


def policy_routes(config: Config) -> RouteTable:
    """The route table that a configuration describes.

    :raises ConfigError: a pattern, host or upstream that cannot be used.
    """
    upstreams = [upstream.name for upstream in config.upstream]
    audiences = {upstream.name: upstream.audience or upstream.name for upstream in config.upstream}
    rows: list[PolicyRoute] = []
    names: set[str] = set()
    for index, route in enumerate(config.route):
        where = f"$.route[{index}]"
        upstream = route.upstream or (upstreams[0] if len(upstreams) == 1 else "")
        if upstream not in upstreams:
            raise ConfigError(
                f"{where}.upstream",
                f"{upstream!r} is not the name of an upstream",
                f"known: {', '.join(upstreams) or 'none'}",
            )
        name = route.name or f"route-{index + 1}"
        if name in names:
            raise ConfigError(f"{where}.name", f"{name!r} stands twice", "choose another name")
        names.add(name)
        if any(method != method.upper() or not method.isalpha() for method in route.match.methods):
            raise ConfigError(f"{where}.match.methods", "are written in capitals", '["GET", "POST"]')
        row = PolicyRoute(
            name=name,
            pattern=route.match.path,
            upstream=upstream,
            auth=route.auth,
            hosts=route.match.hosts,
            methods=frozenset(route.match.methods),
            unauthenticated=route.unauthenticated,
            preset=route.network.preset if route.network is not None else config.network.preset,
            forward_authorization=route.forward_authorization,
            identity=route.identity.headers,
            groups_claim=route.identity.groups_claim,
            claim_fields=claim_fields(route.identity, f"{where}.identity"),
            base64=route.identity.encoding == "base64",
            assertion=audiences[upstream] if route.identity.assertion else "",
            require=requirements(route.require, f"{where}.require", route.auth),
            cors=cors(route.cors, f"{where}.cors", route.match.methods),
            on_revocation_outage=route.on_revocation_outage or config.revocation.on_error,
            rewrite=path_rewrite(route, where),
        )
        try:
            RouteTable([row])
        except ValueError as error:
            raise ConfigError(f"{where}.match", str(error), 'such as { path = "/app/**" }') from None
        rows.append(row)
    return RouteTable(rows)
