"""What databases say of addresses: MMDB files for operator and country, plain lists for relays and hosting.

The rule this file obeys: *missing data is no evidence.* A file that is not there, cannot be read or is older than the
operator's limit answers nothing, so that every address is merely ``unknown`` to the policy; that is said once, loudly,
and its age is exported. No data comes with this package.

Files are read whole into memory, so that one that is being replaced can never be half of each (a memory map of a file
that shrinks would end the process). A look at their times every :data:`RELOAD_EVERY` seconds, off the event loop,
notices new ones.

Field names are those of MaxMind's GeoLite2 and GeoIP2 (https://dev.maxmind.com/geoip/docs/databases/), which DB-IP
shares, of ip-location-db (https://github.com/sapics/ip-location-db) and of IPinfo.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from cachetools import LRUCache

from gateway.adapters.address_lists import HostingList, RelayList
from gateway.core.client_ip import IPAddress
from gateway.core.network import NOWHERE, AddressClass, Place, is_private
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.core.ports import Clock

RELOAD_EVERY: Final = 30.0
"""Seconds between two looks at the files' times."""

_DAY: Final = 86_400.0

REMEMBERED: Final = 20_000
"""Addresses whose place is remembered. A look-up in pure Python takes some 20 µs, and people ask in bursts."""

_log = logging.getLogger(__name__)


class _Reader(Protocol):
    def get(self, ip_address: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One file: ``built_at`` in wall-clock seconds, ``error`` None while it is in use."""

    name: str
    path: Path
    built_at: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class GeoFiles:
    """Which files there are; None for none."""

    asn: Path | None = None
    country: Path | None = None
    relay: Path | None = None
    hosting: Path | None = None

    def named(self) -> dict[str, Path]:
        """The files that are configured, by the name of their key."""
        found = {"asn_db": self.asn, "country_db": self.country, "relay_list": self.relay, "hosting_list": self.hosting}
        return {name: path for name, path in found.items() if path is not None}


@dataclass(slots=True)
class _Loaded:
    stamp: tuple[int, int, int]
    built_at: float
    content: Any


class GeoFilesLocator:
    """Implements :class:`gateway.core.ports.GeoLocator` over files.

    :param max_age: seconds after which a database is too old to say anything.
    :raises ConfigError: a database is configured and the package that reads it is not installed.
    """

    def __init__(self, files: GeoFiles, clock: Clock, *, max_age: float) -> None:
        if files.asn is not None or files.country is not None:
            require_reader()
        self._files = files.named()
        self._clock = clock
        self._max_age = max_age
        self._loaded: dict[str, _Loaded] = {}
        self._errors: dict[str, str] = {}
        self._places: LRUCache[IPAddress, Place] = LRUCache(REMEMBERED)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the files and go on looking at their times."""
        await asyncio.to_thread(self.refresh)
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stop looking. Closing twice is harmless."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def refresh(self) -> None:
        """Load what is new or changed, and drop what has become too old or is gone. Blocks on the disk."""
        changed = False
        for name, path in self._files.items():
            changed |= self._refresh_one(name, path)
        if changed:
            self._places = LRUCache(REMEMBERED)

    def locate(self, address: IPAddress) -> Place:
        """The address's place; :data:`~gateway.core.network.NOWHERE` when nothing is known."""
        places = self._places
        place = places.get(address)
        if place is None:
            place = places[address] = NOWHERE if is_private(address) else self._look_up(address)
        return place

    def status(self) -> list[FileStatus]:
        """Every configured file."""
        return [
            FileStatus(
                name,
                path,
                self._loaded[name].built_at if name in self._loaded else None,
                self._errors.get(name),
            )
            for name, path in self._files.items()
        ]

    def ages(self) -> dict[str, float]:
        """Seconds since each file in use was built, for the metrics."""
        now = self._clock.now()
        return {name: now - loaded.built_at for name, loaded in self._loaded.items()}

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(RELOAD_EVERY)
            await asyncio.to_thread(self.refresh)

    def _refresh_one(self, name: str, path: Path) -> bool:
        loaded = self._loaded.get(name)
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if loaded is None or loaded.stamp != stamp:
                built_at, content = _OPENERS[name](path.read_bytes(), stat.st_mtime)
                loaded = _Loaded(stamp, built_at, content)
        except OSError as error:
            return self._fail(name, path, error.strerror or "cannot be read")
        except Exception as error:  # noqa: BLE001 - a reader of foreign bytes may raise anything
            return self._fail(name, path, str(error) or type(error).__name__)
        age = self._clock.now() - loaded.built_at
        if age > self._max_age:
            return self._fail(name, path, f"is {age / _DAY:.0f} days old, more than network.max_data_age")
        if self._errors.pop(name, None) is not None:
            _log.warning("network.%s: %s is in use again", name, path)
        changed = self._loaded.get(name) is not loaded
        self._loaded[name] = loaded
        return changed

    def _fail(self, name: str, path: Path, what: str) -> bool:
        if name not in self._errors:
            _log.error(
                "network.%s: %s: %s. What it would tell counts as unknown until that is mended", name, path, what
            )
        self._errors[name] = what
        return self._loaded.pop(name, None) is not None

    def _look_up(self, address: IPAddress) -> Place:
        asn = _asn(self._record("asn_db", address))
        country, location = _country(self._record("country_db", address))
        place = NOWHERE if asn is None and country is None else Place(asn, country, location)
        relay, hosting = self._loaded.get("relay_list"), self._loaded.get("hosting_list")
        if relay is not None:
            told = relay.content.find(address)
            if told is not None:
                # The operator of the relay publishes the country that its users chose to keep; databases guess it.
                return replace(place, country=told or country, location=None, kind=AddressClass.RELAY)
        if hosting is not None and hosting.content.holds(address, asn):
            return replace(place, kind=AddressClass.HOSTING)
        return place

    def _record(self, name: str, address: IPAddress) -> Mapping[str, Any]:
        loaded = self._loaded.get(name)
        if loaded is None:
            return {}
        try:
            record = loaded.content.get(str(address))
        except Exception:  # noqa: BLE001 - a damaged file, or an IPv6 address in an IPv4 database
            return {}
        return record if isinstance(record, dict) else {}


def require_reader() -> None:
    """Refuse to go on without the package that reads MMDB files.

    :raises ConfigError: it is not installed.
    """
    try:
        import maxminddb  # noqa: F401, PLC0415 - only needed where databases are
    except ImportError:
        raise ConfigError(
            "$.network", "names a database, and maxminddb is not installed", "pip install 'session-gateway[geo]'"
        ) from None


def _open_mmdb(data: bytes, _modified: float) -> tuple[float, _Reader]:
    import maxminddb  # noqa: PLC0415 - only needed where databases are

    reader = maxminddb.open_database(io.BytesIO(data), maxminddb.MODE_FD)
    return float(reader.metadata().build_epoch), reader


def _open_relays(data: bytes, modified: float) -> tuple[float, RelayList]:
    return modified, RelayList.parse(data.decode("utf-8"))


def _open_hosting(data: bytes, modified: float) -> tuple[float, HostingList]:
    return modified, HostingList.parse(data.decode("utf-8"))


_OPENERS: Final[dict[str, Callable[[bytes, float], tuple[float, Any]]]] = {
    "asn_db": _open_mmdb,
    "country_db": _open_mmdb,
    "relay_list": _open_relays,
    "hosting_list": _open_hosting,
}


def _asn(record: Mapping[str, Any]) -> int | None:
    """MaxMind, DB-IP, ip-location-db: a number; IPinfo: ``"AS64496"``."""
    value = record.get("autonomous_system_number", record.get("asn"))
    if isinstance(value, str) and value[:2].upper() == "AS" and value[2:].isdecimal():
        value = int(value[2:])
    return value if type(value) is int and value > 0 else None


def _country(record: Mapping[str, Any]) -> tuple[str | None, tuple[float, float] | None]:
    """MaxMind, DB-IP: ``country.iso_code``; ip-location-db: ``country_code``; IPinfo: ``country``."""
    nested = record.get("country")
    code = nested.get("iso_code") if isinstance(nested, dict) else nested
    code = record.get("country_code") if not isinstance(code, str) else code
    where = record.get("location")
    at = where if isinstance(where, dict) else record
    latitude, longitude = _degrees(at.get("latitude")), _degrees(at.get("longitude"))
    location = (latitude, longitude) if latitude is not None and longitude is not None else None
    return (code.upper() if isinstance(code, str) and len(code) == 2 else None), location  # noqa: PLR2004 - ISO 3166-1


def _degrees(value: object) -> float | None:
    """A coordinate; IPinfo writes it as text."""
    try:
        degrees = float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
    return degrees if degrees is not None and -180 <= degrees <= 180 else None  # noqa: PLR2004 - degrees
