"""The steps of a judgement in a response header, for callers whom the operator names.

The rule this file obeys (``threats.md`` row 20): a trail says more than a client may know, so it goes to the networks
of ``log.explain_to`` and to nobody else, it is bounded, it is visible ASCII, and no step of it holds a token.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from gateway.core.trail import Trail
from gateway.errors import RequestError

if TYPE_CHECKING:
    from gateway.core.client_ip import IPAddress, IPNetwork
    from gateway.core.context import RequestContext
    from gateway.core.ports import AddressSource

FIELD: Final = "X-Gateway-Trail"
MAX_LENGTH: Final = 2_048
"""Bytes of the field's value; servers and proxies take 4 KB for one field at least."""


class TrailReaders:
    """Who is told: clients within ``networks``. With none, asking costs one comparison."""

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[IPNetwork] = ()) -> None:
        self._networks = tuple(networks)

    def trail_for(self, context: RequestContext, addresses: AddressSource) -> Trail | None:
        """An empty trail for a caller who may read it, else None."""
        if not self._networks:
            return None
        try:
            client = addresses.client(context.peer, context.headers)
        except RequestError:
            return None
        return Trail() if self.told(client) else None

    def told(self, client: IPAddress | None) -> bool:
        """Whether a client at this address is told."""
        return client is not None and any(client in network for network in self._networks)


def trail_fields(trail: Trail | None) -> tuple[tuple[str, str], ...]:
    """The field for an answer; nothing for everybody else's."""
    return () if trail is None else ((FIELD, trail_value(trail)),)


def trail_value(trail: Trail) -> str:
    """``step=answer; step=answer``, a ``!`` in front of an answer that refused."""
    text = "; ".join(f"{step.name}={'' if step.ok else '!'}{_plain(step.answer)}" for step in trail.steps)
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "..."


def _plain(answer: str) -> str:
    return "".join(c if " " <= c <= "~" and c != ";" else "?" for c in answer)
