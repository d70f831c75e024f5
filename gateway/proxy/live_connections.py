"""Connections that last are judged again: WebSockets, event streams, long downloads and uploads.

The rules this file obeys (``threats.md`` rows 26 and 40):

1. **A verdict lasts as long as what it rests on.** What is still under way is judged again when its token expires, when
   its user is revoked, disabled or deleted, when its session is signed out, when the configuration changes, and every
   ``recheck`` seconds. What would be refused now is ended, visibly, and recorded like any other decision.
2. **Only the same session from the same network carries a connection past its token's end**: a newer ID token of that
   user with that ``auth_time``, which the guard found good in another request meanwhile, from the address's IPv4 /24 or
   IPv6 /64. So the owner's renewals never prolong what somebody else opened elsewhere with a stolen token.
3. **The guard judges, here nothing is decided.** Judging again weighs all that a new request would be weighed by but
   the network, which a connection cannot change: a connection that lingers is no sign that somebody is there, and two
   networks "in turns" must not come of it. After a change of configuration the network is weighed too.
4. What nobody in particular opened is ended by a change of configuration that forbids it, and by nothing else.
5. It fails closed: what cannot be judged, because a service does not answer, is ended like a request would be refused.

A request that has its answer within :data:`TICK` seconds costs an entry in a set; everything else happens behind that.
One timer serves all. Times are kept to within :data:`TICK`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Final

from gateway import reasons
from gateway.core.decision import Allow, Challenge, Decision, Deny
from gateway.core.ports import AuditSink, DecisionEvent
from gateway.proxy.live import CLOSE_GOING_AWAY, Live, LiveSettings, close_code, same_network

if TYPE_CHECKING:
    from gateway.core.claims import Claims, Principal
    from gateway.core.client_ip import IPAddress
    from gateway.core.context import RequestContext
    from gateway.guard import SessionGuard
    from gateway.proxy.live import End, Exchange, Kind
    from gateway.reasons import Reason

TICK: Final = 0.25
"""Seconds between two looks."""
PATIENCE: Final = 30.0
"""Seconds that an ordinary request has, from its beginning, whatever its token's end: as long as a backend has for its
first byte. It was judged good when it began, and most are over by then."""
UNANSWERED: Final = 0.5
"""Seconds between two looks at a request without an answer: it may become an event stream, which has no such time."""
JUDGE_DEADLINE: Final = 10.0
"""Seconds that one judgement may wait for services."""
BATCH: Final = 32
"""Judgements begun in one turn of the loop, so that a reload with thousands of connections stops nobody's requests."""
MAX_FRESH: Final = 10_000
"""Sessions seen within one tick that are kept for connections as young."""
_MICROS: Final = 1_000_000

_log = logging.getLogger(__name__)


class LiveConnections:
    """Everything under way at one server.

    :param now: wall-clock seconds since the epoch.
    """

    def __init__(
        self,
        guard: SessionGuard,
        audit: AuditSink,
        settings: LiveSettings | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or LiveSettings()
        self.ended: Counter[tuple[str, str]] = Counter()
        """Connections that were ended here, by kind and reason id."""
        self._guard = guard
        self._audit = audit
        self._now = now
        self._young: set[Live] = set()
        """Not looked at yet; most will be over by then."""
        self._grown: set[Live] = set()
        self._by_user: dict[Principal, set[Live]] = {}
        """Those of :attr:`_grown` with a session."""
        self.exchanges: Collection[Exchange] = ()
        """What is under way on the fast path now."""
        self._direct: dict[Exchange, Live] = {}
        self._fresh: dict[tuple[Principal, int], dict[tuple[int, IPAddress | None], Claims]] = {}
        """What was seen of each session since the last tick, for connections that are not found by their user yet."""
        self.on_renewed: Callable[[Claims, IPAddress | None], None] | None = None
        """Told of newer tokens, where other processes have connections of the same sessions."""
        self._told: dict[tuple[Principal, int, IPAddress | None], int] = {}
        self._slots: dict[int, set[Live]] = {}
        """Whom to look at when, in ticks of the loop's clock."""
        self._denials = guard.denials
        self._timer: asyncio.TimerHandle | None = None
        self._queue: deque[Live] = deque()
        self._pumping: asyncio.Handle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- who is here ----

    def begin(
        self,
        kind: Kind,
        decision: Allow,
        guard: SessionGuard,
        request_id: str,
        context: Callable[[], RequestContext],
        end: End,
    ) -> Live:
        """A request was let pass. Whoever calls this calls :meth:`finish` in the end."""
        loop = asyncio.get_running_loop()
        live = Live(kind, decision, guard, request_id, context, end, loop.time())
        self._young.add(live)
        if self._timer is None:
            self._timer = loop.call_later(TICK, self._tick)
        return live

    def finish(self, live: Live) -> None:
        """It is over."""
        live.over = True
        if live.ended is not None:
            self.ended[live.kind, live.ended.id] += 1
            live.ended = None
        self._young.discard(live)
        if live in self._grown:
            self._grown.discard(live)
            self._unindex(live)
            self._take_off(live)

    def adopt(self) -> None:
        """Take note of which requests are under way on the fast path; called every now and then while there are any."""
        for gone in [exchange for exchange in self._direct if exchange not in self.exchanges]:
            self.finish(self._direct.pop(gone))
        for exchange in self.exchanges:
            live = self._direct.get(exchange)
            if live is None:
                live = self._direct[exchange] = self.begin(
                    "transfer",
                    exchange.decision,
                    self._guard,
                    exchange.request_id,
                    exchange.context,
                    _cutter(exchange),
                )
                live.exchange = exchange
            if not live.answer:
                live.answer = exchange.answer
        if self._direct:
            self._mature(list(self._direct.values()))
        elif not (self._young or self._grown):
            self._fresh.clear()

    def active(self) -> Counter[str]:
        """How many there are that last, by kind."""
        lives = (*self._grown, *self._young)
        for live in lives:
            live.settle_kind()
        return Counter(live.kind for live in lives if live.kind != "transfer" or live.slot >= 0)

    # ---- what happens meanwhile ----

    def saw(self, decision: Decision) -> None:
        """The guard answered a request: if a session was good, connections of that session may go on with its token."""
        if isinstance(decision, Allow) and decision.session is not None:
            claims, client = decision.session.claims, decision.client
            if self.on_renewed is not None:
                self._tell(self.on_renewed, claims, client)
            self.renewed(claims, client)

    def renewed(self, claims: Claims, client: IPAddress | None) -> None:
        """A token of a session was found good in a request from ``client``, here or in another process."""
        if not (self._by_user or self._young or self.exchanges):
            return
        self._offer(self._by_user.get(claims.principal, ()), claims, client)
        if len(self._fresh) < MAX_FRESH:
            self._fresh.setdefault((claims.principal, claims.auth_time), {})[claims.expires_at, client] = claims

    def _tell(self, tell: Callable[[Claims, IPAddress | None], None], claims: Claims, client: IPAddress | None) -> None:
        """Pass on what is newer than what was passed on of that session from there."""
        key = (claims.principal, claims.auth_time, client)
        if self._told.pop(key, 0) < claims.expires_at:
            tell(claims, client)
        self._told[key] = claims.expires_at
        if len(self._told) > MAX_FRESH:
            del self._told[next(iter(self._told))]

    def changed(self, principal: Principal) -> None:
        """What is known of a user has changed: look at their connections at once."""
        for live in tuple(self._by_user.get(principal, ())):
            self._check(live)

    def judged_by(self, guard: SessionGuard) -> None:
        """The configuration has changed: everything is judged by another guard."""
        self.adopt()
        self._guard = guard
        self._denials = guard.denials
        for live in (*self._grown, *self._young):
            self._ask(live)

    def go_away(self) -> None:
        """The server stops: WebSockets, which would not end by themselves, are closed properly.

        Everything else gets the time that the server gives it: an event stream may well be an answer with an end.
        """
        for live in (*self._grown, *self._young):
            if live.kind == "websocket":
                self._end(live, reasons.SHUTTING_DOWN, CLOSE_GOING_AWAY)

    async def close(self) -> None:
        """Judge nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pumping is not None:
            self._pumping.cancel()
            self._pumping = None
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- the clock ----

    def _tick(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        self.adopt()
        self._mature(list(self._young))
        self._fresh.clear()
        reached = int(loop.time() / TICK)
        for slot in [slot for slot in self._slots if slot <= reached]:
            for live in self._slots.pop(slot):
                self._check(live)
        self._look_for_sign_outs()
        if self._young or self._grown:
            self._timer = loop.call_later(TICK, self._tick)

    def _mature(self, lives: Iterable[Live]) -> None:
        """Whoever is still here lasts: from now on they are found by their user and looked at by the clock."""
        for live in lives:
            if live in self._young:
                self._young.discard(live)
                self._grown.add(live)
                self._index(live)
                session = live.decision.session
                if session is not None and self._fresh:
                    seen = self._fresh.get((session.principal, session.claims.auth_time), {})
                    for (_, client), claims in seen.items():
                        self._offer((live,), claims, client)
                self._check(live)

    def _look_for_sign_outs(self) -> None:
        denials = self._guard.denials
        if denials == self._denials:
            return
        self._denials = denials
        for lives in tuple(self._by_user.values()):
            for live in tuple(lives):
                session = live.decision.session
                if session is not None and self._guard.signed_out(session):
                    self._ask(live)

    def _check(self, live: Live) -> None:
        """Whether the last decision still stands: at a glance, or else by asking the guard."""
        if live.asked or self._is_over(live):
            return
        live.settle_kind()
        loop_now = asyncio.get_running_loop().time()
        idle = self.settings.idle
        if live.kind == "websocket" and idle and loop_now >= live.moved + idle:
            self._end(live, reasons.CONNECTION_IDLE, CLOSE_GOING_AWAY)
            return
        now = self._now()
        decision, session = live.decision, live.decision.session
        if live.guard is not self._guard or live.renewed is not None:
            self._ask(live)
            return
        wait = self.settings.recheck
        if session is not None:
            expires_at = session.claims.expires_at
            last = max(expires_at + self.settings.grace, now - loop_now + self._earliest_end(live))
            # Between its token's end and the last moment it may go on with that token, if all else is well.
            moment = now if now >= last else min(now, expires_at - 1)
            if not self._guard.holds(decision, moment, under_way=True):
                self._ask(live)
                return
            due = last if decision.conditions.expires_at >= expires_at else decision.conditions.expires_at
            if due > now:
                wait = min(wait, due - now)
        if live.kind == "websocket" and idle:
            wait = min(wait, live.moved + idle - loop_now)
        if live.kind == "transfer" and not live.answer:
            wait = min(wait, UNANSWERED)
        self._look_again(live, loop_now + wait)

    def _earliest_end(self, live: Live) -> float:
        """Loop time before which a token's end is no reason to end it."""
        return live.began + PATIENCE if live.kind == "transfer" else -math.inf

    def _look_again(self, live: Live, at: float) -> None:
        self._take_off(live)
        live.slot = math.ceil(at / TICK)
        self._slots.setdefault(live.slot, set()).add(live)

    def _take_off(self, live: Live) -> None:
        if live.slot in self._slots:
            self._slots[live.slot].discard(live)

    # ---- sessions ----

    def _index(self, live: Live) -> None:
        session = live.decision.session
        if session is not None:
            self._by_user.setdefault(session.principal, set()).add(live)

    def _unindex(self, live: Live) -> None:
        session = live.decision.session
        if session is None:
            return
        lives = self._by_user.get(session.principal)
        if lives is not None:
            lives.discard(live)
            if not lives:
                del self._by_user[session.principal]

    def _offer(self, lives: Iterable[Live], claims: Claims, client: IPAddress | None) -> None:
        """Newer claims of one session, for those of its connections that come from the same network."""
        for live in lives:
            session = live.decision.session
            if session is None or (session.principal, session.claims.auth_time) != (claims.principal, claims.auth_time):
                continue
            known = live.renewed or session.claims
            if claims.expires_at > known.expires_at and same_network(client, live.decision.client):
                live.renewed = claims
                if live.slot >= 0:
                    self._look_again(live, 0.0)

    # ---- the guard ----

    def _ask(self, live: Live) -> None:
        if live.asked or live.over:
            return
        live.asked = True
        self._queue.append(live)
        if self._pumping is None:
            self._pumping = asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = None
        loop = asyncio.get_running_loop()
        for _ in range(min(BATCH, len(self._queue))):
            task = loop.create_task(self._judge(self._queue.popleft()), name="judge again")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._queue:
            self._pumping = loop.call_soon(self._pump)

    def _is_over(self, live: Live) -> bool:
        return live.over or (live.exchange is not None and live.exchange not in self.exchanges)

    async def _judge(self, live: Live) -> None:
        if self._is_over(live):
            return
        guard, renewed = self._guard, live.renewed
        started = time.perf_counter()
        decision: Decision
        try:
            context = live.context()
        except LookupError:
            return  # it ended on the fast path a moment ago
        try:
            async with asyncio.timeout(JUDGE_DEADLINE):
                decision = await guard.judge_again(context, live.decision, renewed)
        except TimeoutError:
            decision = Deny(reasons.REVOCATION_UNAVAILABLE, live.decision.route, client=live.decision.client)
        except Exception:  # noqa: BLE001 - whatever it was, identity fails closed
            _log.exception("a live connection could not be judged again (request %s)", live.request_id)
            decision = Deny(reasons.INTERNAL, live.decision.route, client=live.decision.client)
        live.asked = False
        if isinstance(decision, Challenge | Deny):
            self._refuse(live, decision, started, context)
        elif guard is not self._guard:
            self._ask(live)
        else:
            self._go_on(live, decision, guard, renewed)

    def _go_on(self, live: Live, decision: Decision, guard: SessionGuard, renewed: Claims | None) -> None:
        if self._is_over(live):
            return
        grown = live in self._grown
        if grown:
            self._unindex(live)
        if isinstance(decision, Allow):
            live.decision = decision
        live.guard = guard
        if live.renewed is renewed:
            live.renewed = None
        if grown:
            self._index(live)
            self._reschedule(live)

    def _reschedule(self, live: Live) -> None:
        """When to look again at what was judged just now: not at once, whatever the guard's conditions say."""
        now, loop_now = self._now(), asyncio.get_running_loop().time()
        wait = self.settings.recheck
        session = live.decision.session
        if session is not None:
            for due in (live.decision.conditions.expires_at, session.claims.expires_at + self.settings.grace):
                if due > now:
                    wait = min(wait, due - now)
        if live.renewed is not None:
            wait = 0.0
        if live.kind == "websocket" and self.settings.idle:
            wait = min(wait, max(0.0, live.moved + self.settings.idle - loop_now))
        self._look_again(live, loop_now + wait)

    # ---- the end ----

    def _refuse(self, live: Live, decision: Challenge | Deny, started: float, context: RequestContext) -> None:
        if self._is_over(live):
            return
        if not self._end(live, decision.reason, close_code(decision)):
            return
        client = str(decision.client) if decision.client is not None else context.peer
        micros = int((time.perf_counter() - started) * _MICROS)
        path, now = context.target.path, self._now()
        event = DecisionEvent(now, live.request_id, context.method, context.host, path, client, decision, micros)
        self._audit.record(event)

    def _end(self, live: Live, reason: Reason, code: int) -> bool:
        self.finish(live)
        if not live.end(reason, code):
            return False
        self.ended[live.kind, reason.id] += 1
        return True


def _cutter(exchange: Exchange) -> End:
    def cut(reason: Reason, code: int) -> bool:  # noqa: ARG001 - nobody can be told either in the middle of an answer
        return exchange.cut()

    return cut
