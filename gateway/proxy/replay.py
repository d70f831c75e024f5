"""The table of the fast path: decisions that the guard made, to be given again while every condition still holds.

The rules this file obeys (``threats.md`` rows 13, 16 to 19, 40 and 45):

* **It never judges.** A record is written only behind :meth:`gateway.guard.SessionGuard.judge`, and only when the guard
  called its answer replayable. On every use the guard itself is asked whether time, revocation and configuration still
  allow it (:meth:`gateway.guard.SessionGuard.holds`); token bytes, route and client are compared here. Whatever does
  not match goes the ordinary way and is judged.
* A token is known by the SHA-256 digest of the whole field value, never by a part of it: a signature alone does not
  tell which signed text came with it.
* A replay is recorded in the audit like any other decision.
* The table belongs to one guard and one configuration; another guard gets another table.

What depends on the client's address is computed by the same functions as on the ordinary way and remembered for the
very lines it was computed from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Generic, TypeVar

from gateway.core.client_ip import AddressResolver, parse_address
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow
from gateway.core.session import Session
from gateway.core.target import Target, parse_target
from gateway.errors import RequestError
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints
from gateway.mutators.headers import forwarding_fields, identity_fields
from gateway.policy.routes import Auth, Route
from gateway.proxy.plain import PlainRequest, request_target, well_formed
from gateway.proxy.upstream import Upstream

MAX_GRANTS: Final = 50_000
"""Decisions remembered, in two generations; about 900 bytes each."""
MAX_TARGETS: Final = 4_096
"""Request lines remembered with their route."""
MAX_CALLERS: Final = 4_096
"""Chains of forwarded addresses remembered."""
MAX_HOSTS: Final = 16
"""Hosts remembered for each target and each caller."""

_AUTHORIZATION: Final = len(b"Authorization: ")
_HOST: Final = len(b"Host: ")

Key = TypeVar("Key")
Value = TypeVar("Value")


class TwoGenerations(Generic[Key, Value]):
    """A bounded table: what was not used while half of ``size`` new entries came is forgotten."""

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, size: int) -> None:
        self._half = max(size // 2, 1)
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: Key) -> Value | None:
        """The value, or None."""
        value = self._young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Remember ``value``."""
        if len(self._young) >= self._half and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = value


class Grant:
    """One decision that can be given again, and what it makes of a request: ``identity`` are whole lines or nothing."""

    __slots__ = ("client", "decision", "identity")

    def __init__(self, decision: Allow, client: str, identity: bytes) -> None:
        self.decision = decision
        self.client = client
        self.identity = identity


class Way:
    """Where requests of one route go. ``token`` tells routes apart in keys."""

    __slots__ = ("keeps_authorization", "route", "token", "upstream")

    def __init__(self, route: Route, token: bytes, upstream: Upstream) -> None:
        self.route = route
        self.token = token
        self.upstream = upstream
        self.keeps_authorization = route.forward_authorization


class Asked:
    """A request line that was understood. ``ways``: by ``Host`` line, None where requests must be judged."""

    __slots__ = ("method", "target", "ways")

    def __init__(self, method: str, target: Target) -> None:
        self.method = method
        self.target = target
        self.ways: dict[bytes, Way | None] = {}


class Caller:
    """Who is at the other end, as the guard's address source reads it.

    ``client`` is the address as text ("" for none); ``forwarding`` are the ``Host`` line and the forwarding lines, by
    the client's ``Host`` line.
    """

    __slots__ = ("client", "forwarding")

    def __init__(self, client: str) -> None:
        self.client = client
        self.forwarding: dict[bytes, tuple[bytes, bytes]] = {}


class Peer:
    """One connection, as far as replaying goes. ``trusted``: what the peer reports about others is believed."""

    __slots__ = ("caller", "grant", "key", "scheme", "text", "trusted", "way")

    def __init__(self, text: str, scheme: str, *, trusted: bool) -> None:
        self.text = text
        self.scheme = scheme
        self.trusted = trusted
        self.caller: Caller | None = None
        self.key: bytes | None = None
        """The last ``Authorization`` line, with the way and grant that belong to it."""
        self.way: Way | None = None
        self.grant: Grant | None = None


class Found:
    """A request that may be passed on at once."""

    __slots__ = ("asked", "caller", "grant", "plain", "way")

    def __init__(self, asked: Asked, plain: PlainRequest, way: Way, caller: Caller, grant: Grant) -> None:
        self.asked = asked
        self.plain = plain
        self.way = way
        self.caller = caller
        self.grant = grant

    @property
    def host(self) -> str:
        """The authority that was asked, lower case."""
        return self.plain.host[_HOST:-1].decode("ascii").lower()

    def head(self, peer: Peer, table: ReplayTable, request_id: bytes) -> bytes:
        """The request's head for the backend: the same bytes that the ordinary way writes."""
        plain = self.plain
        host, forwarding = self.caller.forwarding.get(plain.host) or table.forwarding(peer, self)
        lines = [plain.line, host, *plain.kept]
        if plain.authorization is not None and self.way.keeps_authorization:
            lines.insert(2 + plain.authorized_at, plain.authorization)
        lines.append(b"%bX-Request-Id: %b\r\n%b\r\n" % (forwarding, request_id, self.grant.identity))
        return b"\n".join(lines)


class ReplayTable:
    """Decisions of one guard. ``usable`` is False where the guard reads addresses in ways not known here."""

    def __init__(self, guard: SessionGuard, upstreams: Mapping[str, Upstream], endpoints: Endpoints) -> None:
        self.guard: Final = guard
        self.usable: Final = type(guard.addresses) is AddressResolver
        self._endpoints = endpoints
        self._ways = {
            route.name: Way(route, index.to_bytes(4), upstreams[route.upstream])
            for index, route in enumerate(guard.routes.by_name.values())
        }
        self._asked: TwoGenerations[bytes, Asked] = TwoGenerations(MAX_TARGETS)
        self._grants: TwoGenerations[bytes, Grant] = TwoGenerations(MAX_GRANTS)
        self._open: TwoGenerations[tuple[str, str], Grant] = TwoGenerations(MAX_GRANTS)
        self._callers: TwoGenerations[tuple[str, str, tuple[bytes, ...]], Caller] = TwoGenerations(MAX_CALLERS)

    def peer(self, text: str, scheme: str) -> Peer:
        """What is to be known of a new connection."""
        return Peer(text, scheme, trusted=self.guard.addresses.trusts(parse_address(text)))

    # ---- giving again ----

    def find(self, plain: PlainRequest, peer: Peer, now: float) -> Found | None:
        """The decision on an earlier request that was the same in all that mattered, when it still holds; else None.

        :param now: wall-clock seconds.
        """
        asked = self._asked.get(plain.line)
        if asked is None:
            asked = self._ask(plain.line)
            if asked is None:
                return None
        try:
            way = asked.ways[plain.host]
        except KeyError:
            way = self._way(asked, plain.host)
        if way is None:
            return None
        caller = peer.caller
        if caller is None or peer.trusted:
            caller = self._caller(peer, plain)
            if caller is None:
                return None
        grant = self._grant(plain, peer, way, caller)
        if grant is None or grant.client != caller.client or not self.guard.holds(grant.decision, now):
            return None
        return Found(asked, plain, way, caller, grant)

    def _grant(self, plain: PlainRequest, peer: Peer, way: Way, caller: Caller) -> Grant | None:
        auth, line = way.route.auth, plain.authorization
        if auth is Auth.PUBLIC:
            # Nobody verified this line, so nobody but the pattern vouches for its form.
            if line is not None and not well_formed(line):
                return None
            return self._open.get((way.route.name, caller.client))
        if line is None:
            # The worker's own report says why there is no token, and the guard listens to it.
            if auth is Auth.OPTIONAL and not plain.fetch:
                return self._open.get((way.route.name, caller.client))
            return None
        if way is peer.way and line == peer.key:
            return peer.grant
        grant = self._grants.get(_digest(line[_AUTHORIZATION:-1]) + way.token)
        if grant is not None:
            peer.key, peer.way, peer.grant = line, way, grant
        return grant

    def _ask(self, line: bytes) -> Asked | None:
        raw = request_target(line)
        if raw is None:
            return None
        try:
            target = parse_target(raw)
        except RequestError:
            return None
        asked = Asked("HEAD" if line.startswith(b"HEAD ") else "GET", target)
        self._asked.put(line, asked)
        return asked

    def _way(self, asked: Asked, host_line: bytes) -> Way | None:
        host = host_line[_HOST:-1].decode("ascii").lower()
        way = None
        if not self._endpoints.own(asked.target):
            try:
                route = self.guard.routes.match(asked.method, host, asked.target)
            except RequestError:
                route = None
            way = self._ways[route.name] if route is not None else None
        if len(asked.ways) >= MAX_HOSTS:
            asked.ways.clear()
        asked.ways[host_line] = way
        return way

    def _caller(self, peer: Peer, plain: PlainRequest) -> Caller | None:
        """Who calls. Only a trusted peer's lines have a say in it, and then all that no client may set have."""
        lines = tuple(plain.reserved) if peer.trusted else ()
        key = (peer.text, peer.scheme, lines)
        caller = self._callers.get(key)
        if caller is None:
            try:
                client = self.guard.addresses.client(peer.text, _headers(lines))
            except RequestError:
                return None
            caller = Caller(str(client) if client is not None else "")
            self._callers.put(key, caller)
        peer.caller = caller
        return caller

    def forwarding(self, peer: Peer, found: Found) -> tuple[bytes, bytes]:
        """The ``Host`` line and the forwarding lines (each with its CRLF) for one caller and one host."""
        lines = tuple(found.plain.reserved) if peer.trusted else ()
        context = RequestContext(
            found.asked.method, peer.scheme, found.host, found.asked.target, peer.text, _headers(lines)
        )
        block = b"".join(b"%b: %b\r\n" % field for field in forwarding_fields(context, self.guard.addresses))
        forwarding = found.caller.forwarding
        if len(forwarding) >= MAX_HOSTS:
            forwarding.clear()
        made = forwarding[found.plain.host] = (b"Host: %b\r" % found.host.encode("ascii"), block)
        return made

    # ---- remembering ----

    def learn(self, context: RequestContext, decision: Allow, route: Route) -> None:
        """Remember what the guard just answered, if it said that it may be given again."""
        conditions = decision.conditions
        if not conditions.replayable or context.websocket or conditions.generation != self.guard.generation:
            return
        client = str(conditions.client) if conditions.client is not None else ""
        if decision.session is None:
            if route.auth is Auth.PUBLIC or b"authorization" not in context.headers:
                self._open.put((route.name, client), Grant(decision, client, b""))
            return
        values = context.headers.all(b"authorization")
        if len(values) == 1:
            identity = b"".join(b"%b: %b\r\n" % field for field in identity_fields(decision.session, route))
            grant = Grant(_slim(decision, decision.session), client, identity)
            key = _digest(values[0].encode("latin-1")) + self._ways[route.name].token
            self._grants.put(key, grant)


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _headers(lines: tuple[bytes, ...]) -> Headers:
    pairs = (line[:-1].partition(b": ") for line in lines)
    return Headers(tuple((name, value) for name, _, value in pairs))


def _slim(decision: Allow, session: Session) -> Allow:
    """The decision without the payload, which is most of its size, and which nobody reads behind the identity lines."""
    claims = replace(session.claims, email=None, name=None, sign_in_ip=None, payload=_NOTHING)
    return replace(decision, session=replace(session, claims=claims))


_NOTHING: Final[Mapping[str, object]] = {}
