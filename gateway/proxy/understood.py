"""A plain request, understood: what is asked, of which route, by whom, with which credentials.

The rules this file obeys (``threats.md`` rows 12, 13, 16 to 19 and 33):

* What is read here is read by the functions of the ordinary way (targets, routes, addresses, cookies) and remembered
  for the very bytes that it was read from.
* **What a decision hung on is compared as a whole**: :meth:`Found.mark` names the route, the ``Authorization`` line,
  and where cookies that are credentials came along, or something may be changed, also the cookies, the host, the
  scheme, the method and who started the request.
* A cookie that carries a session, or could, reaches no backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from gateway.core.context import Headers, RequestContext, make_context
from gateway.core.target import parse_target
from gateway.mutators.headers import without_cookies
from gateway.proxy.forward import IDEMPOTENT
from gateway.proxy.known_heads import KnownHead
from gateway.proxy.plain import PlainRequest, request_target, value_of, well_formed

if TYPE_CHECKING:
    from gateway.core.decision import Allow
    from gateway.core.target import Target
    from gateway.policy.routes import Route
    from gateway.proxy.upstream import Upstream

SAFE: Final = frozenset({"GET", "HEAD"})
"""Methods of plain requests that change nothing (RFC 9110 section 9.2.1)."""

_HOST: Final = len(b"Host: ")
_PLAIN: Final = False
"""What is plain is no WebSocket's handshake."""

Mark: TypeAlias = tuple[object, ...]
"""All of a request that a decision on it hung on, its client's address aside."""


class Grant:
    """One decision that can be given again until ``until`` (wall-clock seconds), and what it makes of a request.

    ``identity`` are whole lines or nothing, what the route has to tell included.
    """

    __slots__ = ("client", "decision", "identity", "until")

    def __init__(self, decision: Allow, client: str, identity: bytes, until: float) -> None:
        self.decision = decision
        self.client = client
        self.identity = identity
        self.until = until


class Way:
    """Where requests of one route go. ``token`` tells routes apart in keys."""

    __slots__ = ("keeps_authorization", "route", "token", "upstream")

    def __init__(self, route: Route, token: bytes, upstream: Upstream) -> None:
        self.route = route
        self.token = token
        self.upstream = upstream
        self.keeps_authorization = route.forward_authorization


class Asked:
    """A request line that was understood. ``ways``: by ``Host`` line, None for requests of the ordinary way."""

    __slots__ = ("idempotent", "method", "safe", "target", "ways")

    def __init__(self, method: str, target: Target) -> None:
        self.method = method
        self.safe = method in SAFE
        self.idempotent = method in IDEMPOTENT
        self.target = target
        self.ways: dict[bytes, Way | None] = {}


class Caller:
    """Who is at the other end, as the guard's address source reads it.

    ``client`` is the address as text ("" for none); ``scheme`` what the client used; ``forwarding`` are the ``Host``
    line and the forwarding lines, by the client's ``Host`` line.
    """

    __slots__ = ("client", "forwarding", "scheme")

    def __init__(self, client: str, scheme: str) -> None:
        self.client = client
        self.scheme = scheme
        self.forwarding: dict[bytes, tuple[bytes, bytes]] = {}


class CookieLine:
    """A ``Cookie`` line: the credentials in it, and what a backend gets of it (empty for nothing)."""

    __slots__ = ("credentials", "line", "passing")

    def __init__(self, line: bytes, credentials: bytes, passing: bytes) -> None:
        self.line = line
        self.credentials = credentials
        self.passing = passing


NO_COOKIES: Final = CookieLine(b"", b"", b"")


def read_cookies(line: bytes, credentials: frozenset[bytes], private: frozenset[bytes]) -> CookieLine | None:
    """Read a ``Cookie`` line; None when it is not a plain one.

    :param credentials: names of cookies that carry a session, or could.
    :param private: names of those that no backend gets.
    """
    if not well_formed(line):
        return None
    value = value_of(line)
    found = b""
    if any(name in value for name in credentials):
        pairs = [pair.partition(b"=") for pair in value.split(b";")]
        # Exactly as gateway.core.credential.cookie_values reads them, so that nothing that it sees is missing here.
        found = b";".join(
            b"%b=%b" % (name.strip(b" \t"), text.strip(b" \t"))
            for name, _, text in pairs
            if name.strip(b" \t") in credentials
        )
    left = without_cookies(value, private)
    passing = line if left == value else line[: -len(value) - 1] + left + b"\r" if left else b""
    return CookieLine(line, found, passing)


class Peer:
    """One connection, as far as replaying goes. ``trusted``: what the peer reports about others is believed.

    ``generation`` is the address source's, when ``trusted`` and ``caller`` were looked up.
    """

    __slots__ = ("caller", "cookies", "generation", "grant", "mark", "scheme", "text", "trusted")

    def __init__(self, text: str, scheme: str, *, trusted: bool, generation: int = 0) -> None:
        self.text = text
        self.scheme = scheme
        self.trusted = trusted
        self.generation = generation
        self.caller: Caller | None = None
        self.mark: Mark = ()
        """Of the last request with a session, whose grant this is."""
        self.grant: Grant | None = None
        self.cookies = NO_COOKIES


class Found:
    """A request that was understood.

    ``authorization`` is that line, or None. ``known``: the head was not read, but is one that came before; ``plain``
    then lacks the credentials. ``key`` is what its decision is filed under, once that was needed.
    """

    __slots__ = ("asked", "authorization", "caller", "cookies", "key", "known", "plain", "way")

    def __init__(
        self,
        asked: Asked,
        plain: PlainRequest,
        way: Way,
        caller: Caller,
        cookies: CookieLine,
        authorization: bytes | None,
        known: KnownHead | None = None,
    ) -> None:
        self.asked = asked
        self.plain = plain
        self.way = way
        self.caller = caller
        self.cookies = cookies
        self.authorization = authorization
        self.known = known
        self.key = b""

    @property
    def host(self) -> str:
        """The authority that was asked, lower case."""
        return self.plain.host[_HOST:-1].decode("ascii").lower() if self.known is None else self.known.host

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again when a connection dies before its answer."""
        return self.asked.idempotent and not self.plain.length

    @property
    def mark(self) -> Mark:
        """All that the decision hangs on, the client's address aside."""
        if self.asked.safe and not self.cookies.credentials:
            return (self.way, self.authorization)
        return (
            self.way,
            self.authorization,
            self.cookies.credentials,
            self.plain.host,
            self.caller.scheme,
            self.starter,
        )

    @property
    def starter(self) -> bytes:
        """What would be changed and who says to have started it; empty for what changes nothing."""
        if self.asked.safe:
            return b""
        # No method and no value of a field holds a line feed.
        return b"\n".join((self.asked.method.encode("ascii"), self.plain.origin, self.plain.site))

    def context(self, peer: Peer) -> RequestContext:
        """The request as the guard wants to see it."""
        fields = self.plain.fields if self.known is None else self.known.fields(self.authorization, self.cookies.line)
        headers = headers_of(fields)
        return make_context(self.asked.method, peer.scheme, self.host, self.asked.target, peer.text, headers, _PLAIN)

    def remembered(self, kept: PlainRequest) -> KnownHead:
        """The head for requests to come that differ from this one in nothing but credentials.

        :param kept: what may be remembered of the message.
        """
        rewrite = self.way.route.rewrite
        line = kept.line if rewrite is None else rewrite.line(kept.line)
        lines = [line, b"Host: %b\r" % self.host.encode("ascii"), *kept.kept]
        before: bytes | None = None
        behind = b""
        if not self.way.keeps_authorization:  # else whether it is among the lines is the decision's business
            at = len(lines) if kept.cookie_at < 0 else 2 + kept.cookie_at
            before = b"".join(b"%b\n" % one for one in lines[:at])
            behind = b"".join(b"%b\n" % one for one in lines[at + 1 :])
        return KnownHead(self.asked, kept, self.way, self.host, before, behind)

    def head(
        self,
        grant: Grant,
        request_id: bytes,
        forwarding: tuple[bytes, bytes],
        own_host: bytes | None,
    ) -> bytes:
        """The request's head for the backend: the same bytes that the ordinary way writes.

        :param forwarding: the ``Host`` line and the forwarding lines.
        :param own_host: what the backend is to see as ``Host`` instead of the client's.
        """
        plain, known = self.plain, self.known
        host, block = forwarding
        if known is not None and known.before is not None and own_host is None:
            cookie = self.cookies.passing
            return b"%b%b%b%bX-Request-Id: %b\r\n%b\r\n" % (
                known.before,
                b"%b\n" % cookie if cookie else b"",
                known.behind,
                block,
                request_id,
                grant.identity,
            )
        rewrite = self.way.route.rewrite
        line = plain.line if rewrite is None else rewrite.line(plain.line)
        if own_host is not None:
            host = b"Host: %b\r" % own_host
        lines = [line, host, *plain.kept]
        cookie_at = plain.cookie_at
        if cookie_at >= 0:
            lines[2 + cookie_at] = self.cookies.passing
        if self.way.keeps_authorization and self.authorization is not None and grant.decision.ignored is None:
            lines.insert(2 + plain.authorized_at, self.authorization)
        if cookie_at >= 0 and not self.cookies.passing:
            lines.remove(b"")
        length = b"" if plain.length is None else b"Content-Length: %d\r\n" % plain.length
        lines.append(b"%bX-Request-Id: %b\r\n%b%b\r\n" % (block, request_id, grant.identity, length))
        return b"\n".join(lines)


def headers_of(lines: list[bytes] | tuple[bytes, ...]) -> Headers:
    """Field lines, each with its CR, as the guard wants to see them."""
    return Headers(tuple([line[:-1].partition(b": ")[::2] for line in lines]))


def context_of(plain: PlainRequest, peer: Peer) -> RequestContext:
    """A request that was passed on, as the guard wants to see it."""
    target = request_target(plain.line)
    assert target is not None
    method = plain.line.partition(b" ")[0].decode("ascii")
    host = plain.host[_HOST:-1].decode("ascii").lower()
    return RequestContext(method, peer.scheme, host, parse_target(target), peer.text, headers_of(plain.fields))
