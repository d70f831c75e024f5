"""A small world of networks without files, and one session that is seen in it."""

from __future__ import annotations

from typing import Any, Final

from gateway.adapters.network_memory import InProcessNetworks
from gateway.core.client_ip import IPAddress, parse_address
from gateway.core.network import AddressClass, Place, SessionKey
from gateway.core.session import NetworkAction, NetworkLevel
from gateway.policy.baselines import origin_of
from gateway.policy.ip_change import Preset
from gateway.policy.networks import Finding, NetworkJudge, NetworkSettings
from tests.support.clock import NOW, FakeClock

RELAXED, STRICT, MONITOR, PINNED, OFF = Preset.RELAXED, Preset.STRICT, Preset.MONITOR, Preset.PINNED, Preset.OFF
KEY: Final = b"0123456789abcdef"

HOME, HOME_6 = "203.0.113.9", "2001:db8:1:2::9"
MOBILE, MOBILE_6, NEAR_MOBILE = "198.51.100.7", "2001:db8:99::7", "198.51.101.7"
ABROAD, NEAR, VPN, UNLISTED, FLIGHT = "192.0.2.1", "203.0.114.9", "198.18.0.1", "198.19.0.1", "198.20.0.1"
RELAY, FAR = "198.21.0.1", "198.22.0.1"
LAN = "192.168.1.7"

PLACES = {
    HOME: Place(64496, "DE", (52.5, 13.4)),
    NEAR: Place(64496, "DE"),
    HOME_6: Place(64496, "DE"),
    MOBILE: Place(64497, "DE"),
    NEAR_MOBILE: Place(64497, "DE"),
    MOBILE_6: Place(64497, "DE"),
    ABROAD: Place(64498, "FR", (48.9, 2.4)),
    FAR: Place(64540, "DE", (-33.9, 151.2)),  # overseas
    VPN: Place(64510, "NL", kind=AddressClass.HOSTING),
    FLIGHT: Place(64520, "US"),
    RELAY: Place(64530, "DE", kind=AddressClass.RELAY),
}


class Locator:
    """Knows the addresses above, counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def locate(self, address: IPAddress) -> Place:
        self.asked.append(str(address))
        return PLACES.get(str(address), Place())


class World:
    """A judge with memory, and one session that it sees."""

    def __init__(self, *, locator: bool = False, claim: object = HOME, **settings: Any) -> None:
        self.clock = FakeClock()
        self.locator = Locator() if locator else None
        self.memory = InProcessNetworks()
        self.judge = NetworkJudge(
            memory=self.memory, locator=self.locator, clock=self.clock, settings=NetworkSettings(**settings)
        )
        self.claim = claim
        self.auth_time = int(NOW)

    def see(self, address: str | None, preset: Preset = RELAXED, *, after: float = 1.0) -> Finding:
        self.clock.advance(after)
        client = None if address is None else parse_address(address)
        return self.judge.weigh(SessionKey("ada", self.auth_time), origin_of(self.claim, None), client, preset)

    def outcome(
        self, address: str | None, preset: Preset = RELAXED, *, after: float = 1.0
    ) -> tuple[NetworkLevel, NetworkAction]:
        finding = self.see(address, preset, after=after)
        return finding.level, finding.action

    def sign_in(self, claim: object) -> None:
        """Begin another session of the same person."""
        self.clock.advance(2)
        self.claim, self.auth_time = claim, int(self.clock.now())
