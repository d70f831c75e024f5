"""Lists of networks as text: privacy relays with their countries, hosting operators.

A relay list has the form of Apple's egress list for iCloud Private Relay, which is published at
https://mask-api.icloud.com/egress-ip-ranges.csv: one line per block, ``172.224.224.0/27,GB,GB-ENG,London,``. A hosting
list has one operator (``AS64496``) or one block or address a line, with ``#`` for comments; exit lists of anonymity
networks fit.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from typing import Final, TypeVar

from gateway.core.client_ip import IPAddress, IPNetwork

_V = TypeVar("_V")
_BITS: Final = {4: 32, 6: 128}


class _Blocks(dict[tuple[int, int], dict[int, _V]]):
    """Values by block: one dictionary for each prefix length, so that a look-up costs as many as there are lengths."""

    def put(self, block: IPNetwork, value: _V) -> None:
        shift = _BITS[block.version] - block.prefixlen
        self.setdefault((block.version, shift), {})[int(block.network_address) >> shift] = value

    def find(self, address: IPAddress) -> Iterator[_V]:
        number = int(address)
        for (version, shift), values in self.items():
            if version == address.version and (number >> shift) in values:
                yield values[number >> shift]


class RelayList:
    """Blocks of a privacy relay, each with the country of its users."""

    def __init__(self, blocks: _Blocks[str]) -> None:
        self._blocks = blocks

    @classmethod
    def parse(cls, text: str) -> RelayList:
        """Read a list.

        :raises ValueError: a line does not begin with a block, or there is none at all.
        """
        blocks: _Blocks[str] = _Blocks()
        for number, line in _lines(text):
            block, _, rest = line.partition(",")
            blocks.put(_block(block, number), sys.intern(rest.partition(",")[0].strip().upper()))
        if not blocks:
            raise ValueError("holds no line")
        return cls(blocks)

    def find(self, address: IPAddress) -> str | None:
        """The country, ``""`` when the list names none; None when the address is no relay's."""
        return next(self._blocks.find(address), None)


class HostingList:
    """Operators and blocks of hosting, VPN and anonymity services."""

    def __init__(self, asns: frozenset[int], blocks: _Blocks[bool]) -> None:
        self._asns = asns
        self._blocks = blocks

    @classmethod
    def parse(cls, text: str) -> HostingList:
        """Read a list.

        :raises ValueError: a line is neither an operator nor a block, or there is none at all.
        """
        asns: set[int] = set()
        blocks: _Blocks[bool] = _Blocks()
        for number, line in _lines(text):
            digits = line[2:] if line[:2].upper() == "AS" else line
            if digits.isascii() and digits.isdecimal():
                asns.add(int(digits))
            else:
                blocks.put(_block(line, number), value=True)
        if not asns and not blocks:
            raise ValueError("holds no line")
        return cls(frozenset(asns), blocks)

    def holds(self, address: IPAddress, asn: int | None) -> bool:
        """Whether the address or its operator is listed."""
        return (asn is not None and asn in self._asns) or next(self._blocks.find(address), False)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if content:
            yield number, content


def _block(text: str, number: int) -> IPNetwork:
    try:
        return ipaddress.ip_network(text.strip())
    except ValueError:
        raise ValueError(f"line {number} does not hold a network") from None
