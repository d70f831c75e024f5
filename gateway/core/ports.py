"""What the judgement needs from the outside world. Each port has one or more adapters; ``wiring`` chooses.

Every port that can fail raises a :class:`~gateway.errors.DependencyError`, and the guard turns that into a 503:
identity fails closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from gateway.core.claims import Claims, Principal
    from gateway.core.client_ip import IPAddress
    from gateway.core.context import Headers
    from gateway.core.decision import Decision
    from gateway.core.network import Place, Refusal, SessionKey, Trace


class Clock(Protocol):
    """Time, handed in."""

    def now(self) -> float:
        """Wall-clock seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""


class Verifier(Protocol):
    """Turns a credential into claims."""

    async def verify(self, token: str) -> Claims:
        """Claims of ``token``.

        :raises TokenError: the token is refused.
        :raises KeysUnavailable: it cannot be judged now.
        """


class KeySource(Protocol):
    """The issuer's published keys."""

    def peek(self, kid: str) -> RSAPublicKey | None:
        """The key, when it is known, fresh and needs no I/O."""

    async def key(self, kid: str) -> RSAPublicKey | None:
        """The key; None when the issuer publishes none of that name (after at most one rate-limited refresh).

        :raises KeysUnavailable: nothing usable is known and the issuer does not answer.
        """


@dataclass(frozen=True, slots=True)
class Standing:
    """What the account service says of one principal.

    ``valid_since`` is in whole seconds; ``epoch`` grows whenever anything here changes for this principal, so that
    equality of two epochs means equality of the answers; ``checked_at`` is monotonic seconds.
    """

    exists: bool
    disabled: bool
    valid_since: int
    epoch: int
    checked_at: float


class RevocationSource(Protocol):
    """Whether a principal's sessions still stand."""

    def peek(self, principal: Principal) -> Standing | None:
        """The standing, when one within the promised staleness is known and needs no I/O."""

    async def standing(self, principal: Principal) -> Standing:
        """The standing.

        :raises RevocationUnavailable: it is not known and the account service does not answer.
        """

    def last_known(self, principal: Principal) -> Standing | None:
        """The last standing heard of, however old: good enough to refuse somebody, never to vouch for them."""


class SessionDenyList(Protocol):
    """Sessions that were ended here, although their account and their tokens are good.

    A session is a principal and an ``auth_time`` (whole seconds): renewing a token keeps both, and every sign-in, on
    whatever device, has an ``auth_time`` of its own.
    """

    @property
    def generation(self) -> int:
        """Grows with every session that is denied: while it stands still, whoever was not denied still is not."""

    def denied(self, principal: Principal, auth_time: int) -> bool:
        """Whether the session was ended here. Needs no I/O."""

    def deny(self, principal: Principal, auth_time: int, until: float | None = None) -> None:
        """End the session, from the next request on.

        :param until: wall-clock seconds from which on its tokens are refused for another reason anyway; None when
            nobody knows.
        """


class AccountDirectory(Protocol):
    """Batched account look-ups: what a revocation source asks."""

    async def look_up(self, tenant: str | None, uids: Sequence[str]) -> Mapping[str, AccountRecord]:
        """Records of at most 100 users by uid; absent users are absent from the answer.

        :raises RevocationUnavailable: the account service does not answer.
        """

    async def revoke(self, principal: Principal) -> None:
        """End every session of the principal that began before now (Firebase ``revokeRefreshTokens``).

        :raises RevocationUnavailable: the account service does not answer.
        """


class SessionCookieSource(Protocol):
    """Who makes Firebase session cookies."""

    async def create_session_cookie(self, id_token: str, lifetime: int) -> str:
        """A session cookie for the user of a good ID token, good for ``lifetime`` seconds (300 to 1,209,600).

        :raises RevocationUnavailable: the account service does not answer, or makes none.
        """


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """One account, as far as sessions are concerned; ``valid_since`` in whole seconds, 0 when never set."""

    disabled: bool
    valid_since: int


class AddressSource(Protocol):
    """Who is calling; :class:`gateway.core.client_ip.AddressResolver` is the real one.

    Its answers hang on the peer and, where :meth:`trusts` believes the peer, on fields that only a gateway may set
    (:data:`gateway.mutators.headers.RESERVED`): the request has no other say in them.
    """

    @property
    def generation(self) -> int:
        """Grows whenever the same question may get another answer from now on."""

    def client(self, peer: str, headers: Headers) -> IPAddress | None:
        """The client's address.

        :raises RequestError: the chain of proxies is malformed.
        """

    def chain(self, peer: str, headers: Headers) -> Sequence[IPAddress]:
        """The addresses from the client's to the peer's that are believed; empty when the peer has none.

        :raises RequestError: the chain of proxies is malformed.
        """

    def scheme(self, peer: str, headers: Headers, connection: str) -> str:
        """``http`` or ``https``, as the client used it."""

    def trusts(self, address: IPAddress | None) -> bool:
        """Whether what ``address`` reports about others is believed."""


class GeoLocator(Protocol):
    """What databases say of addresses."""

    def locate(self, address: IPAddress) -> Place:
        """The address's place. What is not known, not readable or too old is None in it; never waits, never fails."""


class NetworkMemory(Protocol):
    """Where sessions have been.

    Everything here is at hand in the process: an implementation that shares what it knows with others does so behind
    this, on :meth:`learned` and :meth:`refuse`.
    """

    def recall(self, session: SessionKey) -> Trace | None:
        """The session's trace, which the caller may change in place."""

    def begin(self, session: SessionKey) -> Trace:
        """An empty trace, kept from now on."""

    def learned(self, session: SessionKey, trace: Trace) -> None:
        """Take note that a network was added to the trace."""

    def refuse(self, person: Principal | str, refusal: Refusal) -> None:
        """Remember where somebody was asked to sign in again: ``refusal.after`` the one that is remembered."""

    def answered(self, session: SessionKey) -> Refusal | None:
        """The refusal that the session's sign-in answers; it is forgotten with that, so that it counts once."""


class Revoker(Protocol):
    """Ends all sessions of a user soon, at the account service."""

    def revoke_soon(self, principal: Principal) -> None:
        """Take note and return at once. What exceeds the operator's limit is dropped, loudly."""


class SignInHook(Protocol):
    """A blocking function that runs in process: what the embedded provider calls before it issues tokens.

    The shapes are those of the wire (Google, "Extend with blocking functions"): ``event`` holds the claims of an event
    JWT, the answer is the body of a function's 200 reply (``{}`` for "nothing to change").
    """

    async def __call__(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer the event, or raise to refuse it."""


class DecisionEvent(NamedTuple):
    """One decision, for the log; no header value and no token. ``micros``: the judgement's time in microseconds."""

    at: float
    request_id: str
    method: str
    host: str
    path: str
    client: str
    decision: Decision
    micros: int


class AuditSink(Protocol):
    """Where decisions are recorded."""

    def record(self, event: DecisionEvent) -> None:
        """Take one event. Returns at once: formatting and writing happen elsewhere."""
