"""The guard's only input: one request, as the enforcement point saw it, with nothing decided yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.core.quick import maker
from gateway.core.target import Target

RawHeaders = tuple[tuple[bytes, bytes], ...]
"""Field lines in the order they arrived: names as sent, values without surrounding white space."""


class Headers:
    """Read-only view of the field lines of one request, by lower-case name.

    Repeated fields stay apart: whether two lines may be joined is a rule of the field, not of the container.
    """

    __slots__ = ("_index", "raw")

    def __init__(self, raw: RawHeaders) -> None:
        self.raw: Final = raw
        index: dict[bytes, list[bytes]] = {}
        for name, value in raw:
            lower = name.lower()
            if lower in index:
                index[lower].append(value)
            else:
                index[lower] = [value]
        self._index = index

    def all(self, name: bytes) -> list[str]:
        """Every value of the field ``name`` (lower case), in order; bytes above 0x7F become U+0080 to U+00FF."""
        return [value.decode("latin-1") for value in self._index.get(name, ())]

    def octets(self, name: bytes) -> Sequence[bytes]:
        """Every value of the field ``name`` (lower case), in order, as it came."""
        return self._index.get(name, ())

    def one(self, name: bytes) -> str | None:
        """The value of ``name`` when it stands exactly once, else None."""
        values = self._index.get(name)
        return values[0].decode("latin-1") if values is not None and len(values) == 1 else None

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.raw)

    def __repr__(self) -> str:
        # Values may hold tokens: a repr that lands in a log names the fields only.
        return f"Headers({', '.join(name.decode('latin-1') for name, _ in self.raw)})"


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request, before judgement.

    ``method`` is upper case as sent; ``host`` is the authority the client named (lower case, with port when given);
    ``peer`` is the socket's address as text (``""`` for a unix socket); ``scheme`` is that of the connection to *us*.
    """

    method: str
    scheme: str
    host: str
    target: Target
    peer: str
    headers: Headers = field(repr=False)
    websocket: bool = False

    @property
    def safe(self) -> bool:
        """Whether the method is safe (RFC 9110 section 9.2.1) and the request is no WebSocket handshake."""
        return self.method in _SAFE_METHODS and not self.websocket


make_context: Final = maker(RequestContext)
"""The same, made quickly, with the values in the order of the fields."""

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
