"""What lasts at a server: one connection as it is judged again, what operators tune, and the close codes.

The rules are those of :mod:`gateway.proxy.live_connections`, which looks after all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from gateway.core.decision import Allow, Challenge, Deny
from gateway.core.network import is_private, public_key

if TYPE_CHECKING:
    from gateway.core.claims import Claims
    from gateway.core.client_ip import IPAddress
    from gateway.core.context import RequestContext
    from gateway.guard import SessionGuard
    from gateway.proxy.answer import RawFields
    from gateway.reasons import Reason

Kind: TypeAlias = Literal["websocket", "event-stream", "transfer"]

DEFAULT_RECHECK: Final = 60.0
"""Seconds."""
DEFAULT_IDLE: Final = 3600.0
"""Seconds that a WebSocket may be silent both ways; HAProxy's usual ``timeout tunnel``."""
DEFAULT_MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of one WebSocket message."""

CLOSE_SIGN_IN: Final = 4401
CLOSE_FORBIDDEN: Final = 4403
"""Private codes (RFC 6455 section 7.4.2), after the statuses 401 and 403."""
CLOSE_GOING_AWAY: Final = 1001
CLOSE_TOO_BIG: Final = 1009
CLOSE_INTERNAL: Final = 1011
CLOSE_TRY_LATER: Final = 1013
"""RFC 6455 section 7.4.1, and IANA's registry of close codes for the last two."""

_UNAVAILABLE: Final = 503
_INTERNAL: Final = 500


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What operators tune. Seconds, and bytes; ``idle`` and ``max_message`` 0 for none."""

    recheck: float = DEFAULT_RECHECK
    grace: float = 0.0
    idle: float = DEFAULT_IDLE
    max_message: int = DEFAULT_MAX_MESSAGE


class End(Protocol):
    """How a connection is ended."""

    def __call__(self, reason: Reason, code: int) -> bool:
        """End it, with this close code where it is a WebSocket. False: it had ended."""


class Live:
    """One request under way. ``decision`` is the last one, ``guard`` who gave it."""

    __slots__ = (
        "answer",
        "asked",
        "began",
        "context",
        "decision",
        "end",
        "ended",
        "exchange",
        "guard",
        "kind",
        "moved",
        "over",
        "renewed",
        "request_id",
        "slot",
    )

    def __init__(
        self,
        kind: Kind,
        decision: Allow,
        guard: SessionGuard,
        request_id: str,
        context: Callable[[], RequestContext],
        end: End,
        began: float,
    ) -> None:
        self.kind: Kind = kind
        self.decision = decision
        self.guard = guard
        self.request_id = request_id
        self.context = context
        self.end = end
        self.began = self.moved = began
        """Loop time: when it began, and when bytes of a WebSocket moved last."""
        self.answer: RawFields = ()
        """Fields of the answer, once they are here."""
        self.renewed: Claims | None = None
        """Newer claims of the same session, from the same network."""
        self.exchange: Exchange | None = None
        """What it is on the fast path, which tells nobody of its end."""
        self.ended: Reason | None = None
        """Why it was ended by other rules than those of sessions."""
        self.over = False
        self.asked = False
        """Whether the guard is being asked."""
        self.slot = -1

    def settle_kind(self) -> None:
        """Look at its answer: a stream of events (HTML, section 9.2) is to go on, everything else comes to an end."""
        if self.kind == "transfer" and self.answer:
            types = [value for name, value in self.answer if name.lower() == b"content-type"]
            if types and types[0].lower().startswith(b"text/event-stream"):
                self.kind = "event-stream"


class Exchange(Protocol):
    """A request on the fast path, as far as it matters here."""

    @property
    def decision(self) -> Allow:
        """What let it pass."""

    @property
    def request_id(self) -> str:
        """Its request id."""

    @property
    def answer(self) -> RawFields:
        """Fields of its answer, once they are here."""

    def context(self) -> RequestContext:
        """What was asked.

        :raises LookupError: it has ended.
        """

    def cut(self) -> bool:
        """End it, visibly. False: it had ended."""


def close_code(decision: Challenge | Deny) -> int:
    """The close code that goes with a refusal: 4401 where signing in helps, 4403 where it does not.

    What only cannot be judged now is 1013, "try again later".
    """
    if isinstance(decision, Challenge):
        return CLOSE_SIGN_IN
    return {_UNAVAILABLE: CLOSE_TRY_LATER, _INTERNAL: CLOSE_INTERNAL}.get(decision.reason.status, CLOSE_FORBIDDEN)


def same_network(one: IPAddress | None, other: IPAddress | None) -> bool:
    """Whether the addresses are of one network, as :mod:`gateway.core.network` counts them."""
    if one is None or other is None:
        return one is other
    # Private addresses are networks of one: they mean nothing to whoever is not beside them.
    return one == other or (not is_private(one) and public_key(one) == public_key(other))
