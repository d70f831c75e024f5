"""Values that configuration spells as text: durations, addresses, networks. Parsed once, when the file is read."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.core.client_ip import IPNetwork

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES: Final = {"B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE: Final = re.compile(r"(\d{1,15})([KMG]i?B|B)", re.ASCII)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_STATUSES: Final = re.compile(r"[2-5]\d\d(?:-[2-5]\d\d)?(?: *, *[2-5]\d\d(?:-[2-5]\d\d)?)*", re.ASCII)
_MAX_PORT: Final = 65535
_MAX_PORT_DIGITS: Final = 5


UNIX: Final = "unix:"


class Seconds(float):
    """A duration. Written ``"500ms"``, ``"30s"``, ``"5m"``, ``"12h"`` or ``"14d"``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Seconds:
        """Read a duration.

        :raises ValueError: not a number with a unit.
        """
        match = _DURATION.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError('a duration is a number with a unit, such as "500ms", "30s", "5m", "12h" or "14d"')
        return cls(float(match[1]) * _UNITS[match[2]])


class Size(int):
    """A number of bytes. Written ``"240B"``, ``"64KB"`` (thousands), ``"64KiB"`` (1024s), ``"10MB"`` or ``"1GiB"``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Size:
        """Read a size.

        :raises ValueError: not a whole number with a unit.
        """
        match = _SIZE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError('a size is a whole number with a unit, such as "240B", "64KB", "64KiB", "10MB" or "1GB"')
        return cls(int(match[1]) * _SIZES[match[2]])


class HostPort(str):
    """An address to listen on or connect to, as ``"127.0.0.1:8080"`` or ``"[::1]:8080"``; port 0 is any free one."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> HostPort:
        """Read an address.

        :raises ValueError: not ``host:port``.
        """
        host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not host or (":" in host and not bracketed) or not _is_port(port):
            raise ValueError('an address is host:port, such as "127.0.0.1:8080" or "[::1]:8080"')
        return cls(f"{host}:{int(port)}")

    @property
    def host(self) -> str:
        """The name or address, without brackets."""
        return self.rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def port(self) -> int:
        """0 to 65535."""
        return int(self.rpartition(":")[2])

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        return is_loopback_host(self.host)


class OptionalHostPort(HostPort):
    """An address to listen on, or ``"off"``: do not listen."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> OptionalHostPort:
        """Read an address or ``off``.

        :raises ValueError: neither of the two.
        """
        return cls("off") if text == "off" else cls(HostPort.parse(text))

    @property
    def is_off(self) -> bool:
        """Whether nothing is to listen."""
        return self == "off"


class Network(str):
    """A block of addresses in CIDR notation; a single address is a block of one."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Network:
        """Read a block.

        :raises ValueError: no block, or host bits are set in it.
        """
        try:
            return cls(ipaddress.ip_network(text if isinstance(text, str) else ""))
        except ValueError as error:
            raise ValueError(f'a network is CIDR text, such as "10.0.0.0/8" or "2001:db8::/32": {error}') from None

    @property
    def block(self) -> IPNetwork:
        """The block as a network."""
        return ipaddress.ip_network(str(self))


class Url(str):
    """An absolute http or https URL without credentials, query or fragment; no slash at the end."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Url:
        """Read a URL.

        :raises ValueError: not such a URL.
        """
        if not isinstance(text, str):
            text = ""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"not a URL: {error}") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
            raise ValueError('a URL starts with http:// or https:// and a host, such as "http://127.0.0.1:3000"')
        if parts.username is not None or parts.query or parts.fragment or any(c <= " " or c > "~" for c in text):
            raise ValueError("this URL may hold no user name, query, fragment or white space")
        return cls(text.rstrip("/"))

    @property
    def host(self) -> str:
        """The host's name or address, without brackets."""
        return urlsplit(self).hostname or ""

    @property
    def origin(self) -> str:
        """Scheme and authority."""
        parts = urlsplit(self)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def is_private_transport(self) -> bool:
        """Whether nobody on a network can read or change what goes over it: https, or loopback."""
        return self.startswith("https://") or is_loopback_host(self.host)


class BackendUrl(str):
    """Address of a backend: ``http://host:port``, ``https://host:port``, or ``unix:`` and a socket's path."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> BackendUrl:
        """Read an address.

        :raises ValueError: not such an address.
        """
        if not isinstance(text, str) or not text.startswith(UNIX):
            try:
                return cls(Url.parse(text))
            except ValueError as error:
                raise ValueError(f"{error}; a unix socket is written unix:/run/app.sock") from None
        path = text.removeprefix(UNIX)
        if not path or path.startswith("//") or any(c < " " for c in path):
            raise ValueError('a unix socket is "unix:" and a path, such as "unix:/run/app.sock"')
        return cls(text)

    @property
    def socket(self) -> str:
        """Path of the unix socket; empty for other addresses."""
        return self.removeprefix(UNIX) if self.startswith(UNIX) else ""

    @property
    def host(self) -> str:
        """The host's name or address, without brackets; empty for a unix socket."""
        return "" if self.socket else urlsplit(self).hostname or ""

    @property
    def path(self) -> str:
        """What an ``http`` address holds behind the host, where nothing belongs."""
        return "" if self.socket else urlsplit(self).path


class Statuses(str):
    """Statuses of answers: ``"200"``, ``"200-399"``, ``"200,204,300-399"``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Statuses:
        """Read statuses and ranges of them.

        :raises ValueError: no such list, or one that holds no status.
        """
        if not isinstance(text, str) or _STATUSES.fullmatch(text) is None or not cls(text).numbers:
            raise ValueError('statuses are numbers and ranges, such as "200", "200-399" or "200,204"')
        return cls(text)

    @property
    def numbers(self) -> frozenset[int]:
        """All of them."""
        ranges = (part.partition("-") for part in self.replace(" ", "").split(","))
        return frozenset(number for first, _, last in ranges for number in range(int(first), int(last or first) + 1))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_PORT_DIGITS and int(text) <= _MAX_PORT


def is_loopback_host(host: str) -> bool:
    """Whether the name or address is this machine's own (RFC 6761 section 6.3 for ``localhost``)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Secret(str):
    """A text that is never shown: not by ``repr``, not by ``gateway check --show``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Secret:
        """Take the text.

        :raises ValueError: no text.
        """
        if not isinstance(text, str):
            raise ValueError("a secret is a text, best kept outside: ${env:NAME} or ${file:PATH}")  # noqa: TRY004 - msgspec reports a ValueError
        return cls(text)

    def __repr__(self) -> str:
        return "Secret(…)"


_PARSED: Final = frozenset({Seconds, Size, HostPort, OptionalHostPort, Network, Url, BackendUrl, Statuses, Secret})


def decode(type_: type[Any], value: object) -> object:
    """``dec_hook`` for msgspec: how the types of this module are read."""
    if type_ in _PARSED:
        return type_.parse(value)
    raise NotImplementedError(type_)


def encode(value: object) -> object:
    """``enc_hook``: the text that reads back as the same value, unless it is secret."""
    if isinstance(value, Secret):
        return "(set)" if value else ""
    if isinstance(value, Size):
        return sized(value)
    return spelled(value) if isinstance(value, Seconds) else str(value)


def spelled(seconds: float) -> str:
    """A duration in the largest unit that leaves no rest: ``"15m"``, ``"90s"``, ``"0.5s"``."""
    whole = ((unit, size) for unit, size in reversed(_UNITS.items()) if size >= 1 and seconds and seconds % size == 0)
    unit, size = next(whole, ("s", 1.0))
    return f"{seconds / size:g}{unit}"


def sized(count: int) -> str:
    """A number of bytes in the largest unit that leaves no rest: ``"10MB"``, ``"64KiB"``, ``"240B"``."""
    size, unit = max(((size, unit) for unit, size in _SIZES.items() if count and count % size == 0), default=(1, "B"))
    return f"{count // size}{unit}"
