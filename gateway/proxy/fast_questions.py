"""Forward auth on the fast path: a plain question of a trusted proxy is answered within ``data_received``.

The rules this file obeys (``threats.md`` rows 13, 16 to 19, 33, 35 and 40):

* **It decides nothing.** The original request is put where the question's own method, target and host stood, and the
  table of the fast path (:mod:`gateway.proxy.replay`) is asked as if the client had sent it: the same look-ups, the
  same conditions, the same guard. What may not pass goes the ordinary way with the guard's decision.
* **Only what has one reading is read.** The fields of a dialect stand exactly once each, the peer is one that is
  believed, and nothing comes behind the head; :mod:`gateway.forward_auth` sees all else as it came.
* **A question is known again by all of its bytes**, its target and its id aside, under their SHA-256 digest: these two
  are looked up and checked each time, whatever else differs has to be read. No token and no cookie is kept for it.
* An answer is recorded in the audit like any other decision, and has the bytes that the ordinary way would write.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from gateway.core.decision import Allow
from gateway.core.ports import DecisionEvent
from gateway.http.cookies import spent_cookie
from gateway.http.enforce import REQUEST_ID, new_request_id
from gateway.http.intake import valid_host
from gateway.http.questions import removed
from gateway.http.reply import SERVER
from gateway.mutators.headers import without_cookies
from gateway.proxy.fast import ANSWERED, Handed
from gateway.proxy.plain import value_of, well_formed
from gateway.proxy.replay import TwoGenerations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.decision import Decision
    from gateway.core.ports import AuditSink
    from gateway.http.questions import Terms
    from gateway.proxy.fast import FastClient
    from gateway.proxy.plain import PlainRequest
    from gateway.proxy.replay import ReplayTable
    from gateway.proxy.understood import Found, Grant, Peer, Way

_HOST: Final = b"host"
_MICROS: Final = 1_000_000
_PASSES: Final = 200
_MAX_REMOVALS: Final = 4_096
"""Lists of fields to be removed that are remembered; one for each session and way that it is asked about."""
_MAX_KNOWN: Final = 16_384
"""Questions that are known again; a browser asks in about ten ways for each page it is on. About 500 bytes each."""
_MAX_WAYS: Final = 4_096
"""Original methods, targets and hosts that are remembered with their route."""
_ID: Final = re.compile(REQUEST_ID.pattern.encode("ascii"))
_ORIGINAL: Final = b"x-original-uri"
_NOWHERE: Final = (0, 0)


class _Known:
    """A question, its target and its id aside, that was understood and can be answered by ``grants``.

    ``cookie`` and ``authorization`` say where the values that pass stand, so that nobody's are kept here; ``cleans``:
    cookies that carry a session are among them. What it says holds for one ``peer``, while the address source is of
    ``generation``.
    """

    __slots__ = (
        "authorization",
        "cleans",
        "client",
        "cookie",
        "generation",
        "grants",
        "host",
        "line",
        "method",
        "peer",
    )

    def __init__(self, found: Found, peer: Peer, generation: int, rest: bytes) -> None:
        plain, cookies = found.plain, found.cookies
        self.line = plain.host
        self.host = found.host
        self.method = found.asked.method
        self.client = found.caller.client or peer.text
        self.peer = (peer.text, peer.scheme)
        self.generation = generation
        self.cookie = _where(rest, cookies.line) if cookies.passing else _NOWHERE
        self.cleans = cookies.passing != cookies.line
        self.authorization = _NOWHERE if plain.authorization is None else _where(rest, plain.authorization)
        self.grants: dict[Way, Grant] = {}


class FastQuestions:
    """Answers plain questions for the connections of one server, of one configuration.

    :param terms: how proxies may ask.
    :param table: decisions that may be given again, and the guard that makes new ones.
    :param private: names of cookies that no backend gets.
    :param answered: told the route's name and the status of each answer.
    :param saw: told each decision that the guard made for a question that is answered here.
    :param now: wall-clock seconds since the epoch.
    """

    def __init__(
        self,
        terms: Iterable[Terms],
        table: ReplayTable,
        audit: AuditSink,
        *,
        private: frozenset[bytes],
        answered: Callable[[str, int], None],
        saw: Callable[[Decision], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.replayed = 0
        """Questions that were answered here by an earlier decision."""
        self.judged = 0
        """Questions that were answered here by a decision of their own."""
        self.known = 0
        """Of those that were replayed: how many did not even have to be read."""
        terms = tuple(terms)
        self._named = {b"GET %b HTTP/1.1\r" % _ascii(one.endpoint): one.names for one in terms if one.names is not None}
        self._marks = {
            line[:-1]: b"\r\nX-Original-URI: " if names[1] == _ORIGINAL else b"\r\nX-Forwarded-Uri: "
            for line, names in self._named.items()
        }
        self._behind = next((_ascii(one.endpoint) for one in terms if one.names is None), b"\n")  # no line holds one
        self._table = table
        self._addresses = table.guard.addresses
        self._private = private
        self._known: TwoGenerations[bytes, _Known] = TwoGenerations(_MAX_KNOWN)
        self._ways: TwoGenerations[tuple[str, bytes, bytes], tuple[Way, str]] = TwoGenerations(_MAX_WAYS)
        self._removals: TwoGenerations[tuple[Grant, bool, bool], bytes] = TwoGenerations(_MAX_REMOVALS)
        self._audit = audit
        self._answered = answered
        self._saw = saw
        self._now = now
        self._second = -1
        self._closing = b""

    # ---- questions that were understood before ----

    def again(self, client: FastClient, peer: Peer, data: bytes, started: float) -> Handed | None:
        """Answer a question that has been asked before, as far as all but its target and its id go.

        None: nothing has happened, and it is to be read.
        """
        cut = self._cut(data)
        if cut is None:
            return None
        line, given, rest, behind = cut
        known = self._known.get(sha256(rest).digest())
        if known is None or known.generation != self._addresses.generation or known.peer != (peer.text, peer.scheme):
            return None
        asked = self._ways.get((known.method, line, known.line))
        if asked is None:
            return None
        way, path = asked
        grant = known.grants.get(way)
        now = self._now()
        if grant is None or now >= grant.until or not self._table.guard.holds(grant.decision, now):
            return None
        if given and _ID.fullmatch(given) is None:
            return None
        if client.last_answer():
            return None
        begin, end = known.cookie
        cookie = rest[begin:end]
        if known.cleans and cookie:
            cookie = without_cookies(cookie, self._private)
        authorization = b""
        if way.keeps_authorization and grant.decision.ignored is None:
            begin, end = known.authorization
            authorization = rest[begin:end]
        self.replayed += 1
        self.known += 1
        request_id = given.decode("ascii") if given else new_request_id()
        head = self._head(grant, way, cookie, authorization, now, tells_removals=behind)
        self._give(
            client, way, grant.decision, request_id, head, (known.method, known.host, path, known.client), now, started
        )
        return ANSWERED

    def _cut(self, data: bytes) -> tuple[bytes, bytes, bytes, bool] | None:
        """What is looked up of a question, and all its other bytes; None for no question.

        In this order: what tells the original target; the request id, empty for none; the other bytes; whether the
        target stood behind the endpoint's.

        What is cut out are whole lines, and the head ends where ``data`` does, so that two questions with the same
        other bytes differ in nothing else.
        """
        end = data.find(b"\r\n")
        first = data[:end]
        mark = self._marks.get(first)
        behind = mark is None
        if mark is None:
            method, _, target = first.partition(b" ")
            if not target.startswith(self._behind) or target[len(self._behind) : len(self._behind) + 1] != b"/":
                return None
            line = b"%b %b\r" % (method, target[len(self._behind) :])
            rest = method + data[end:]
            mark = b"\r\nx-request-id: "
        else:
            line, rest = _without(data, mark)
            mark = b"\r\nX-Request-Id: "
        if not data.endswith(b"\r\n\r\n"):
            return None
        given, rest = _without(rest, mark)
        return line, given, rest, behind

    def _remember(self, data: bytes, found: Found, peer: Peer, grant: Grant) -> None:
        """Know a question again that was just answered by an earlier decision."""
        cut = self._cut(data)
        if cut is None:
            return
        line, given, rest, _ = cut
        plain, asked = found.plain, found.asked
        # What was read and what was cut out have to be the same lines.
        if (plain.request_id is None) == bool(given) or not line:
            return
        key = sha256(rest).digest()
        known = self._known.get(key)
        generation = self._addresses.generation
        if known is None or known.generation != generation or known.peer != (peer.text, peer.scheme):
            known = _Known(found, peer, generation, rest)
            self._known.put(key, known)
        known.grants[found.way] = grant
        self._ways.put((known.method, line, plain.host), (found.way, asked.target.path))

    # ---- questions that are read ----

    def begin(self, client: FastClient, peer: Peer, plain: PlainRequest, data: bytes, started: float) -> Handed | None:
        """Answer a question. None, or what is known of it: nothing was written, and the ordinary way has to answer.

        :param plain: a request for one of the gateway's own addresses; nobody reads it any more behind this.
        :param data: its bytes.
        :param started: seconds of :func:`time.perf_counter`.
        """
        table = self._table
        named = self._named.get(plain.line)
        if not (_take_original(plain, named) if named is not None else self._take_behind(plain)):
            return None
        found = table.find(plain, peer)
        if found is None or not peer.trusted or plain.length or client.last_answer():
            return None
        now = self._now()
        grant = table.recall(found, peer, now)
        if grant is not None:
            decision = grant.decision
            self.replayed += 1
            self._remember(data, found, peer, grant)
        else:
            judged = self._judge(peer, found, now)
            if judged is None:
                return None
            # Refused, or with a cookie to be taken away: the ordinary way says so, by this very decision.
            if not isinstance(judged, Allow) or spent_cookie(judged):
                return Handed(None, judged, table.guard, started)
            decision = judged
            grant = table.learn(found, decision, table.rests_until(found.context(peer)), now)
            # What the connection remembers is what did not hold any more.
            peer.mark, peer.grant = (), None
            self._saw(decision)
            self.judged += 1
        way, asked = found.way, found.asked
        cookie = value_of(found.cookies.passing) if found.cookies.passing else b""
        passes = plain.authorization is not None and way.keeps_authorization and decision.ignored is None
        authorization = value_of(plain.authorization) if passes and plain.authorization is not None else b""
        head = self._head(grant, way, cookie, authorization, now, tells_removals=named is None)
        told = asked.method, found.host, asked.target.path, found.caller.client or peer.text
        self._give(client, way, decision, _request_id(plain), head, told, now, started)
        return ANSWERED

    def _judge(self, peer: Peer, found: Found, now: float) -> Decision | None:
        """Have the guard judge on the spot; None where it, or somebody before it, has to wait for something."""
        plain, table = found.plain, self._table
        if plain.authorization is not None and not well_formed(plain.authorization):
            return None
        context = found.context(peer)
        if table.rests_until(context) <= now:
            return None
        try:
            return table.guard.judge_at_once(context)
        except Exception:  # noqa: BLE001 - the ordinary way meets the same fault and answers for it
            return None

    def _take_behind(self, plain: PlainRequest) -> bool:
        """The original target stands behind the endpoint's path, method and host are the question's own."""
        method, _, rest = plain.line.partition(b" ")
        length = len(self._behind)
        if not rest.startswith(self._behind) or rest[length : length + 1] != b"/":
            return False
        plain.line = b"%b %b" % (method, rest[length:])
        return True

    # ---- answering ----

    def _give(
        self,
        client: FastClient,
        way: Way,
        decision: Allow,
        request_id: str,
        head: tuple[bytes, bytes],
        told: tuple[str, str, str, str],
        now: float,
        started: float,
    ) -> None:
        """Record the decision and write the answer. ``told``: method, host, path and client, for the record."""
        micros = int((time.perf_counter() - started) * _MICROS)
        self._audit.record(DecisionEvent(now, request_id, *told, decision, micros))
        client.answer(b"%b%b%b" % (head[0], request_id.encode("ascii"), head[1]))
        self._answered(way.route.name, _PASSES)

    def _head(
        self, grant: Grant, way: Way, cookie: bytes, authorization: bytes, now: float, *, tells_removals: bool
    ) -> tuple[bytes, bytes]:
        """The whole answer as the ordinary way would write it, before and behind the request's id."""
        lines = b"Cookie: %b\r\n" % cookie if cookie else b""
        if authorization:
            lines += b"Authorization: %b\r\n" % authorization
        if tells_removals:
            key = (grant, bool(cookie), bool(authorization))
            removal = self._removals.get(key)
            if removal is None:
                text = removed(_names(grant.identity + lines), way.route)
                removal = b"X-Envoy-Auth-Headers-To-Remove: %b\r\n" % text.encode("ascii")
                self._removals.put(key, removal)
            lines += removal
        second = int(now)
        if second != self._second:
            self._second = second
            closing = f"Date: {formatdate(second, usegmt=True)}\r\nServer: {SERVER}\r\nContent-Length: 0\r\n\r\n"
            self._closing = closing.encode("ascii")
        before = b"HTTP/1.1 200 OK\r\n%bX-Request-Id: " % grant.identity
        return before, b"\r\nCache-Control: private, no-store\r\n%b%b" % (lines, self._closing)


def _ascii(text: str) -> bytes:
    return text.encode("ascii")


def _without(data: bytes, mark: bytes) -> tuple[bytes, bytes]:
    """The value of the line that begins with ``mark``, and all bytes but that line; empty where it is not there."""
    at = data.find(mark)
    if at < 0:
        return b"", data
    begin = at + len(mark)
    end = data.find(b"\r\n", begin)
    return (data[begin:end], data[:at] + data[end:]) if end >= 0 else (b"", data)


def _where(rest: bytes, line: bytes) -> tuple[int, int]:
    """Where the value of a whole line, its CR included, stands in ``rest``."""
    begin = rest.find(b"\r\n" + line) + len(b"\r\n")
    return begin + line.index(b": ") + len(b": "), begin + len(line) - 1


def _take_original(plain: PlainRequest, names: tuple[bytes, bytes, bytes]) -> bool:
    """Put what the fields tell of the original request where the question's own words stood.

    False where one of them is absent, doubled, or no name or address; ``plain`` is as it was then.
    """
    method_name, uri_name, host_name = names
    method = uri = host = b""
    others: list[bytes] = []
    for line in plain.reserved:
        name, _, value = line.partition(b": ")
        name = name.lower()
        if name == method_name:
            if method:
                return False
            method = value
        elif name == uri_name:
            if uri:
                return False
            uri = value
        elif name == host_name:
            if host:
                return False
            host = value
        else:
            others.append(line)
    if not (method and uri):
        return False
    if host_name != _HOST:
        if not valid_host(host[:-1].decode("ascii").lower()):
            return False
        plain.host = b"Host: %b" % host
    # Each value still has its CR.
    plain.line = b"%b %b HTTP/1.1\r" % (method[:-1], uri[:-1])
    plain.reserved = others
    return True


def _names(block: bytes) -> frozenset[str]:
    """The lower-case names of whole field lines."""
    return frozenset(line.partition(b":")[0].decode("ascii").lower() for line in block.split(b"\r\n") if line)


def _request_id(plain: PlainRequest) -> str:
    """The trusted peer's id, when it is harmless, else a new one."""
    if plain.request_id is not None:
        given = value_of(plain.request_id).decode("ascii")
        if REQUEST_ID.fullmatch(given) is not None:
            return given
    return new_request_id()
