"""The gateway's own addresses: everything below the reserved prefix, and the worker.

Nothing here is ever forwarded, and nothing below the prefix is ever a backend's: an unknown name there is a 404 of
ours, and so is a spelling that a lenient reader could take for the prefix. Names of assets are keys of a table, never
paths on a disk.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway import reasons
from gateway.core.claims import Claims
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Decision, Deny
from gateway.core.session import Session
from gateway.core.target import Target
from gateway.errors import ConfigError, RequestError
from gateway.guard import SessionGuard
from gateway.http.assertion_keys import PATHS as ASSERTION_PATHS
from gateway.http.assertion_keys import AssertionKeysEndpoint
from gateway.http.cookies import CLEAR_SITE_DATA, Fields, spent_cookie
from gateway.http.cookies_proxy import PATH as SDK_COOKIES_PATH
from gateway.http.cookies_proxy import SdkCookies
from gateway.http.negotiate import PROBLEM, form_of_refusal
from gateway.http.pages import GOOGLE_ENDPOINTS, Asset, AssetSource, Template, page_headers
from gateway.http.reply import Replies, Reply
from gateway.http.return_to import parameter, safe_return_path
from gateway.http.scripts import REVALIDATE, Served, WorkerSettings, helper_script, worker_script
from gateway.http.session_cookie import BodyReader, SessionCookieEndpoint
from gateway.http.sessions import SignOut
from gateway.mutators.headers import SESSION_COOKIES
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth, Route, Unauthenticated

_IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""One year in seconds, the customary "for ever" (RFC 9111 section 1.2.2, RFC 8246); given only to an address that
names the version."""
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._-]+)+/")
_READ_METHODS: Final = frozenset({"GET", "HEAD"})

STANDARD_CLAIMS: Final = frozenset(
    {
        "iss",
        "aud",
        "sub",
        "exp",
        "iat",
        "nbf",
        "jti",
        "auth_time",
        "user_id",
        "provider_id",
        "firebase",
        "email",
        "email_verified",
        "phone_number",
        "name",
        "picture",
    }
)
"""Claims that Firebase itself writes into an ID token; the others are the project's own."""


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """What the login page is told. Everything here is public.

    ``emulator_url`` is the origin of a local identity provider, or empty; ``connect`` further origins that the page's
    scripts may talk to; ``demo`` an account to offer, ``{"email": …, "password": …}``, or None; ``return_to`` the
    path prefixes that ``rd`` may name.
    """

    api_key: str
    project_id: str
    auth_domain: str = ""
    emulator_url: str = ""
    title: str = ""
    home: str = "/"
    providers: tuple[str, ...] = ("password",)
    password_reset: bool = True
    return_to: tuple[str, ...] = ("/",)
    connect: tuple[str, ...] = GOOGLE_ENDPOINTS
    demo: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and the decision that led to it where one was made."""

    reply: Reply
    decision: Decision | None = None


class Endpoints:
    """Answers requests to the gateway's own addresses.

    :param prefix: the reserved prefix, with slashes at both ends.
    :param preset: the network policy that ``userinfo`` is judged by.
    :param sign_out: answers ``POST`` to the logout address; None leaves only the page there.
    :param session_cookie: answers for the session cookie; None where there is none.
    :param sdk_cookies: the server half of the SDK's cookie persistence; None where it is off.
    :param assertion_keys: publishes the keys of assertions; None where none are made.
    :raises ConfigError: a page or the worker is missing, or the prefix is no prefix.
    """

    def __init__(  # noqa: PLR0913 - every part is handed in
        self,
        assets: AssetSource,
        replies: Replies,
        login: LoginSettings,
        worker: WorkerSettings,
        *,
        prefix: str = "/.gateway/",
        preset: Preset = Preset.RELAXED,
        sign_out: SignOut | None = None,
        session_cookie: SessionCookieEndpoint | None = None,
        sdk_cookies: SdkCookies | None = None,
        assertion_keys: AssertionKeysEndpoint | None = None,
    ) -> None:
        if _PREFIX.fullmatch(prefix) is None:
            raise ConfigError(
                "$.listen.prefix", f"{prefix!r} is not a path with slashes at both ends", "try /.gateway/"
            )
        self._assets = assets
        self._replies = replies
        self._login = login
        self._prefix = prefix
        self._sign_out = sign_out
        self._worker_path = worker.path
        self._session_cookie = session_cookie
        self._sdk_cookies = sdk_cookies
        self._assertion_keys = assertion_keys
        self.beginnings: Final = (
            prefix,
            worker.path,
            *((SDK_COOKIES_PATH,) if sdk_cookies is not None else ()),
            *(ASSERTION_PATHS if assertion_keys is not None else ()),
        )
        """What every plainly written target of the gateway's own begins with."""
        self.private_cookies: Final = SESSION_COOKIES | (sdk_cookies.names if sdk_cookies is not None else frozenset())
        """Cookies that carry a session, or could: no backend gets one."""
        self._login_page = Template(assets, "login.html")
        self._logout_page = Template(assets, "logout.html" if assets.get("logout.html") is not None else "login.html")
        self._worker = worker_script(assets, worker, prefix)
        self._helper = helper_script(assets, worker, prefix)
        emulator = (login.emulator_url,) if login.emulator_url else ()
        self._page_headers = tuple(page_headers(connect=(*login.connect, *emulator)))
        self._page_config = _page_config(login, worker, prefix)
        self._userinfo_route = Route(
            name="gateway-userinfo",
            pattern=f"{prefix}userinfo",
            upstream="",
            auth=Auth.REQUIRED,
            unauthenticated=Unauthenticated.UNAUTHORIZED,
            preset=preset,
        )

    def own(self, target: Target) -> bool:
        """Whether the target is the gateway's, in any spelling that somebody could read so."""
        if self._sdk_cookies is not None and SDK_COOKIES_PATH in (target.path, *target.readings):
            return True
        if self._assertion_keys is not None and target.path in ASSERTION_PATHS:
            return True
        return target.path == self._worker_path or any(
            f"{path}/".startswith(self._prefix) for path in (target.path, *target.readings)
        )

    async def freshen(self, context: RequestContext, guard: SessionGuard) -> tuple[RequestContext, Fields]:
        """The request as it is to be judged, and fields for its answer: renewed cookies, where the SDK's are in use.

        See :meth:`gateway.http.cookies_proxy.SdkCookies.freshen`.
        """
        if self._sdk_cookies is None or context.target.path == SDK_COOKIES_PATH:
            return context, ()
        scheme = guard.addresses.scheme(context.peer, context.headers, context.scheme)
        return await self._sdk_cookies.freshen(context, scheme)

    def rests_until(self, context: RequestContext, guard: SessionGuard) -> float:
        """Until when :meth:`freshen` leaves such a request as it is: wall-clock seconds, or an infinity."""
        if self._sdk_cookies is None:
            return math.inf
        return self._sdk_cookies.rests_until(
            context, guard.addresses.scheme(context.peer, context.headers, context.scheme)
        )

    async def answer(  # noqa: PLR0911 - one row for each address
        self, context: RequestContext, guard: SessionGuard, request_id: str, body: BodyReader
    ) -> Answer:
        """Answer a request whose target is the gateway's :meth:`own`. ``body`` reads its body."""
        path = context.target.path
        name = path.removeprefix(self._prefix) if path.startswith(self._prefix) else ""
        if path == self._worker_path or name == "session-worker.js":
            return self._read(context, request_id, lambda: _serve(self._worker, context.headers))
        if name == "session.js":
            return self._read(context, request_id, lambda: _serve(self._helper, context.headers))
        if name == "login":
            return self._read(context, request_id, lambda: self._page(self._login_page, "login", context.target))
        if name == "logout" and context.method == "POST" and self._sign_out is not None:
            return Answer(*await self._sign_out.answer(context, guard, request_id, body))
        if name == "logout":
            more = "" if self._sign_out is None else ", POST"
            return self._read(
                context, request_id, lambda: self._page(self._logout_page, "logout", context.target), more=more
            )
        if name == "session" and self._session_cookie is not None:
            return Answer(*await self._session_cookie.answer(context, guard, request_id, body))
        if path == SDK_COOKIES_PATH and self._sdk_cookies is not None:
            scheme = guard.addresses.scheme(context.peer, context.headers, context.scheme)
            return Answer(await self._sdk_cookies.answer(context, scheme, request_id, body))
        if path in ASSERTION_PATHS and self._assertion_keys is not None:
            return Answer(self._assertion_keys.answer(context, request_id))
        if name == "userinfo":
            if context.method not in _READ_METHODS:
                return Answer(self._method_not_allowed(request_id))
            return await self._userinfo(context, guard, request_id)
        asset = self._assets.get(name.removeprefix("assets/")) if name.startswith("assets/") else None
        if asset is not None and not asset.content_type.startswith(
            "text/html"
        ):  # pages are not served with holes in them
            found = asset
            return self._read(context, request_id, lambda: _serve(_asset(found, context.target), context.headers))
        return Answer(self._replies.failure(reasons.NOT_FOUND, request_id, form_of_refusal(context.headers)))

    def _read(self, context: RequestContext, request_id: str, make: Any, *, more: str = "") -> Answer:
        if context.method not in _READ_METHODS:
            return Answer(self._method_not_allowed(request_id, more))
        reply: Reply = make()
        return Answer(reply)

    def _method_not_allowed(self, request_id: str, more: str = "") -> Reply:
        reply = self._replies.failure(reasons.METHOD_NOT_ALLOWED, request_id, PROBLEM)
        return Reply(reply.status, (*reply.headers, ("Allow", f"GET, HEAD{more}")), reply.body)

    def _page(self, template: Template, mode: str, target: Target) -> Reply:
        home, never = self._login.home, (f"{self._prefix}login", f"{self._prefix}logout")
        wanted = parameter(target.query, "rd")
        reason = parameter(target.query, "reason")
        config = {
            **self._page_config,
            "mode": mode,
            "rd": safe_return_path(wanted, self._login.return_to, never=never, otherwise=home) if wanted else "",
            "reason": reason if reason in reasons.TABLE else "",
        }
        if mode == "login" and not config["rd"]:
            config["rd"] = home
        values = {"config": json.dumps(config), "title": self._login.title or "Sign in", "prefix": self._prefix}
        headers = (*self._page_headers, CLEAR_SITE_DATA) if mode == "logout" else self._page_headers
        return Reply(200, headers, template.render(values))

    async def _userinfo(self, context: RequestContext, guard: SessionGuard, request_id: str) -> Answer:
        try:
            client = guard.addresses.client(context.peer, context.headers)
        except RequestError as error:
            decision: Decision = Deny(error.reason)
        else:
            decision = await guard.judge_on(self._userinfo_route, client, context)
        if isinstance(decision, Allow) and decision.session is not None:
            headers = (
                ("Content-Type", "application/json"),
                ("X-Content-Type-Options", "nosniff"),
                ("Cache-Control", "private, no-store"),
                ("Vary", "Authorization, Cookie"),
                ("X-Request-Id", request_id),
            )
            body = json.dumps(user_info(decision.session), ensure_ascii=False).encode("utf-8", "replace")
            return Answer(Reply(200, headers, body).beside(spent_cookie(decision)), decision)
        retry_after = decision.retry_after if isinstance(decision, Deny) else None
        reply = self._replies.failure(decision.reason, request_id, PROBLEM, retry_after=retry_after)
        return Answer(reply.beside(spent_cookie(decision)), decision)


def user_info(session: Session) -> dict[str, object]:
    """What ``userinfo`` says of a session: claims, never the token, never the address they signed in from."""
    claims: Claims = session.claims
    own = {name: value for name, value in claims.payload.items() if name not in STANDARD_CLAIMS}
    own.pop("signInIpAddress", None)
    return {
        "uid": claims.principal.uid,
        "tenant": claims.principal.tenant,
        "email": claims.email,
        "email_verified": claims.email_verified,
        "name": claims.name,
        "sign_in_provider": claims.sign_in_provider,
        "auth_time": claims.auth_time,
        "expires_at": claims.expires_at,
        "network": str(session.network),
        "claims": own,
    }


def _page_config(login: LoginSettings, worker: WorkerSettings, prefix: str) -> dict[str, object]:
    config: dict[str, object] = {
        "apiKey": login.api_key,
        "authDomain": login.auth_domain,
        "projectId": login.project_id,
        "emulatorUrl": login.emulator_url,
        "workerUrl": worker.registered,
        "appName": worker.apps[0].name,
        "prefix": prefix,
        "providers": list(login.providers),
        "title": login.title,
        "homeUrl": login.home,
        "passwordReset": login.password_reset,
        "cookie": worker.cookie,
        "reasons": {
            reason.id: {
                "title": reason.title,
                "advice": reason.advice,
                "signOut": reason.sign_out,
                "stepUp": reason.step_up,
            }
            for reason in reasons.TABLE.values()
            if reason.outcome is not reasons.Outcome.ALLOW
        },
    }
    if login.demo is not None:
        config["demo"] = dict(login.demo)
    return config


def _asset(asset: Asset, target: Target) -> Served:
    current = parameter(target.query, "v") == asset.version
    headers = (
        ("Content-Type", asset.content_type),
        ("Cache-Control", _IMMUTABLE if current else REVALIDATE),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    )
    return Served(asset.body, asset.gzipped, asset.etag, headers)


def _serve(served: Served, headers: Headers) -> Reply:
    """The file in the coding that the client takes, or 304 (RFC 9110 sections 12.5.3 and 13.1.2)."""
    common = (*served.headers, ("ETag", served.etag), ("Vary", "Accept-Encoding"))
    known = [tag.strip().removeprefix("W/") for line in headers.all(b"if-none-match") for tag in line.split(",")]
    if "*" in known or served.etag.removeprefix("W/") in known:
        return Reply(304, tuple(pair for pair in common if pair[0] != "Content-Type"))
    if served.gzipped is not None and _takes_gzip(headers.all(b"accept-encoding")):
        return Reply(200, (*common, ("Content-Encoding", "gzip")), served.gzipped)
    return Reply(200, common, served.body)


def _takes_gzip(values: Sequence[str]) -> bool:
    for entry in ",".join(values).split(","):
        coding, _, parameters = entry.partition(";")
        if coding.strip().lower() in {"gzip", "*"}:
            return parameters.replace(" ", "").lower() not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
