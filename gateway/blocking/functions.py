"""The kit: from the bytes of an event to the bytes of an answer, without HTTP.

The rules this file obeys (blocking-functions.md sections 1.3, 2.4 and 2.5):

1. Nothing outside the verified token is believed; a token that is refused is told so in general words, and the log has
   the reason.
2. **A function that fails blocks**: whatever it raises becomes a fixed text, and the cause stays in the log. One that
   is too slow blocks too, unless it was registered with ``on_timeout="allow"``.
3. The answer leaves before the service stops waiting. A function that does not heed its cancellation is left behind;
   it keeps nobody waiting.
4. One event has one answer (:mod:`gateway.blocking.idempotency`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp

from gateway.adapters.endpoint import checked_endpoint
from gateway.adapters.google_keys import PublishedKeys
from gateway.blocking.background import GRACE, Background, Deferred, call
from gateway.blocking.event import Event, read_context
from gateway.blocking.https_error import ErrorCode, HttpsError
from gateway.blocking.idempotency import Answers
from gateway.blocking.intake import addresses, named, read_body, shown
from gateway.blocking.outcome import UserUpdate, merge, read_answer, updated, wire_body
from gateway.blocking.registry import DEADLINE, SERVICE_DEADLINE, Registered, Registry
from gateway.blocking.threads import Threads
from gateway.blocking.verify import EventRules, EventVerifier
from gateway.clock import SystemClock
from gateway.errors import ConfigError, KeysUnavailable, TokenError
from gateway.tokens.id_token import DEFAULT_SKEW

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.blocking.model import EventContext, User
    from gateway.core.ports import Clock, KeySource

CERTIFICATES: Final = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
"""Where the certificates of events are published (section 1.4)."""

PROJECT_VARIABLE: Final = "GOOGLE_CLOUD_PROJECT"
"""Names the project, on Google's platforms and in gcloud."""

EMULATOR_PROJECT_PREFIX: Final = "demo-"
"""Ids of projects that exist in emulators only (Firebase Local Emulator Suite, "Demo projects")."""

UNEXPECTED: Final = "An unexpected error occurred."
"""All that a client learns of a function that failed (Firebase's own text)."""

THREADS: Final = 32
"""Plain functions at work at once. One that was too slow keeps its thread until it returns."""

DEFERRED_THREADS: Final = 8
"""Plain functions at work at once after their answers. More wait in line."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """HTTP status and body of an answer, and what waits for it to leave."""

    status: int
    body: Mapping[str, Any]
    event_id: str | None = None
    deferred: Deferred = field(default_factory=Deferred, compare=False)


class BlockingFunctions(Registry):
    """The blocking functions of a project: register with the decorators, then serve :meth:`application`.

    :param project_id: the project's id; default: the environment's ``GOOGLE_CLOUD_PROJECT``.
    :param audiences: the public addresses that are registered as triggers, exactly as they are registered: one,
        several, or event to address. Empty: any address on Cloud Run, or of this project on Cloud Functions, and
        in development this machine's.
    :param emulator: take the unsigned events of the official Auth emulator. Anybody can make one, so this needs a
        project that cannot exist (``demo-…``), and events from other machines are refused.
    :param keys: who has the keys that sign events; default: Google's certificates, from ``certificates``.
    :param accept_local_keys: take events of the embedded identity provider; for development only.
    :param deadline: seconds for the whole answer, below the 7 that the service waits.
    :param clock_skew: seconds that ``iat`` may lie ahead.
    :raises ConfigError: no project, a deadline that is too long, an emulator for a real project, an address that
        certificates cannot come from.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own, and only the first is not a keyword
        self,
        project_id: str | None = None,
        *,
        audiences: str | Iterable[str] | Mapping[str, str] = (),
        emulator: bool = False,
        keys: KeySource | None = None,
        certificates: str = CERTIFICATES,
        accept_local_keys: bool = False,
        deadline: float = DEADLINE,
        clock_skew: int = DEFAULT_SKEW,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        project = project_id or os.environ.get(PROJECT_VARIABLE, "")
        if not project:
            raise ConfigError("project_id", "is not known", f'BlockingFunctions("my-project"), or {PROJECT_VARIABLE}')
        if emulator and not project.startswith(EMULATOR_PROJECT_PREFIX):
            raise ConfigError(
                "emulator",
                f"needs a project_id that starts with {EMULATOR_PROJECT_PREFIX}",
                "anybody can make an unsigned event, so no project that could exist takes them",
            )
        if not 0 < deadline < SERVICE_DEADLINE:
            raise ConfigError("deadline", f"is not between 0 and {SERVICE_DEADLINE:g} seconds")
        self.project_id: Final = project
        self.emulator: Final = emulator
        self.deadline: Final = deadline
        self._clock: Clock = clock or SystemClock()
        self._rules = EventRules(project, addresses(audiences), emulator, accept_local_keys, clock_skew)
        self._given_keys = keys
        self._certificates = checked_endpoint(certificates, "certificates")
        self._accept_local = accept_local_keys
        self._verifier = EventVerifier(self._rules, keys, self._clock)
        self._session: aiohttp.ClientSession | None = None
        self._published: PublishedKeys | None = None
        self._answers: Answers[Answered] = Answers(self._clock)
        self._threads: Threads | None = None
        self._deferred_threads: Threads | None = None
        self._background: Background | None = None
        self._left_behind: set[asyncio.Task[Any]] = set()

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Fetch the certificates ahead of the first event. Starting what runs already is harmless.

        Certificates that cannot be fetched are no error here: events get a 503 until they can.
        """
        self._opened()
        if self._given_keys is not None or self.emulator or self._published is not None:
            return
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=True)
        self._published = PublishedKeys(
            self._certificates, self._session, self._clock, accept_local=self._accept_local, where="certificates"
        )
        self._verifier = EventVerifier(self._rules, self._published, self._clock)
        await self._published.start()

    async def close(self, grace: float = GRACE) -> None:
        """Let events and deferred work finish, at most ``grace`` seconds in all, then let go of everything."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + grace
        running = self._answers.running()
        if running:
            done, _ = await asyncio.wait(running, timeout=grace)
            for task in done:
                if not task.cancelled() and task.exception() is None:
                    self.finish(task.result())  # whoever waits for the answer may be about to, or gone
        for task in (*self._left_behind, *running):
            task.cancel()
        self._answers.clear()
        if self._background is not None:
            await self._background.drain(max(0.0, ends_at - loop.time()))
        self._background = None
        for threads in (self._threads, self._deferred_threads):
            if threads is not None:
                threads.shutdown(wait=False, cancel_futures=True)
        self._threads = self._deferred_threads = None
        published, self._published = self._published, None
        if published is not None:
            await published.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def fault(self) -> str | None:
        """Why no event can be judged now, for a readiness check; None when all is well."""
        return self._published.fault() if self._published is not None else None

    def application(self) -> web.Application:
        """An aiohttp application that answers events, to be served alone or mounted with ``add_subapp``.

        Any path takes any event that has a function. A path that ends in the name of an event (``/before-create``,
        ``/beforeSignIn``) takes that one only.
        """
        from gateway.blocking.server import application  # noqa: PLC0415 - the server knows the kit, not the other way

        return application(self)

    # ---- answering -------------------------------------------------------------------------------------------------

    async def respond(self, request: bytes | str, *, expected: Event | str | None = None) -> tuple[int, dict[str, Any]]:
        """Answer an event without HTTP; deferred work starts when the answer is returned.

        :param request: the body of a call, ``{"data": {"jwt": "…"}}``, or the token alone.
        :param expected: refuse any other event.
        :returns: HTTP status and body.
        """
        answered = await self.answer(request, expected)
        self.finish(answered)
        return answered.status, dict(answered.body)

    async def respond_to_claims(self, claims: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer an event that the caller made itself: **nothing about it is verified**. As :meth:`respond` otherwise.

        For a provider that runs the functions in its own process.
        """
        answered = await self._answer_claims(claims, None, asyncio.get_running_loop().time())
        self.finish(answered)
        return answered.status, dict(answered.body)

    async def answer(
        self, request: bytes | str, expected: Event | str | None = None, received_at: float | None = None
    ) -> Answered:
        """As :meth:`respond`; the caller sends the answer and then calls :meth:`finish`.

        :param received_at: when the request came, in seconds of the event loop's clock; default: now.
        """
        started = asyncio.get_running_loop().time() if received_at is None else received_at
        try:
            token = read_body(request)
            async with asyncio.timeout_at(started + self.deadline):
                claims = await self._verifier.verify(token)
        except HttpsError as error:
            return Answered(error.http_status, error.body)
        except TimeoutError:
            return _refusal(HttpsError(ErrorCode.DEADLINE_EXCEEDED))
        except KeysUnavailable as error:
            _log.error("an event cannot be judged: %s", error)
            return _refusal(HttpsError(ErrorCode.UNAVAILABLE))
        except TokenError as error:
            _log.warning("refused what is no event for us: %s: %s", type(error).__name__, error)
            return _refusal(HttpsError(ErrorCode.UNAUTHENTICATED, "The event could not be verified."))
        return await self._answer_claims(claims, named(expected), started)

    def finish(self, answered: Answered) -> None:
        """Start what the functions deferred, if the event was not refused."""
        self._opened()[1].start(answered.deferred, answered.event_id)

    async def _answer_claims(self, claims: Mapping[str, Any], expected: Event | None, started: float) -> Answered:
        try:
            event = self._choose(claims, expected)
        except HttpsError as error:
            return Answered(error.http_status, error.body)
        event_id = claims.get("event_id")
        if not isinstance(event_id, str) or not event_id:
            return await self._run(event, claims, started)
        name = (event, event_id, str(claims.get("sub")))
        try:
            return await self._answers.once(name, lambda: self._run(event, claims, started))
        except asyncio.CancelledError:
            # The caller is gone and will not finish it; the functions run to their end all the same.
            self._answers.when_made(name, self.finish)
            raise

    def _choose(self, claims: Mapping[str, Any], expected: Event | None) -> Event:
        """The event that it is, if that is wanted here.

        :raises HttpsError: it is not.
        """
        received = claims.get("event_type")
        audience = claims.get("aud")
        tied = self._rules.audiences.get(audience) if isinstance(audience, str) else None
        event = next((event for event in Event if event == received), None)
        for wanted in (None if expected is None else {expected}, tied):
            if wanted is not None and event not in wanted:
                raise _unexpected(_listed(each for each in Event if each in wanted), received)
        if event is not None and self.functions(event):
            return event
        if not self.events or (event is not None and (expected is not None or tied is not None)):
            raise HttpsError(ErrorCode.INVALID_ARGUMENT, f'No function is registered for "{shown(received)}".')
        raise _unexpected(_listed(self.events), received)

    async def _run(self, event: Event, claims: Mapping[str, Any], started: float) -> Answered:
        loop = asyncio.get_running_loop()
        deferred = Deferred()
        event_id = shown(claims.get("event_id"))
        try:
            context = read_context(claims, self.project_id, self._clock.now())
            if event.has_user and context.data is None:
                raise HttpsError(ErrorCode.INVALID_ARGUMENT, 'Event has no "user_record".')  # noqa: TRY301 - one way out
            update = await self._run_all(event, context, deferred, started + self.deadline)
            answered = Answered(200, wire_body(update), event_id, deferred)
        except HttpsError as error:
            deferred.drop()
            answered = Answered(error.http_status, error.body, event_id)
        except Exception:  # noqa: BLE001 - whatever went wrong, the answer is the fixed text
            deferred.drop()
            _log.exception("event %s (%s) failed", event_id, event)
            answered = _refusal(HttpsError(ErrorCode.INTERNAL, UNEXPECTED))
        _log.info("event %s (%s): %d in %.0f ms", event_id, event, answered.status, (loop.time() - started) * 1000)
        return answered

    async def _run_all(self, event: Event, context: EventContext, deferred: Deferred, ends_at: float) -> UserUpdate:
        update = UserUpdate()
        user = context.data
        for registered in self.functions(event):
            own = Deferred()
            try:
                answer = await self._call(registered, user, replace(context, data=user, _defer=own.add), ends_at)
            except BaseException:
                own.drop()
                raise
            if isinstance(answer, _TooSlow):
                own.drop()
                if registered.on_timeout == "deny":
                    raise HttpsError(ErrorCode.DEADLINE_EXCEEDED)
                continue
            for work, arguments in own.take():
                deferred.add(work, *arguments)
            update = merge(update, read_answer(event, answer))
            user = None if context.data is None else updated(context.data, update)
        return update

    async def _call(
        self, registered: Registered, user: User | None, context: EventContext, ends_at: float
    ) -> object | _TooSlow:
        """What the function answers, or that it did not in time. A failure is logged and is an HttpsError."""
        loop = asyncio.get_running_loop()
        left = min(ends_at - loop.time(), math.inf if registered.deadline is None else registered.deadline)
        if left <= 0:
            _log.error("function %s had no time left to answer event %s", registered.name, shown(context.event_id))
            return _TooSlow()
        task = loop.create_task(self._invoke(registered, user, context), name=registered.name)
        try:
            await asyncio.wait({task}, timeout=left)
        finally:
            if not task.done():
                self._leave_behind(task)
        if not task.done():
            _log.error(
                "function %s took longer than %.1f s to answer event %s: %s",
                *(registered.name, left, shown(context.event_id), registered.on_timeout),
            )
            return _TooSlow()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            return task.result()
        if isinstance(error, HttpsError):
            raise error
        _log.error(
            "function %s failed on event %s: %s",
            *(registered.name, shown(context.event_id), type(error).__name__),
            exc_info=error,
        )
        raise HttpsError(ErrorCode.INTERNAL, UNEXPECTED) from None

    async def _invoke(self, registered: Registered, user: User | None, context: EventContext) -> object:
        try:
            return await call(registered.function, registered.arguments(user, context), self._opened()[0])
        except SystemExit:
            # It would end the server, not the function.
            raise RuntimeError("the function called sys.exit") from None

    def _leave_behind(self, task: asyncio.Task[Any]) -> None:
        task.cancel()
        self._left_behind.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left_behind.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("function %s failed after its time was up: %s", task.get_name(), type(error).__name__)

    def _opened(self) -> tuple[Threads, Background]:
        if self._threads is None or self._background is None:
            self._threads = Threads(THREADS, "blocking function")
            # Threads of its own, so that slow work after one answer never delays the next answer.
            self._deferred_threads = Threads(DEFERRED_THREADS, "deferred work")
            self._background = Background(self._deferred_threads)
        return self._threads, self._background


class _TooSlow:
    """A function did not answer in time."""


def _listed(wanted: Iterable[Event]) -> str:
    return " or ".join(f'"{event}"' for event in wanted)


def _unexpected(wanted: str, received: object) -> HttpsError:
    return HttpsError(ErrorCode.INVALID_ARGUMENT, f'Expected {wanted} but received "{shown(received)}".')


def _refusal(error: HttpsError) -> Answered:
    return Answered(error.http_status, error.body)
