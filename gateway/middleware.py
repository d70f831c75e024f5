"""The session gateway inside an aiohttp application: the same judge, with no hop in between.

The rules this file obeys:

1. **Everything needs a session unless it says otherwise.** A handler without a mark is judged by the configured routes,
   whose last word is the application's default, ``required`` unless it was set; a missing set-up is an error, never an
   open door.
2. **The mark nearest to the code wins.** ``@require``, ``@optional`` and ``@public`` on a handler replace what the
   configuration says of its path, in both directions.
3. **A demand is never lost.** What wraps a marked handler may hide the mark from the middleware; the handler then
   judges for itself before it runs.
4. **Nobody else's response is rewritten.** What is added to an answer is what its caching depends on.

The middleware is a guest: it keeps its things under typed keys, shares no state between applications, and opens and
closes what it uses with the application.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import inspect
import time
import types
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiohttp import web

from gateway import reasons
from gateway.core.context import Headers
from gateway.core.decision import Allow
from gateway.errors import RequestError
from gateway.http.enforce import Answered, Enforcer, Passed, new_request_id, request_id_of
from gateway.http.intake import peer_of, read_body, read_request
from gateway.http.negotiate import form_of_refusal
from gateway.mutators.headers import private_fields, varying_fields
from gateway.policy.assurance import Requirements
from gateway.policy.expression import Expression
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth, Route

if TYPE_CHECKING:
    from gateway.core.session import Session
    from gateway.guard import SessionGuard
    from gateway.reasons import Reason

Handler = Callable[..., Awaitable[web.StreamResponse]]
_Marked = TypeVar("_Marked", bound=Callable[..., Any] | type[web.View])

Prepare = Callable[[web.StreamResponse], Awaitable[None]]

_HOOKABLE: Final = inspect.iscoroutinefunction(getattr(web.Request, "_prepare_hook", None))
"""Whether this aiohttp asks the request before it sends a head. It is no public name: where it is gone, the
application's signal does the same for a microsecond more."""
CHECK_EVERY: Final = 1.0
"""Seconds between two looks at a session that is being waited for; a look costs a microsecond."""
_MARK: Final = "__session_gateway__"


class Enforcement:
    """One application's enforcement point. Before :meth:`open` and after :meth:`close` all it gives is errors."""

    def __init__(self) -> None:
        self._parts: tuple[Callable[[], SessionGuard], Enforcer, Route] | None = None
        self._own: tuple[str, ...] = ()
        self._routes: dict[Mark, Route] = {}
        self._public: dict[object, bool] = {}

    def open(self, guard: Callable[[], SessionGuard], enforcer: Enforcer, default: Route) -> None:
        """Begin to judge.

        :param guard: gives the judge of the moment; asked anew for every request, so that it can be replaced.
        :param default: the route whose settings marked handlers take where their mark says nothing.
        """
        self._parts = (guard, enforcer, default)
        self._own = enforcer.endpoints.beginnings
        self._routes.clear()
        self._public.clear()

    def close(self) -> None:
        """Judge nobody any more."""
        self._parts = None

    @property
    def guard(self) -> SessionGuard:
        """The judge.

        :raises RuntimeError: the application is not running.
        """
        return self._opened()[0]()

    def _opened(self) -> tuple[Callable[[], SessionGuard], Enforcer, Route]:
        if self._parts is None:
            raise RuntimeError("the application is not running, so nobody can be judged")
        return self._parts

    def route_of(self, mark: Mark) -> Route:
        """The route that a mark stands for."""
        route = self._routes.get(mark)
        if route is None:
            route = replace(self._opened()[2], name=mark.name, auth=mark.auth, require=mark.requirements)
            self._routes[mark] = route
        return route

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer one request, through ``handler`` when it may pass."""
        found = request.match_info.handler
        public = self._public.get(found)
        if public is None:
            public = self._is_public(found)
        if public and not request.raw_path.startswith(self._own):
            return await handler(request)
        if _PASSED in request:
            return await handler(request)  # an application around this one has judged it
        outcome = await self.judge(request, _mark_of(request))
        if isinstance(outcome, Answered):
            return outcome.reply.as_response()
        return await handler(request)

    def _is_public(self, handler: object) -> bool:
        """Whether every request for a handler passes unseen; remembered, since an application has few handlers.

        What the router finds where nothing is (a handler of its own for each request) is never one of them.
        """
        mark = getattr(handler, _MARK, None)
        public = isinstance(handler, types.FunctionType) and isinstance(mark, Mark) and mark.auth is Auth.PUBLIC
        if isinstance(handler, types.FunctionType):
            self._public[handler] = public
        return public

    async def judge(self, request: web.Request, mark: Mark | None) -> Passed | Answered:
        """Judge one request and keep what came of it with the request."""
        guard, enforcer = self.guard, self._opened()[1]
        peer = peer_of(request)
        try:
            context = read_request(request)
        except RequestError as error:
            request_id = new_request_id()
            enforcer.record_malformed(request.method, peer, error.reason, request_id)
            form = form_of_refusal(Headers(request.raw_headers))
            return Answered(enforcer.replies.failure(error.reason, request_id, form, close=True), "", error.reason)
        request_id = request_id_of(peer, context.headers, guard.addresses)
        context, renewed = await enforcer.endpoints.freshen(context, guard)
        if enforcer.endpoints.own(context.target):
            return await enforcer.answer_own(context, guard, request_id, partial(read_body, request), renewed)
        route = self.route_of(mark) if mark is not None else None
        found = await enforcer.judge(context, guard, request_id, route=route, renewed=renewed)
        if isinstance(found, Passed):
            judged_before = _PASSED in request
            request[_PASSED] = found
            request[REQUEST_ID] = request_id
            request[_JUDGED_AS] = mark
            if _HOOKABLE and not judged_before:
                # Of this request alone: a signal of the application would cost every request, public ones too.
                hook = request._prepare_hook  # noqa: SLF001 - see _HOOKABLE
                object.__setattr__(request, "_prepare_hook", partial(self._prepare, request, hook))
        return found

    async def _prepare(self, request: web.Request, hook: Prepare, response: web.StreamResponse) -> None:
        await hook(response)
        await self.prepare(request, response)

    async def prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add to an answer what it depends on, just before its head is sent."""
        passed = request.get(_PASSED)
        if passed is None:
            return
        fields = [(name.encode("utf-8"), value.encode("utf-8")) for name, value in response.headers.items()]
        before = len(fields)
        if passed.session is not None:
            fields = private_fields(fields)
        if passed.route.auth is not Auth.PUBLIC:
            fields = varying_fields(fields)
        if len(fields) != before or passed.session is not None:
            _replace(response, fields, ("Cache-Control", "Vary"))
        for name, value in passed.fields:
            response.headers.add(name, value)
        response.headers.setdefault("X-Request-Id", request[REQUEST_ID])


def _replace(response: web.StreamResponse, fields: list[tuple[bytes, bytes]], names: tuple[str, ...]) -> None:
    for name in names:
        values = [value.decode("utf-8") for given, value in fields if given.lower() == name.lower().encode("ascii")]
        if values != response.headers.getall(name, []):
            response.headers.popall(name, None)
            for value in values:
                response.headers.add(name, value)


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """What a decorator says of a handler. Equal to nothing but itself, so what it demands need not be hashable."""

    name: str
    auth: Auth
    requirements: Requirements | None = None


ENFORCEMENT: Final = web.AppKey("gateway.enforcement", Enforcement)
"""Where an application keeps its enforcement point."""
REQUEST_ID: Final = web.RequestKey("gateway.request_id", str)
"""The id under which the decision is in the log, and that the answer carries."""
_PASSED: Final = web.RequestKey("gateway.passed", Passed)
_JUDGED_AS: Final = web.RequestKey("gateway.judged_as", object)
"""The mark that the request was judged by, or None."""


def install(app: web.Application, enforcement: Enforcement) -> None:
    """Make ``app`` judge its requests. The middleware is added at the outside unless it is among them already."""
    app[ENFORCEMENT] = enforcement
    if session_middleware not in app.middlewares:
        app.middlewares.insert(0, enforcement.handle)
    if not _HOOKABLE:
        app.on_response_prepare.append(enforcement.prepare)


@web.middleware
async def session_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The middleware, for applications that want it at a certain place among theirs.

    :raises RuntimeError: ``gateway.setup`` was not called on this application or one around it.
    """
    enforcement = request.app.get(ENFORCEMENT) or request.config_dict.get(ENFORCEMENT)
    if enforcement is None:
        raise RuntimeError("no session gateway here: call gateway.setup(app, ...) before the application starts")
    return await enforcement.handle(request, handler)


def session_of(request: web.Request) -> Session | None:
    """Whose request this is; None for nobody in particular, which only public and optional handlers get to see."""
    passed = request.get(_PASSED)
    return passed.session if passed is not None else None


async def session_ended(request: web.Request) -> Reason:
    """Wait until the session of this request is over, and tell why: expired, revoked, signed out, somewhere else.

    For WebSockets and other long answers: what was true when they began need not be true any more. It is judged anew
    with the credentials of the request whenever one of the conditions of its decision changed.

    :raises RuntimeError: the request has no session.
    """
    passed = request.get(_PASSED)
    enforcement = request.config_dict.get(ENFORCEMENT)
    if passed is None or passed.session is None or enforcement is None:
        raise RuntimeError("this request has no session to wait for")
    decision = passed.decision
    while True:
        await asyncio.sleep(CHECK_EVERY)
        guard = enforcement.guard
        if guard.holds(decision, time.time(), under_way=True):
            continue
        route = passed.route
        if decision.conditions.generation == guard.generation:
            # Where it came from was weighed when it began. A connection that lingers is no sign that somebody is there,
            # and remembered as one it would stand against its owner, who has moved on to another network.
            route = replace(route, preset=Preset.OFF)
        found = await guard.judge_on(route, decision.client, passed.context)
        if not isinstance(found, Allow) or found.session is None:
            reason = found.ignored if isinstance(found, Allow) and found.ignored is not None else found.reason
            # The credential is the one that was good once: a cookie that counts as none by now has expired.
            return reasons.TOKEN_EXPIRED if reason in (reasons.SIGN_IN_REQUIRED, reasons.ANONYMOUS) else reason
        decision = found


# ---- marks ----


def require(
    *,
    roles: str | tuple[str, ...] = (),
    roles_claim: str = "roles",
    claims: Mapping[str, Any] | None = None,
    verified_email: bool = False,
    sign_in_provider: str | tuple[str, ...] = (),
    second_factor: bool = False,
    max_auth_age: int | dt.timedelta | None = None,
    expression: str = "",
) -> Callable[[_Marked], _Marked]:
    """Demand a session with certain properties. Everything given must hold; the words are those of a route's `require`.

    :param roles: at least one of these stands in the claim ``roles_claim``.
    :param claims: claims and what they must be.
    :param max_auth_age: time since the sign-in, in seconds if it is a number; afterwards the password is asked for
        again (RFC 9470).
    :param expression: a condition in CEL over ``claims`` and ``request``; needs ``session-gateway[cel]``.
    :raises ValueError: ``max_auth_age`` is less than a second, or ``expression`` is not CEL.
    :raises ExpressionUnavailable: the library that reads expressions is not installed.
    """
    age = max_auth_age.total_seconds() if isinstance(max_auth_age, dt.timedelta) else max_auth_age
    if age is not None and age < 1:
        raise ValueError("max_auth_age is less than a second")
    demands = Requirements(
        verified_email=verified_email,
        sign_in_providers=frozenset(_several(sign_in_provider)),
        roles=frozenset(_several(roles)),
        roles_claim=roles_claim,
        claims=tuple((name, _frozen(value)) for name, value in (claims or {}).items()),
        expression=Expression(expression, name="@require") if expression else None,
        second_factor=second_factor,
        max_auth_age=int(age) if age is not None else None,
    )
    return partial(_mark, Auth.REQUIRED, None if demands == Requirements() else demands)


def optional(handler: _Marked) -> _Marked:
    """Let everybody in; :func:`session_of` tells who has a good session."""
    return _mark(Auth.OPTIONAL, None, handler)


def public(handler: _Marked) -> _Marked:
    """Let everybody in, and do not look at who it is."""
    return _mark(Auth.PUBLIC, None, handler)


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _frozen(value: Any) -> Any:
    """A demand in the form that :class:`~gateway.policy.assurance.Requirements` compares with."""
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(_frozen(part) for part in value)
    return value


def _mark(auth: Auth, requirements: Requirements | None, handler: _Marked) -> _Marked:
    name = getattr(handler, "__qualname__", "handler")
    mark = Mark(name, auth, requirements)
    if isinstance(handler, type):
        setattr(handler, _MARK, mark)
        return handler
    if auth is Auth.PUBLIC and isinstance(handler, types.FunctionType):
        # Nothing has to be judged, so a call in between would only cost; and the handler itself stays unmarked.
        copy = functools.update_wrapper(
            types.FunctionType(
                handler.__code__, handler.__globals__, handler.__name__, handler.__defaults__, handler.__closure__
            ),
            handler,
        )
        copy.__kwdefaults__ = handler.__kwdefaults__  # type: ignore[attr-defined] # it is a function
        setattr(copy, _MARK, mark)
        return copy  # type: ignore[return-value] # it is called as the handler is

    @functools.wraps(handler)
    async def judged(*arguments: Any, **named: Any) -> Any:
        request = _request_of(arguments[0])
        if auth is not Auth.PUBLIC and request.get(_JUDGED_AS) is not mark:
            await _judge_here(request, mark)
        return await handler(*arguments, **named)

    setattr(judged, _MARK, mark)
    return judged  # type: ignore[return-value] # it is called as the handler is


async def _judge_here(request: web.Request, mark: Mark) -> None:
    """Judge a handler whose mark the middleware did not see, or that a class with another mark holds."""
    enforcement = request.config_dict.get(ENFORCEMENT)
    if enforcement is None:
        raise RuntimeError("no session gateway here: call gateway.setup(app, ...) before the application starts")
    found = await enforcement.judge(request, mark)
    if isinstance(found, Answered):
        raise _Refused(found.reply.status, found.reply.headers, found.reply.body)


class _Refused(web.HTTPException):
    """A refusal from inside a handler; aiohttp sends it as it is."""

    status_code = 401  # replaced by each refusal's own

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status_code = status
        super().__init__(headers=headers)
        self.body = body


def _request_of(first: Any) -> web.Request:
    if isinstance(first, web.Request):
        return first
    request: web.Request = first.request  # a View, or any class that keeps it so
    return request


def _mark_of(request: web.Request) -> Mark | None:
    """The mark of the handler that the router found; of a class, that of the method, or else its own."""
    handler = request.match_info.handler
    if isinstance(handler, type):
        method = getattr(handler, request.method.lower(), None)
        found = getattr(method, _MARK, None) or getattr(handler, _MARK, None)
    else:
        found = getattr(handler, _MARK, None)
    return found if isinstance(found, Mark) else None
