"""The public listener's certificate: read, renewed without a break, never half of one.

The rules this file obeys (RFC 8996: nothing below TLS 1.2; RFC 9325 sections 3 and 4; RFC 7301 for the protocol's
name):

* **A certificate is exchanged as a whole.** New files are read into a context of their own first, and only a context
  that took both, certificate and matching key, becomes the one that new connections get. Files that cannot be used
  leave the old certificate at work, and say so. Connections that stand are not touched.
* Only HTTP/1.1 is offered; for HTTP/2 and 3 stands a proxy in front.
* A key that asks for a passphrase is refused: nobody would be there to type it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final, Literal, Protocol

from cryptography import x509

from gateway.errors import ConfigError
from gateway.files import FileWatch

HANDSHAKE_TIME: Final = 10.0
"""Seconds for a handshake, all of it: as long as for a request's head (threats.md row 36)."""
CLOSE_TIME: Final = 5.0
"""Seconds that a client gets to answer the notice that a connection ends."""
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 section 4.2). TLS 1.3 has no others."""
_WHERE: Final = "$.listen.tls"

Version = Literal["1.2", "1.3"]

_log = logging.getLogger(__name__)


class TlsTable(Protocol):
    """What the configuration says."""

    @property
    def cert_file(self) -> str:
        """Path of the certificate."""

    @property
    def key_file(self) -> str:
        """Path of its key; empty when it is in the same file."""

    @property
    def min_version(self) -> Version:
        """Oldest version spoken."""


class ServerTls:
    """A certificate, its key and what they are served with.

    :param key_file: None when the key is in the certificate's file.
    :raises ConfigError: the files cannot be used.
    """

    def __init__(self, cert_file: Path, key_file: Path | None, min_version: Version = "1.2") -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._min_version = min_version
        self.expires_at = 0.0
        """When the certificate ends, in wall-clock seconds since the epoch."""
        self._files = FileWatch(path for path in (cert_file, key_file) if path is not None)
        self._current = self._read()
        self.context: Final = self._current
        # Asked in every handshake, whether the client names a host or not.
        self.context.sni_callback = self._choose
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, table: TlsTable, directory: Path) -> ServerTls:
        """The one that a configuration describes; relative paths start from ``directory``.

        :raises ConfigError: the files cannot be used.
        """
        key_file = directory / table.key_file if table.key_file else None
        return cls(directory / table.cert_file, key_file, table.min_version)

    def reload(self) -> None:
        """Read the files again, for connections from now on.

        :raises ConfigError: they cannot be used; nothing has changed then.
        """
        self._files.take()
        self._current = self._read()

    def watch(self, every: float) -> None:
        """Look at the files every so many seconds and take what is new."""
        self._timer = asyncio.get_running_loop().call_later(every, self._look_again, every)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self, every: float) -> None:
        if self._files.changed():
            try:
                self._current = self._read()
            except ConfigError as error:
                _log.error("the new certificate is not used, the old one stays: %s", error)
            else:
                _log.warning("a new certificate is in use: %s", self._cert_file)
        self._timer = asyncio.get_running_loop().call_later(every, self._look_again, every)

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:  # noqa: ARG002 - ssl's
        if self._current is not context:
            connection.context = self._current

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = (
            ssl.TLSVersion.TLSv1_3 if self._min_version == "1.3" else ssl.TLSVersion.TLSv1_2  # RFC 8996
        )
        context.set_ciphers(_CIPHERS)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(["http/1.1"])
        certificate = _certificate(self._cert_file)
        try:
            context.load_cert_chain(self._cert_file, self._key_file, password=_no_passphrase)
        except (OSError, ValueError) as error:
            raise ConfigError(_WHERE, f"certificate and key cannot be used: {_told(error)}", _HINT) from None
        self.expires_at = certificate.not_valid_after_utc.timestamp()
        return context


_HINT: Final = "cert_file: the certificate and those between it and the root, PEM; key_file: its key, no passphrase"


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as error:
        raise ConfigError(f"{_WHERE}.cert_file", f"{path.name} cannot be read: {error.strerror}", _HINT) from None
    except ValueError:
        raise ConfigError(f"{_WHERE}.cert_file", f"{path.name} holds no certificate", _HINT) from None


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def _told(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not understood").replace("_", " ").lower()
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
