"""The table of the fast path: decisions that the guard made, to be given again while every condition still holds.

The rules this file obeys (``threats.md`` rows 13, 16 to 19, 33, 40 and 45):

* **It never judges.** A record is written only behind :meth:`gateway.guard.SessionGuard.judge`, and only when the guard
  called its answer replayable. On every use the guard itself is asked whether time, revocation and configuration still
  allow it (:meth:`gateway.guard.SessionGuard.holds`); credentials, route, client and, for what changes something,
  method, host and who started it are compared here. Whatever does not match is judged by the guard.
* Credentials are known by the SHA-256 digest of the whole ``Authorization`` value and of each cookie that is one, or
  could be taken for one, never by a part of them: a signature alone does not tell which signed text came with it.
* A replay is recorded in the audit like any other decision.
* The table belongs to one guard and one configuration; another guard gets another table.

What depends on the client's address is computed by the same functions as on the ordinary way and remembered for the
very lines it was computed from, for as long as the address source's generation stands still.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from gateway.core.claims import make_claims
from gateway.core.client_ip import parse_address
from gateway.core.context import RequestContext
from gateway.core.decision import Allow, make_allow
from gateway.core.session import Session, make_session
from gateway.core.target import parse_target
from gateway.errors import RequestError
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints
from gateway.http.trail import TrailReaders
from gateway.mutators.headers import forwarding_fields
from gateway.mutators.identity import IdentityWriter
from gateway.policy.baselines import SIGN_IN_NETWORK_CLAIM
from gateway.policy.routes import Auth
from gateway.proxy.known_heads import Cut, KnownHead, without_credentials
from gateway.proxy.plain import PlainRequest, request_target, value_of, well_formed
from gateway.proxy.understood import (
    NO_COOKIES,
    Asked,
    Caller,
    CookieLine,
    Found,
    Grant,
    Peer,
    Way,
    headers_of,
    read_cookies,
)
from gateway.proxy.upstream import Upstream

MAX_GRANTS: Final = 50_000
"""Decisions remembered, in two generations; about 900 bytes each."""
MAX_TARGETS: Final = 4_096
"""Request lines remembered with their route."""
MAX_CALLERS: Final = 4_096
"""Chains of forwarded addresses remembered."""
MAX_HEADS: Final = 1_024
"""Whole heads remembered, at up to 6 KB each."""
MAX_SEEN: Final = 8_192
"""Heads of which is known that they came once."""
MAX_HOSTS: Final = 16
"""Hosts remembered for each target and each caller."""

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


class ReplayTable:
    """Decisions of one guard.

    :param readers: whose answers tell how they were judged, which no replay does.
    :param identity: writes what backends are told of who calls.
    """

    def __init__(
        self,
        guard: SessionGuard,
        upstreams: Mapping[str, Upstream],
        endpoints: Endpoints,
        readers: TrailReaders | None = None,
        identity: IdentityWriter | None = None,
    ) -> None:
        self.guard: Final = guard
        self._identity = identity or IdentityWriter()
        self._addresses = guard.addresses
        self._endpoints = endpoints
        self._readers = readers or TrailReaders()
        self._private = endpoints.private_cookies
        self._credentials = self._private | {
            name.encode("ascii") for cookie in guard.cookies for name in (cookie.secure, cookie.local)
        }
        self._ways = {
            route.name: Way(route, index.to_bytes(4), upstreams[route.upstream])
            for index, route in enumerate(guard.routes.by_name.values())
        }
        self._asked: TwoGenerations[bytes, Asked] = TwoGenerations(MAX_TARGETS)
        self._grants: TwoGenerations[bytes, Grant] = TwoGenerations(MAX_GRANTS)
        self._open: TwoGenerations[tuple[str, str], Grant] = TwoGenerations(MAX_GRANTS)
        self._heads: TwoGenerations[bytes, KnownHead] = TwoGenerations(MAX_HEADS)
        self._seen: TwoGenerations[int, int] = TwoGenerations(MAX_SEEN)
        self._callers: TwoGenerations[tuple[str, str, int, tuple[bytes, ...]], Caller] = TwoGenerations(MAX_CALLERS)

    def peer(self, text: str, scheme: str) -> Peer:
        """What is to be known of a new connection."""
        addresses = self._addresses
        return Peer(text, scheme, trusted=addresses.trusts(parse_address(text)), generation=addresses.generation)

    # ---- understanding ----

    def know(self, pieces: Cut, peer: Peer) -> Found | None:
        """What is asked, of whom and by whom, when a head came before that differs in nothing but credentials."""
        key, authorization, cookie = pieces
        head = self._heads.get(key)
        if head is None:
            return None
        caller = peer.caller
        if caller is None or peer.trusted or peer.generation != self._addresses.generation:
            caller = self._caller(peer, head.plain)
            if caller is None:
                return None
        cookies = NO_COOKIES if cookie is None else self._cookies(peer, cookie)
        if cookies is None:
            return None
        return Found(head.asked, head.plain, head.way, caller, cookies, authorization, head)

    def remember(self, pieces: Cut, found: Found) -> None:
        """Know a head again, from the second time on that it comes: most come once, and are not worth it."""
        mark = hash(pieces[0])
        if self._seen.get(mark) is None:
            self._seen.put(mark, mark)
            return
        kept = without_credentials(pieces, found.plain)
        if kept is not None:
            self._heads.put(pieces[0], found.remembered(kept))

    def find(self, plain: PlainRequest, peer: Peer) -> Found | None:
        """What is asked, of whom and by whom; None when the request is one for the ordinary way."""
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
        if caller is None or peer.trusted or peer.generation != self._addresses.generation:
            caller = self._caller(peer, plain)
            if caller is None:
                return None
        if plain.cookie_at < 0:
            return Found(asked, plain, way, caller, NO_COOKIES, plain.authorization)
        cookies = self._cookies(peer, plain.kept[plain.cookie_at])
        return Found(asked, plain, way, caller, cookies, plain.authorization) if cookies is not None else None

    def _ask(self, line: bytes) -> Asked | None:
        raw = request_target(line)
        if raw is None:
            return None
        try:
            target = parse_target(raw)
        except RequestError:
            return None
        asked = Asked(line.partition(b" ")[0].decode("ascii"), target)
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
            # Answers on a route with lists of foreign pages depend on the page that asks.
            way = self._ways[route.name] if route is not None and route.cors is None else None
        if len(asked.ways) >= MAX_HOSTS:
            asked.ways.clear()
        asked.ways[host_line] = way
        return way

    def _caller(self, peer: Peer, plain: PlainRequest) -> Caller | None:
        """Who calls. Only a trusted peer's lines have a say in it, and then all that no client may set have."""
        addresses = self._addresses
        generation = addresses.generation
        if peer.generation != generation:
            peer.generation, peer.caller = generation, None
            peer.trusted = addresses.trusts(parse_address(peer.text))
        lines = tuple(plain.reserved) if peer.trusted else ()
        key = (peer.text, peer.scheme, generation, lines)
        caller = self._callers.get(key)
        if caller is None:
            headers = headers_of(lines)
            try:
                client = addresses.client(peer.text, headers)
            except RequestError:
                return None
            if self._readers.told(client):
                return None
            scheme = addresses.scheme(peer.text, headers, peer.scheme)
            caller = Caller(str(client) if client is not None else "", scheme)
            self._callers.put(key, caller)
        peer.caller = caller
        return caller

    def _cookies(self, peer: Peer, line: bytes) -> CookieLine | None:
        cookies: CookieLine | None = peer.cookies
        if line != peer.cookies.line:
            cookies = read_cookies(line, self._credentials, self._private)
            if cookies is not None:
                peer.cookies = cookies
        return cookies

    def forwarding(self, peer: Peer, found: Found) -> tuple[bytes, bytes]:
        """The ``Host`` line and the forwarding lines (each with its CRLF) for one caller and one host."""
        lines = tuple(found.plain.reserved) if peer.trusted else ()
        context = RequestContext(
            found.asked.method, peer.scheme, found.host, found.asked.target, peer.text, headers_of(lines)
        )
        block = b"".join(b"%b: %b\r\n" % field for field in forwarding_fields(context, self._addresses))
        forwarding = found.caller.forwarding
        if len(forwarding) >= MAX_HOSTS:
            forwarding.clear()
        made = forwarding[found.plain.host] = (b"Host: %b\r" % found.host.encode("ascii"), block)
        return made

    def rests_until(self, context: RequestContext) -> float:
        """Until when nothing is to be done about a request's cookies: wall-clock seconds, or an infinity."""
        return self._endpoints.rests_until(context, self.guard)

    # ---- giving again ----

    def recall(self, found: Found, peer: Peer, now: float) -> Grant | None:
        """The decision on an earlier request that was the same in all that mattered, when it still holds; else None.

        :param now: wall-clock seconds.
        """
        grant = self._recall(found, peer)
        if (
            grant is None
            or grant.client != found.caller.client
            or now >= grant.until
            or not self.guard.holds(grant.decision, now)
        ):
            # What is learned in its place is in the table, and not with this connection.
            peer.mark, peer.grant = (), None
            return None
        return grant

    def _recall(self, found: Found, peer: Peer) -> Grant | None:
        way, line = found.way, found.authorization
        auth = way.route.auth
        if auth is Auth.PUBLIC:
            # Nobody verified this line, so nobody but the pattern vouches for its form.
            if line is not None and not well_formed(line):
                return None
            if not found.cookies.credentials:
                return self._open.get((way.route.name, found.caller.client))
        elif line is None and not found.cookies.credentials:
            # The worker's own report says why there is no token, and the guard listens to it.
            if auth is Auth.OPTIONAL and not found.plain.fetch:
                return self._open.get((way.route.name, found.caller.client))
            return None
        mark = found.mark if found.cookies.credentials or not found.asked.safe else (way, line)
        if mark == peer.mark:
            return peer.grant
        grant = self._grants.get(self._key(found))
        if grant is not None:
            peer.mark, peer.grant = mark, grant
        return grant

    @staticmethod
    def _key(found: Found) -> bytes:
        if found.key:
            return found.key
        plain, asked, cookies = found.plain, found.asked, found.cookies.credentials
        text = value_of(found.authorization) if found.authorization is not None else b""
        if cookies or not asked.safe:
            place = b"%b %b" % (found.caller.scheme.encode("ascii"), plain.host[_HOST:-1].lower())
            text = b"\n".join((text, cookies, place, found.starter))  # no value of a field holds a line feed
        found.key = hashlib.sha256(text).digest() + found.way.token
        return found.key

    # ---- remembering ----

    def learn(self, found: Found, decision: Allow, until: float, now: float) -> Grant:
        """What the guard just answered; remembered, if it said that it may be given again.

        :param until: wall-clock seconds up to which nothing is to be done about the request's cookies.
        :param now: wall-clock seconds.
        """
        route, client = found.way.route, found.caller.client
        conditions = decision.conditions
        session = decision.session
        told, fresh_until = self._identity.write(session, route, now)
        block = b"".join([b"%b: %b\r\n" % field for field in told])
        until = min(until, fresh_until)
        if not conditions.replayable or conditions.generation != self.guard.generation:
            # A fresh judgement is good for the request that it was made on.
            return Grant(decision, client, block, until)
        if session is None:
            grant = Grant(decision, client, block, until)
            if not found.cookies.credentials and (route.auth is Auth.PUBLIC or found.authorization is None):
                self._open.put((route.name, client), grant)
                return grant
            if route.auth is not Auth.PUBLIC:
                return grant
        else:
            grant = Grant(_slim(decision, session), client, block, until)
        self._grants.put(found.key or self._key(found), grant)
        return grant


def _slim(decision: Allow, session: Session) -> Allow:
    """The decision without the payload, which is most of its size.

    Behind the identity lines nobody reads anything of it but where the session began, which is for the decision log.
    """
    full = session.claims
    network = full.payload.get(SIGN_IN_NETWORK_CLAIM)
    claims = make_claims(
        full.principal,
        full.issued_at,
        full.expires_at,
        full.auth_time,
        None,
        full.email_verified,
        None,
        full.sign_in_provider,
        full.second_factor,
        full.sign_in_ip if isinstance(full.sign_in_ip, str) else None,
        _NOTHING if network is None else {SIGN_IN_NETWORK_CLAIM: network},
    )
    slim = make_session(claims, session.client, session.network, session.action, session.why, session.carrier)
    return make_allow(decision.reason, decision.route, slim, decision.conditions, decision.ignored, decision.cookie)


_NOTHING: Final[Mapping[str, object]] = {}
