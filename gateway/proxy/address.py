"""Where one server of a backend listens, and how it is spoken to.

The rule this file obeys (``threats.md`` row 29): where a request goes is the operator's word, checked at the start; a
cloud's metadata service is no backend. Certificates of backends are checked; not checking is for this machine only.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

from gateway.core.metadata import is_metadata
from gateway.errors import ConfigError

_log = logging.getLogger(__name__)

UNIX: Final = "unix:"
MAX_SOCKET_PATH: Final = 107
"""Bytes of a unix socket's path (Linux, unix(7): ``sun_path`` has 108 with the closing NUL)."""

_PORTS: Final = {"http": 80, "https": 443}
_EXAMPLE: Final = "write http://127.0.0.1:3000, https://app.internal or unix:/run/app.sock"
_MIN_TLS: Final = ssl.TLSVersion.TLSv1_2


@dataclass(frozen=True, slots=True)
class Address:
    """One server: host and port, or the ``path`` of a unix socket."""

    host: str
    port: int
    tls: bool
    path: str = ""

    @classmethod
    def parse(cls, url: str, where: str) -> Address:
        """Read ``http://host:port``, ``https://host:port`` or ``unix:/path``.

        :raises ConfigError: it is anything else, or a cloud's metadata service.
        """
        if url.startswith(UNIX):
            return cls("", 0, tls=False, path=_socket_path(url.removeprefix(UNIX), where))
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigError(where, f"{url!r} is not a URL", _EXAMPLE) from None
        host = parts.hostname
        if parts.scheme not in _PORTS or not host:
            raise ConfigError(where, f"{url!r} is not an http or https URL or a unix socket", _EXAMPLE)
        if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username is not None:
            raise ConfigError(where, f"{host}: an upstream is scheme, host and port only", "leave out the rest")
        if not is_host(host):
            raise ConfigError(where, f"{host} is no name or address of a host", _EXAMPLE)
        if is_metadata(host):
            raise ConfigError(where, f"{host} is a metadata service, not a backend", "name the application's address")
        return cls(host, port or _PORTS[parts.scheme], parts.scheme == "https")

    def __str__(self) -> str:
        """The address as logs and metrics call it."""
        return f"{UNIX}{self.path}" if self.path else f"{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """What ``Host`` says when the backend is to be asked by its own name; ``localhost`` for a unix socket."""
        if self.path:
            return "localhost"
        usual = self.port == _PORTS["https" if self.tls else "http"]
        return self._bracketed if usual else f"{self._bracketed}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether what is sent stays on this machine."""
        if self.path or self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def is_host(name: str) -> bool:
    """Whether ``name`` can be looked up at all: the resolver would raise on it otherwise, for each request anew."""
    try:
        return bool(name.encode("idna"))
    except UnicodeError:
        return False


def _socket_path(path: str, where: str) -> str:
    if not path or path.startswith("//") or "\0" in path:
        raise ConfigError(where, "names no unix socket", "write unix:/run/app.sock")
    if len(path.encode()) > MAX_SOCKET_PATH:
        raise ConfigError(where, f"{path}: a unix socket's path has at most {MAX_SOCKET_PATH} bytes", "a shorter path")
    return path


@dataclass(frozen=True, slots=True)
class BackendTls:
    """How a backend behind ``https`` proves who it is, and who we are.

    ``authorities``: PEM file of the authorities that vouch for it; None for the system's. ``certificate`` and ``key``:
    PEM files that we show it, both or neither. ``server_name``: the name in its certificate when that is not the
    address's host. ``verify`` False takes any certificate, on this machine only.
    """

    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""
    verify: bool = True

    def context(self, where: str) -> ssl.SSLContext:
        """What connections are made with.

        :param where: path of the table, for messages.
        :raises ConfigError: a file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.authorities)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{where}.ca_file",
                f"{self.authorities} holds no usable certificates: {spoken(error)}",
                "a PEM file with the certificates of authorities",
            ) from None
        context.minimum_version = _MIN_TLS
        context.set_alpn_protocols(["http/1.1"])
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as error:
                raise ConfigError(
                    f"{where}.cert_file",
                    f"{self.certificate} and {self.key} cannot be used: {spoken(error)}",
                    "PEM files of a certificate and its key, without a passphrase",
                ) from None
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            _log.warning("%s.verify is off: whoever listens at the backend's address is taken for the backend", where)
        return context


def _no_password() -> NoReturn:
    """Refuse, where OpenSSL would ask at the terminal.

    :raises ValueError: always.
    """
    raise ValueError("the key has a passphrase")


def spoken(error: Exception) -> str:
    """What went wrong in a few words: the system's own for a connection, where asyncio's would repeat the address."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
