"""What every generated configuration is about: which site, where the gateway is, what the backend may be told.

The rules that the configurations obey (``threats.md`` rows 16 to 19 and 35):

1. A field by which the backend learns who calls comes from the gateway's answer or not at all. A client's own is
   removed under every spelling that a backend could take for it, underscores included.
2. ``Authorization`` and ``Cookie`` reach the backend as the gateway's answer gives them: without the session.
3. The gateway's own addresses go to the gateway, unjudged, because it judges them itself; the one that proxies ask at
   is reachable for nobody else.
4. The client's address is the one that the proxy sees, never one that the client wrote.
5. What makes a framework answer another question than the one that was judged (:data:`OVERRIDES`) does not pass.
6. The worker of this site is the gateway's: what would let another script of the backend's take its place
   (:data:`WORKER_SCOPE`) does not reach browsers (row 32).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gateway.errors import ConfigError
from gateway.http.assertion_keys import PATHS as ASSERTION_PATHS
from gateway.http.cookies_proxy import PATH as SDK_COOKIES_PATH
from gateway.http.intake import valid_host
from gateway.mutators.assertion import AssertionForm
from gateway.mutators.headers import IDENTITY_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.model import Config

ANYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - what is replaced by loopback
MAX_PORT: Final = 65_535
REQUEST_ID: Final = "X-Request-Id"
WORKER_FIELD: Final = "X-Gateway-Fetch"
WORKER_SCOPE: Final = "Service-Worker-Allowed"
OVERRIDES: Final = (
    "X-Original-URL",
    "X-Original-URI",
    "X-Rewrite-URL",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-Forwarded-Prefix",
    "Proxy",
    "Forwarded",
)
"""Fields of the client's with which frameworks take another path, method, address or proxy for the real one."""


@dataclass(frozen=True, slots=True)
class Site:
    """One site behind a proxy.

    ``host`` is its name, empty for any; ``port`` where the proxy listens; ``gateway`` and ``backend`` are
    ``(host, port)``; ``own`` the exact paths of the gateway's beside what stands below ``prefix``; ``identity`` the
    fields that tell the backend who calls.
    """

    host: str
    port: int
    gateway: tuple[str, int]
    backend: tuple[str, int]
    prefix: str
    own: tuple[str, ...]
    identity: tuple[str, ...]

    @property
    def told(self) -> tuple[str, ...]:
        """Every field that the backend gets from the gateway's answer, or does not get."""
        return (*self.identity, REQUEST_ID, "Cookie", "Authorization")

    @property
    def aliases(self) -> tuple[str, ...]:
        """Spellings with underscores, which CGI, WSGI and PHP read as the identity's fields, or as overrides."""
        found = []
        for name in (*self.identity, *OVERRIDES):
            words = name.split("-")
            joints = itertools.product("-_", repeat=len(words) - 1)
            found += [_joined(words, marks) for marks in joints if "_" in marks]
        return tuple(found)


def _joined(words: Sequence[str], marks: Sequence[str]) -> str:
    return "".join(itertools.chain(*zip(words, (*marks, ""), strict=True)))


def site_of(config: Config, *, host: str, port: int, upstream: str = "") -> Site:
    """The site that a configuration describes, behind a proxy that listens on ``port``.

    :param upstream: the backend, where there are several.
    :raises ConfigError: the backend is not clear, or no proxy could reach it; or ``host`` or ``port`` is none, which
        would be written into another program's configuration as if it were.
    """
    if host and not (valid_host(host.lower()) and (":" not in host or host.endswith("]"))):
        raise ConfigError("--site", f"{host!r} is no host name", "such as app.example, without scheme and port")
    if not 0 < port <= MAX_PORT:
        raise ConfigError("--port", f"{port} is no port", f"a number from 1 to {MAX_PORT}")
    names = [table.name for table in config.upstream]
    name = upstream or (names[0] if len(names) == 1 else "")
    if name not in names:
        what = f"{name!r} is no [[upstream]]" if name else "there are several backends"
        raise ConfigError("--upstream", what, f"one of: {', '.join(names)}")
    url = next(table.urls[0] for table in config.upstream if table.name == name)
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise ConfigError(
            "--upstream", f"{url} is not an http address", "write this backend's address into the proxy's configuration"
        )
    public = config.listen.public
    form = AssertionForm(config.assertion.form).field.decode("ascii")
    signs = any(route.identity.assertion for route in config.route)
    claims = itertools.chain.from_iterable(route.identity.claims for route in config.route)
    # Both forms of the assertion are named in any case: what is not sent must not come from the client either.
    assertions = dict.fromkeys((form, *(other.field.decode("ascii") for other in AssertionForm)))
    identity = dict.fromkeys((*(field.decode("ascii") for field in IDENTITY_FIELDS), *claims, *assertions))
    return Site(
        host=host,
        port=port,
        gateway=("127.0.0.1" if public.host in ANYWHERE else public.host, public.port),
        backend=(parts.hostname, parts.port or 80),
        prefix=config.listen.prefix,
        own=(
            config.listen.worker,
            *((SDK_COOKIES_PATH,) if config.session.sdk_cookies else ()),
            *(ASSERTION_PATHS if signs else ()),
        ),
        identity=tuple(identity),
    )


def address(place: tuple[str, int]) -> str:
    """``host:port``, an IPv6 address in brackets."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
