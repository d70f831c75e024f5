"""Whether sessions still stand, kept fresh in the background: revocation checks at the price of a look-up in a dict.

The rules this file obeys (``threats.md`` rows 40 and 45, goals 7 and 8):

1. **``max_staleness`` is a promise.** No answer rests on what the account service said longer ago than that, except
   in an outage. The age counts from the moment of asking.
2. **Users seen since their last check are checked again just before the promise runs out**, a hundred in a batch, the
   longest unchecked first: at most one batch a period for every hundred active users, whatever the request rate.
   Nobody else is looked up.
3. **The first request of a user waits** for one look-up, however many come at once; first requests of several users
   share look-ups.
4. **In an outage** (a look-up failed, or has not answered for a second) users who were good live on for
   ``outage_window`` past the promise; accounts that were gone or disabled stay so until the service says otherwise;
   of whom nothing is known, nothing is believed: :class:`~gateway.errors.RevocationUnavailable`. The service is asked
   once a second until it answers.
5. **A revocation of our own holds from the next request on**, whatever an answer says that does not know of it yet, and
   through an outage that begins before the next question.
6. **Bad news is kept** until no token from before it can be alive: whoever was seen disabled, deleted or revoked lately
   is remembered when good users of the same age are forgotten.
7. Every change of a user's standing gives it an epoch that was never used before, for whoever remembers decisions.

Tenants fail and recover by themselves. Time is monotonic; when the wall clock is stepped, everything known counts as
that much older.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from gateway.adapters.revocation_table import Entry, RevocationStatus, Service, release
from gateway.clock import ClockWatch
from gateway.core.ports import Standing
from gateway.errors import ConfigError, RevocationUnavailable

if TYPE_CHECKING:
    from gateway.core.claims import Principal
    from gateway.core.ports import AccountDirectory, AccountRecord, Clock

MAX_BATCH: Final = 100
"""Users in one look-up (the port's limit, which is Google's)."""

DEFAULT_MAX_STALENESS: Final = 60.0
"""Seconds. A revoked session ends within a minute, and a thousand active users cost ten look-ups a minute."""

LONGEST_STALENESS: Final = 3600.0
"""Seconds: how long an ID token lives, so that more would mean no check at all."""

DEFAULT_OUTAGE_WINDOW: Final = 300.0
"""Seconds past the promise that good users live on in an outage (``threats.md`` row 40)."""

DEFAULT_MAX_USERS: Final = 200_000
"""Users remembered; about 600 bytes each."""

TOKEN_LIFE: Final = 3600.0 + 300.0
"""Seconds that a token can be alive after the last one was issued: an ID token's hour, and the largest clock skew."""

RETRY_INTERVAL: Final = 1.0
"""Seconds between look-ups while a service is down (goal 8: at most one a second)."""

PATIENCE: Final = 1.0
"""Seconds after which a service that has not answered a request counts as down for it."""

MAX_FLIGHTS: Final = 4
"""Look-ups of one tenant under way at once, of which one place is kept for first requests."""

LEAD_FACTOR: Final = 3.0
"""How many usual round trips ahead of the promise users are checked again, so that no request waits for it."""

MAX_LEAD: Final = 0.1
"""Share of ``max_staleness`` that this lead may take at most."""

TOP_UP_AGE: Final = 0.5
"""Share of ``max_staleness`` after which a user may travel along in a look-up for somebody's first request."""

TICK: Final = 1.0
"""Seconds between two looks at what is due, at most."""

LOG_INTERVAL: Final = 60.0
"""Seconds between two log lines about the same outage."""

NO_EPOCH: Final = 0
"""The epoch of an answer before it is compared with the last one; no standing bears it."""

_SMOOTHING: Final = 0.25
"""Weight of the latest round trip in the usual one."""

_BUSY_WAIT: Final = 0.05
"""Seconds until the next look at what is due when it is due already and only waits for a free place."""

_ROUNDS: Final = 2
"""A request joins the look-up under way; when its answer proves too old, it waits for one more."""

_log = logging.getLogger(__name__)


class RevocationCache:
    """Standings of users seen lately. Implements :class:`gateway.core.ports.RevocationSource`.

    :param max_staleness: seconds; see rule 1.
    :param outage_window: seconds; see rule 4.
    :param max_users: users remembered at once.
    :param sleep: waits a number of seconds, for the background.
    :raises ConfigError: a figure out of bounds.
    """

    def __init__(
        self,
        directory: AccountDirectory,
        clock: Clock,
        *,
        max_staleness: float = DEFAULT_MAX_STALENESS,
        outage_window: float = DEFAULT_OUTAGE_WINDOW,
        max_users: int = DEFAULT_MAX_USERS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not 0 < max_staleness <= LONGEST_STALENESS:
            hint = f"more than 0 and at most {LONGEST_STALENESS:g} seconds, the life of a token"
            raise ConfigError("$.revocation.max_staleness", "is out of bounds", hint)
        if not 0 <= outage_window < math.inf:
            raise ConfigError("$.revocation.outage_window", "is out of bounds", "0 or more seconds")
        if max_users < MAX_BATCH:
            raise ConfigError("$.revocation.max_users", "is out of bounds", f"{MAX_BATCH} or more")
        self.max_staleness = max_staleness
        self.outage_window = outage_window
        self._directory = directory
        self._clock = clock
        self._now = clock.monotonic
        self._sleep = sleep
        self._max_users = max_users
        self._watch = ClockWatch(clock)
        self._entries: dict[Principal, Entry] = {}
        self._services: dict[str | None, Service] = {}
        self._listeners: list[Callable[[Principal, Standing], None]] = []
        self.on_revoked: Callable[[Principal, int], None] | None = None
        """Told of each revocation of our own that was confirmed, with the valid-since that it means."""
        self._epochs = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._closed = False
        self.look_ups = 0
        """Look-ups sent, ``failures`` of which failed; ``asked`` counts the users in them."""
        self.failures = 0
        self.asked = 0

    # ---- the port -------------------------------------------------------------------------------------------------

    def peek(self, principal: Principal) -> Standing | None:
        """The standing, when one within the promised staleness (or, in an outage, rule 4) is known and needs no I/O."""
        entry = self._entries.get(principal)
        if entry is None:
            return None
        now = entry.seen_at = self._now()
        standing = entry.standing
        if standing is None or (
            now - standing.checked_at > entry.service.reach and not (entry.service.down and entry.bad)
        ):
            return None
        return standing

    async def standing(self, principal: Principal) -> Standing:
        """The standing.

        :raises RevocationUnavailable: it is not known and the account service does not answer.
        """
        started = self._now()
        known = self.peek(principal)
        service = self._service(principal.tenant)
        for _ in range(_ROUNDS):
            if known is not None:
                return known
            known = await self._ask_for(principal, service, started)
        if known is not None:
            return known
        raise RevocationUnavailable(service.error or "the account service answers too slowly", retry_after=1)

    # ---- lifecycle ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Keep users fresh in the background from now on."""
        if self._loop is None and not self._closed:
            self._loop = asyncio.create_task(self._run(), name="revocation checks")

    async def close(self) -> None:
        """Stop asking; whoever waits gets :class:`~gateway.errors.RevocationUnavailable`."""
        self._closed = True
        tasks = [*self._tasks, *([self._loop] if self._loop is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for service in self._services.values():
            release(service.take_waiting())

    # ---- what others may do and know ------------------------------------------------------------------------------

    async def revoke_now(self, principal: Principal, at: float | None = None) -> None:
        """End every session of ``principal`` that began before ``at``: from the next request on, and everywhere.

        :param at: wall-clock seconds since the epoch; None for now.
        :raises RevocationUnavailable: the account service did not confirm; nothing has changed here.
        """
        moment = int(self._clock.now() if at is None else at)
        await self._directory.revoke(principal)
        self.revoked(principal, moment)
        if self.on_revoked is not None:
            self.on_revoked(principal, moment)

    def revoked(self, principal: Principal, moment: int) -> None:
        """Take note of a revocation that the account service has confirmed, to us or to another process of ours."""
        entry = self._entries.get(principal)
        if entry is None:
            service, now = self._service(principal.tenant), self._now()
            entry = self._admit(principal, service, now)
            service.condemn(entry, now)
        entry.floor = max(entry.floor, moment)
        # Of somebody never asked about, this much is known: enough to refuse, and too old to vouch for anybody.
        known = entry.standing or Standing(True, False, 0, NO_EPOCH, -math.inf)  # noqa: FBT003 - the order of its fields
        valid_since = max(known.valid_since, entry.floor)
        self._learn(entry, dataclasses.replace(known, valid_since=valid_since, epoch=NO_EPOCH))

    def retune(self, max_staleness: float, outage_window: float) -> None:
        """Promise something else from now on; what is known stays known. Seconds, within the same bounds."""
        self.max_staleness, self.outage_window = max_staleness, outage_window
        for service in self._services.values():
            service.reach = max_staleness + (outage_window if service.down else 0.0)

    def on_change(self, listener: Callable[[Principal, Standing], None]) -> None:
        """Call ``listener`` whenever a user's standing becomes known or changes. It must return at once."""
        self._listeners.append(listener)

    def last_known(self, principal: Principal) -> Standing | None:
        """The last standing heard of, however old: good enough to refuse somebody, never to admit them."""
        entry = self._entries.get(principal)
        return entry.standing if entry is not None else None

    def staleness(self) -> float:
        """Age in seconds of the oldest standing that is being relied on; 0.0 when there is none."""
        now = self._now()
        entries = (entry for service in self._services.values() for entry in service.relied_on())
        ages = ((now - entry.checked_at, entry.service.reach) for entry in entries)
        return max((age for age, reach in ages if age <= reach), default=0.0)

    def status(self) -> RevocationStatus:
        """How the checks stand now."""
        down = [service for service in self._services.values() if service.down]
        error = next((service.error for service in down), None)
        down_for = max((self._now() - service.down_since for service in down), default=0.0)
        return RevocationStatus(not down, len(self._entries), self.staleness(), error, down_for)

    # ---- asking ---------------------------------------------------------------------------------------------------

    async def _ask_for(self, principal: Principal, service: Service, started: float) -> Standing | None:
        """Wait for one look-up of this user.

        :raises RevocationUnavailable: the service is down and was asked a moment ago.
        """
        entry = self._entries.get(principal)
        waiter = entry.waiter if entry is not None else None
        if waiter is None:
            now = self._now()
            if self._closed or (service.down and (service.flights or now < service.retry_at)):
                raise RevocationUnavailable(service.error or "the gateway is stopping", retry_after=1)
            if entry is None:
                entry = self._admit(principal, service, now)
            loop = asyncio.get_running_loop()
            waiter = entry.waiter = loop.create_future()
            if not service.queue:
                # One turn of the loop later, so that users who come at the same moment share the look-up.
                loop.call_soon(self._pump, service)
            service.forget_place(entry)
            service.queue[principal] = entry
        assert entry is not None
        answered, _ = await asyncio.wait({waiter}, timeout=PATIENCE)
        if not answered:
            if entry.bad or self._now() - entry.checked_at <= self.max_staleness + self.outage_window:
                return entry.standing
            await asyncio.wait({waiter})
        if entry.checked_at >= started:
            return entry.standing
        return self.peek(principal)

    def _pump(self, service: Service) -> None:
        """Send whatever look-ups are due and allowed now."""
        now = self._now()
        if self._closed or (service.down and now < service.retry_at):
            return
        allowed = 1 if service.down else MAX_FLIGHTS
        # While one look-up for first requests is under way, more of them gather behind it, up to a full batch.
        while service.queue and service.flights < allowed:
            if service.first_flights and len(service.queue) < MAX_BATCH:
                break
            batch = service.take_waiting(MAX_BATCH)
            batch += service.take_oldest(MAX_BATCH - len(batch), now - self.max_staleness * TOP_UP_AGE)
            self._launch(service, batch, now, first=True)
        while service.flights < min(allowed, MAX_FLIGHTS - 1) and service.first_due(now - self._period(service)):
            self._launch(service, service.take_oldest(MAX_BATCH, math.inf), now, first=False)

    def _launch(self, service: Service, batch: list[Entry], now: float, *, first: bool) -> None:
        service.flights += 1
        service.first_flights += first
        service.retry_at = now + RETRY_INTERVAL
        shared: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for entry in batch:
            entry.waiter = entry.waiter or shared
            service.under_way[entry.principal] = entry
        task = asyncio.create_task(self._look_up(service, batch, first=first), name="account look-up")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_up(self, service: Service, batch: list[Entry], *, first: bool) -> None:
        asked_at = self._now()
        self.look_ups += 1
        self.asked += len(batch)
        try:
            records = await self._directory.look_up(service.tenant, [entry.principal.uid for entry in batch])
        except RevocationUnavailable as error:
            self._failed(service, batch, str(error))
        except Exception:  # noqa: BLE001 - whatever it was, identity fails closed and the next look-up may work
            _log.exception("a look-up failed in a way nobody foresaw")
            self._failed(service, batch, "the account look-up failed inside the gateway")
        else:
            self._answered(service, batch, records, asked_at)
        finally:
            service.flights -= 1
            service.first_flights -= first
            for entry in batch:
                del service.under_way[entry.principal]
            release(batch)
        self._pump(service)

    def _answered(
        self, service: Service, batch: list[Entry], records: Mapping[str, AccountRecord], asked_at: float
    ) -> None:
        now = self._now()
        round_trip = now - asked_at
        service.round_trip += (round_trip - service.round_trip) * (_SMOOTHING if service.round_trip else 1.0)
        if service.down:
            _log.warning("the account service answers again after %.0f seconds", now - service.down_since)
            service.down, service.error, service.reach = False, None, self.max_staleness
            service.logged_at = -math.inf
        for entry in batch:
            record = records.get(entry.principal.uid)
            valid_since = max(record.valid_since if record is not None else 0, entry.floor)
            disabled = record is not None and record.disabled
            self._learn(entry, Standing(record is not None, disabled, valid_since, NO_EPOCH, asked_at))
            service.put_fresh(entry)

    def _failed(self, service: Service, batch: list[Entry], error: str) -> None:
        now = self._now()
        self.failures += 1
        if not service.down:
            service.down, service.down_since = True, now
            service.reach = self.max_staleness + self.outage_window
        service.error = error
        service.retry_at = now + RETRY_INTERVAL
        # Those in the queue would fare no better; they are told now.
        waiting = service.take_waiting()
        service.put_back([entry for entry in batch if entry.standing is not None])
        for entry in waiting:
            if entry.standing is not None:
                service.dormant[entry.principal] = entry
        for entry in (*batch, *waiting):
            if entry.standing is None:
                self._entries.pop(entry.principal, None)
        release(waiting)
        if now >= service.logged_at + LOG_INTERVAL:
            service.logged_at = now
            window = self.outage_window
            _log.error("revocation: %s; users known to be good pass for %.0f seconds more, others not", error, window)

    def _learn(self, entry: Entry, heard: Standing) -> None:
        """Take note of what was heard; its epoch is ours to give."""
        old = entry.standing
        if old is not None and dataclasses.replace(old, checked_at=heard.checked_at, epoch=heard.epoch) == heard:
            entry.standing = dataclasses.replace(old, checked_at=heard.checked_at)
            return
        standing = entry.standing = dataclasses.replace(heard, epoch=next(self._epochs))
        for listener in self._listeners:
            try:
                listener(entry.principal, standing)
            except Exception:  # noqa: BLE001 - one listener's fault must not keep the news from the others
                _log.exception("a listener for revocations failed")

    # ---- the table ------------------------------------------------------------------------------------------------

    def _service(self, tenant: str | None) -> Service:
        service = self._services.get(tenant)
        if service is None:
            # Tenants are those of the configuration: the verifier lets no others through.
            service = self._services[tenant] = Service(tenant, self.max_staleness)
        return service

    def _admit(self, principal: Principal, service: Service, now: float) -> Entry:
        if len(self._entries) >= self._max_users:
            for candidate in (service, *self._services.values()):
                victim = candidate.pop_victim()
                if victim is not None:
                    del self._entries[victim.principal]
                    break
        entry = self._entries[principal] = Entry(principal, service, now)
        return entry

    def _period(self, service: Service) -> float:
        """Seconds from one check of an active user to the next."""
        return self.max_staleness - min(service.round_trip * LEAD_FACTOR, self.max_staleness * MAX_LEAD)

    async def _run(self) -> None:
        while True:
            step = self._watch.step()
            if step:
                self._age(step)
            now = self._now()
            wake = now + min(TICK, self.max_staleness / 4)
            for service in list(self._services.values()):
                self._pump(service)
                if not service.down:
                    self._forget(service, now)
                if service.order:
                    due = next(iter(service.order.values())).checked_at + self._period(service)
                    if service.down:
                        due = max(due, service.retry_at)
                    wake = min(wake, due if due > now else now + _BUSY_WAIT)
            await self._sleep(wake - now)

    def _forget(self, service: Service, now: float) -> None:
        """Let go of whoever was not seen for long, and of bad news only when it is no news to any token (rule 6)."""
        oldest_token = self._clock.now() - TOKEN_LIFE
        for entry in service.pop_expired(now - self.max_staleness - self.outage_window):
            if entry.bad or (entry.standing is not None and entry.standing.valid_since >= oldest_token):
                service.condemn(entry, now)
            else:
                self._entries.pop(entry.principal, None)
        for entry in service.pop_harmless(now - TOKEN_LIFE):
            self._entries.pop(entry.principal, None)

    def _age(self, step: float) -> None:
        """Count everything known as older: by the step, or, when the clock went back, as just out of date (row 45)."""
        _log.warning("the wall clock was stepped by %.0f seconds; every user is checked again", step)
        seconds = step if step > 0 else self.max_staleness
        for entry in self._entries.values():
            if entry.standing is not None:
                entry.standing = dataclasses.replace(entry.standing, checked_at=entry.standing.checked_at - seconds)
