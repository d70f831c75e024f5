"""``gateway ip``: try a network policy on two addresses, or on what the decision log has seen."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.adapters.network_memory import InProcessNetworks
from gateway.clock import SystemClock
from gateway.config.load import Loaded, load
from gateway.config.networks import network_settings
from gateway.core.client_ip import parse_address
from gateway.core.network import NOWHERE, AddressClass, Place, SessionKey, is_private, network_of
from gateway.core.session import NetworkLevel
from gateway.errors import ConfigError
from gateway.policy.baselines import origin_of, read_record
from gateway.policy.ip_change import REFUSALS, Preset
from gateway.policy.networks import NetworkJudge, NetworkSettings
from gateway.policy.replay import Recorded, Replay, ReplayClock, Tally
from gateway.wiring import locator_of

if TYPE_CHECKING:
    from gateway.adapters.geoip import GeoFilesLocator
    from gateway.core.client_ip import IPAddress

_WORST: Final = 5
"""People listed by name: enough to look somebody up, too few to scroll."""

_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR
_WIDTH: Final = 110
"""Columns of a table where the terminal says nothing of its width."""


def run_judge(sign_in: str, request: str, *, config: Path | None, preset: Preset | None, idle: float) -> int:
    """Print how a request stands to a sign-in, by every preset or by one; 1 when that one refuses, else 0.

    :param idle: hours since the session was last seen, at its sign-in.
    :raises ConfigError: an argument or the configuration cannot be used.
    """
    client = parse_address(request)
    if client is None:
        raise ConfigError("REQUEST_IP", f"{request!r} is no address", "such as 203.0.113.9 or 2001:db8::1")
    settings, locator = _equipment(load(config) if config is not None else None)
    origin = origin_of(sign_in, None)
    console = Console(highlight=False, soft_wrap=True)
    _print_address(console, "sign-in", origin.address if origin is not None else None, sign_in, locator)
    _print_address(console, "request", client, request, locator)
    clock = ReplayClock()
    clock.at = idle * _HOUR
    refused = False
    for each in Preset if preset is None else [preset]:
        judge = NetworkJudge(memory=InProcessNetworks(), locator=locator, clock=clock, settings=settings)
        finding = judge.weigh(SessionKey("somebody", 0), origin, client, each)
        refused = refused or finding.refuses
        mark = ("✗ ", "red") if finding.refuses else ("✓ ", "green")
        console.print(Text.assemble(mark, f"{each:<10}{finding.level:<12}{finding.action:<16}{finding.why}"))
    return int(refused and preset is not None)


def _print_address(
    console: Console, name: str, address: IPAddress | None, text: str, locator: GeoFilesLocator | None
) -> None:
    if address is None:
        told = f"{text!r} is no address; the claim counts as missing" if text else "no claim"
    elif is_private(address):
        told = f"{address}  private"
    else:
        told = f"{address}  {network_of(address)}"
        if locator is not None:
            told += f"  {_place_text(locator.locate(address))}"
    console.print(f"{name:<9} {told}")


def _place_text(place: Place) -> str:
    if place == NOWHERE:
        return "not in the databases"
    parts = [f"AS{place.asn}" if place.asn is not None else "operator unknown", place.country or "country unknown"]
    if place.kind is not AddressClass.ORDINARY:
        parts.append(str(place.kind))
    return " ".join(parts)


def run_replay(log: Path, *, config: Path | None, preset: Preset | None, days: float | None) -> int:
    """Print what a preset would have done to the requests of a decision log.

    :param days: only the last so many days of the log.
    :raises ConfigError: the log or the configuration cannot be used.
    """
    loaded = load(config) if config is not None else None
    settings, locator = _equipment(loaded)
    if preset is None:
        preset = loaded.config.network.preset if loaded is not None else Preset.RELAXED
    records = _read_log(log)
    since = max((record.at for record in records), default=0.0) - days * _DAY if days is not None else 0.0
    replay = Replay(
        lambda clock: NetworkJudge(memory=InProcessNetworks(), locator=locator, clock=clock, settings=settings), preset
    )
    for record in records:
        if record.at >= since:
            replay.feed(record)
    _print_tally(Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH), replay.tally, preset)
    return 0


def _print_tally(console: Console, tally: Tally, preset: Preset) -> None:
    if not tally.requests or tally.first is None or tally.last is None:
        console.print("The log holds no decision about a session, so there is nothing to replay.")
        return
    asked = tally.affected
    console.print(
        f"{tally.requests} requests of {len(tally.people)} people in {len(tally.sessions)} sessions, "
        f"{_day(tally.first)} to {_day(tally.last)}, judged by {preset}"
    )
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in ("level", "action"):
        table.add_column(column)
    table.add_column("requests", justify="right")
    levels = list(NetworkLevel)
    for (level, action), count in sorted(tally.outcomes.items(), key=lambda row: (levels.index(row[0][0]), row[0][1])):
        table.add_row(str(level), Text(str(action), "red" if action in REFUSALS else ""), str(count))
    console.print(table)
    console.print(f"Sign-ins asked for: {len(tally.refused)}, from {len(asked)} of {len(tally.people)} people")
    for person, times in asked.most_common(_WORST):
        last = next(refusal for refusal in reversed(tally.refused) if refusal.person == person)
        console.print(
            f"  {person}  {'once' if times == 1 else f'{times} times'}, last: {last.finding.level}, {last.finding.why}"
        )


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _equipment(loaded: Loaded | None) -> tuple[NetworkSettings, GeoFilesLocator | None]:
    if loaded is None:
        return NetworkSettings(), None
    locator = locator_of(loaded, SystemClock())
    if locator is not None:
        locator.refresh()
        for status in locator.status():
            if status.error is not None:
                raise ConfigError(
                    f"$.network.{status.name}", f"{status.path}: {status.error}", "name a file that can be read"
                )
    return network_settings(loaded.config), locator


def _read_log(path: Path) -> list[Recorded]:
    """The decisions about sessions in a log, oldest first; other lines are passed over."""
    try:
        with sys.stdin if str(path) == "-" else path.open(encoding="utf-8") as lines:
            records = [record for line in lines if (record := _record(line)) is not None]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            str(path), f"cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}", "a decision log"
        ) from None
    return sorted(records, key=lambda record: record.at)


def _record(line: str) -> Recorded | None:
    try:
        fields: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("event") != "decision":
        return None
    at, person, auth_time = fields.get("time"), fields.get("principal"), fields.get("signed_in_at")
    if not isinstance(at, int | float) or not isinstance(person, str) or type(auth_time) is not int:
        return None
    client = parse_address(str(fields.get("client", "")))
    origin = read_record(fields.get("signed_in_from"), client, exact=fields.get("signed_in_here") is True)
    return Recorded(float(at), person, auth_time, origin, client)
