"""What must fit together between the keys of a configuration.

The rule this file obeys: *a development identity provider and a production gateway never meet.* ``firebase.emulator``
is the one switch for development; it takes a loopback address only, and without it every endpoint is reached over https
or loopback, ``FIREBASE_AUTH_EMULATOR_HOST`` must not be set (firebase-admin would then check nothing), and keys that
bear the embedded provider's mark are refused by the verifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.config.model import Config
from gateway.errors import ConfigError
from gateway.policy.routes import Route as PolicyRoute
from gateway.policy.routes import RouteTable
from gateway.tokens.id_token import MAX_SKEW

EMULATOR_VARIABLE: Final = "FIREBASE_AUTH_EMULATOR_HOST"
_MIN_STALENESS: Final = 0.1
"""Seconds; below this the gateway would do nothing but look users up."""


def check_rules(config: Config, environment: Mapping[str, str]) -> None:
    """Check everything that a single key cannot show.

    :raises ConfigError: at the first thing that does not fit.
    """
    _check_firebase(config, environment)
    _check_listen(config)
    _check_upstreams(config)
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
        raise ConfigError("$.firebase.credentials", "is none of adc, none and file:PATH")
    if config.revocation.max_staleness < _MIN_STALENESS:
        raise ConfigError("$.revocation.max_staleness", f"is less than {_MIN_STALENESS} seconds")
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


def _check_listen(config: Config) -> None:
    prefix = config.listen.prefix
    if not (prefix.startswith("/") and prefix.endswith("/") and len(prefix) > 2) or "//" in prefix or "*" in prefix:  # noqa: PLR2004 - "/" twice
        raise ConfigError("$.listen.prefix", "must start and end with / and hold a name", 'the default is "/.gateway/"')
    worker = config.listen.worker
    if not worker.startswith("/") or not worker.endswith(".js") or worker.startswith(prefix) or "//" in worker:
        raise ConfigError("$.listen.worker", "must be a path that ends in .js, outside the prefix")
    for index, path in enumerate(config.login.return_to):
        if not path.startswith("/"):
            raise ConfigError(f"$.login.return_to[{index}]", "must start with /")
    if not config.login.home.startswith("/") or config.login.home.startswith("//"):
        raise ConfigError("$.login.home", "must be a path of this site")


def _check_upstreams(config: Config) -> None:
    names: set[str] = set()
    for index, upstream in enumerate(config.upstream):
        where = f"$.upstream[{index}]"
        if not upstream.name or upstream.name in names:
            raise ConfigError(f"{where}.name", "is empty or stands twice")
        names.add(upstream.name)
        if not upstream.urls:
            raise ConfigError(f"{where}.urls", "holds no address")
        for position, url in enumerate(upstream.urls):
            if url.count("/") > 2:  # noqa: PLR2004 - the two of "//"
                raise ConfigError(
                    f"{where}.urls[{position}]",
                    "holds a path",
                    "the target is forwarded as it came; name the host only",
                )
            if url.host in {"169.254.169.254", "metadata.google.internal", "fd00:ec2::254"}:
                raise ConfigError(f"{where}.urls[{position}]", "is a cloud metadata service", "name your application")
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
            raise ConfigError(f"{where}.name", f"{name!r} stands twice")
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
        )
        try:
            RouteTable([row])
        except ValueError as error:
            raise ConfigError(f"{where}.match", str(error)) from None
        rows.append(row)
    return RouteTable(rows)
