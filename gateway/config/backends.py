"""``[[upstream]]``, and what a route says about the path for its backend: the tables, and everything that can be wrong.

The rules this file obeys (``threats.md`` rows 28 and 29): a backend is never a cloud's metadata service; not checking a
backend's certificate is for addresses of this machine; a prefix is taken off only where every path of the route has it.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from typing import TYPE_CHECKING, Final

from gateway.config.table import Table
from gateway.config.types import BackendUrl, Seconds, Statuses, is_loopback_host
from gateway.core.metadata import is_metadata
from gateway.errors import ConfigError
from gateway.policy.rewrite import PathRewrite, covers, is_prefix

if TYPE_CHECKING:
    from gateway.config import model

KEEP: Final = "keep"
REPLACE: Final = "replace"

MIN_INTERVAL: Final = 0.1
"""Seconds; checks that come more often than this are requests."""
_SERVER_NAME: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}", re.ASCII)
"""A name that a certificate can hold (RFC 1035 section 2.3.4: 63 bytes a label)."""
_HOST: Final = re.compile(r"(?:[a-z0-9._-]{1,255}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_TARGET: Final = re.compile(r"/[!$&'()*+,\-./0-9:;=?@A-Z_a-z~%]*", re.ASCII)


class Timeouts(Table, frozen=True):
    """How long an upstream may take."""

    connect: Seconds = Seconds(5)
    """Until a connection stands."""
    first_byte: Seconds = Seconds(30)
    """From the request's end to the answer's first byte."""
    idle: Seconds = Seconds(300)
    """Between two pieces of an answer. Event streams should send a comment more often."""


class UpstreamTls(Table, frozen=True):
    """How `https` addresses prove who they are, and the gateway to them. Paths are relative to the configuration file.

    Without it: the system's authorities, and no certificate of the gateway's.
    """

    ca_file: str = ""
    """PEM file of the authorities whose certificates count, instead of the system's."""
    cert_file: str = ""
    """PEM file of the certificate, with its chain, that the gateway shows. Needs `key_file`."""
    key_file: str = ""
    """PEM file of that certificate's key, without a passphrase."""
    server_name: str = ""
    """The name that the backend's certificate must hold. Empty: the address's host."""
    verify: bool = True
    """`false` takes any certificate. For addresses of this machine only, and it warns at each start."""


class Health(Table, frozen=True):
    """Asks each address how it is; one that is not well gets no requests while another is.

    Without it, addresses are judged by what becomes of their requests alone.
    """

    path: str
    """Path, and query if need be, that is asked with GET."""
    every: Seconds = Seconds(10)
    """Time between two checks of an address, more or less a tenth."""
    timeout: Seconds = Seconds(2)
    """How long a check may take, connecting included."""
    healthy_after: int = 2
    """Good results in a row that bring an address back. The very first result counts alone."""
    unhealthy_after: int = 3
    """Bad results in a row that take it out."""
    status: Statuses = Statuses("200-399")
    """Statuses that are good: numbers and ranges."""


class Upstream(Table, frozen=True):
    """A backend."""

    name: str
    """What routes call it."""
    urls: tuple[BackendUrl, ...]
    """Its addresses: `http://host:port`, `https://host:port`, or `unix:` and a socket's path. A request goes to the one
    with the fewest under way; the next one is tried when one takes no connection."""
    host: str = "keep"
    """What the backend sees as `Host`: `keep` the client's, `replace` it by the address, or this very name."""
    audience: str = ""
    """The claim `aud` of assertions for it. Empty: its name."""
    timeouts: Timeouts = Timeouts()
    tls: UpstreamTls | None = None
    health: Health | None = None


def check_upstream(upstream: Upstream, where: str) -> None:
    """Check one backend.

    :param where: path of the table, for messages.
    :raises ConfigError: at the first thing that does not fit.
    """
    if not upstream.urls:
        raise ConfigError(f"{where}.urls", "holds no address", 'such as ["http://127.0.0.1:3000"]')
    for position, url in enumerate(upstream.urls):
        if url.path:
            raise ConfigError(
                f"{where}.urls[{position}]",
                "holds a path",
                "name the host only; a route's add_prefix puts a path in front",
            )
        if is_metadata(url.host):
            raise ConfigError(f"{where}.urls[{position}]", "is a cloud metadata service", "name your application")
    if len(set(upstream.urls)) != len(upstream.urls):
        raise ConfigError(f"{where}.urls", "names an address twice", "each address once; all get their share")
    typo = difflib.get_close_matches(upstream.host, (KEEP, REPLACE), cutoff=0.75)
    if upstream.host not in {KEEP, REPLACE} and (typo or _HOST.fullmatch(upstream.host) is None):
        raise ConfigError(f"{where}.host", "is none of keep, replace and a host's name", 'such as "app.internal"')
    for name in ("connect", "first_byte", "idle"):
        if getattr(upstream.timeouts, name) <= 0:
            raise ConfigError(f"{where}.timeouts.{name}", "is no time at all", 'such as "30s"')
    if upstream.tls is not None:
        _check_tls(upstream, upstream.tls, f"{where}.tls")
    if upstream.health is not None:
        _check_health(upstream.health, f"{where}.health")


def _check_tls(upstream: Upstream, tls: UpstreamTls, where: str) -> None:
    secure = [url for url in upstream.urls if url.startswith("https://")]
    if not secure:
        raise ConfigError(where, "means nothing without an https address", "write https:// in urls, or leave it out")
    if tls.server_name and not _is_server_name(tls.server_name):
        raise ConfigError(f"{where}.server_name", "is no name of a host", 'such as "app.internal"')
    if bool(tls.cert_file) is not bool(tls.key_file):
        raise ConfigError(f"{where}.cert_file", "and key_file come together or not at all", "name both, or neither")
    if not tls.verify and not all(is_loopback_host(url.host) for url in secure):
        raise ConfigError(
            f"{where}.verify",
            "may be off for addresses of this machine only",
            "name the certificate's authority with ca_file, or its name with server_name",
        )
    if not tls.verify and (tls.ca_file or tls.server_name):
        raise ConfigError(f"{where}.verify", "is off, so ca_file and server_name would mean nothing", "switch it on")


def _is_server_name(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _SERVER_NAME.fullmatch(name) is not None
    return True


def _check_health(health: Health, where: str) -> None:
    if _TARGET.fullmatch(health.path) is None:
        raise ConfigError(f"{where}.path", "is not a path", 'such as "/healthz"')
    if health.every < MIN_INTERVAL:
        raise ConfigError(f"{where}.every", f"is less than {MIN_INTERVAL} seconds", 'such as "10s"')
    if health.timeout <= 0:
        raise ConfigError(f"{where}.timeout", "is no time at all", 'such as "2s"')
    for name in ("healthy_after", "unhealthy_after"):
        if getattr(health, name) < 1:
            raise ConfigError(f"{where}.{name}", "is less than 1", "the number of checks in a row that it takes")


def path_rewrite(route: model.Route, where: str) -> PathRewrite | None:
    """What becomes of a route's paths; None where they go on as they came.

    :param where: path of the table, for messages.
    :raises ConfigError: a prefix that is none, or that not every path of the route has.
    """
    for name in ("strip_prefix", "add_prefix"):
        prefix = getattr(route, name)
        if prefix and not is_prefix(prefix):
            raise ConfigError(
                f"{where}.{name}",
                f"{prefix!r} is no path of whole segments",
                'such as "/app": a slash in front, none behind, no escapes',
            )
    if not route.strip_prefix and not route.add_prefix:
        return None
    if route.strip_prefix and not covers(route.strip_prefix, route.match.path):
        raise ConfigError(
            f"{where}.strip_prefix",
            f"is {route.strip_prefix!r}, which not every path of {route.match.path!r} begins with",
            f'match = {{ path = "{route.strip_prefix}/**" }}',
        )
    return PathRewrite(route.strip_prefix, route.add_prefix)
