"""The gateway's own addresses: everything below the reserved prefix, and the worker.

Nothing here is ever forwarded, and nothing below the prefix is ever a backend's: an unknown name there is a 404 of
ours, and so is a spelling that a lenient reader could take for the prefix. Names of assets are keys of a table, never
paths on a disk.

The worker (``threats.md`` row 32; W3C Service Workers section 3.4) is sent with ``Cache-Control: no-cache``, so that
a mended worker reaches browsers at once, and with its own policy, so that it can talk to this site and the token
service only.
"""

from __future__ import annotations

import gzip
import hashlib
import json
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
from gateway.http.negotiate import PROBLEM, form_of_refusal
from gateway.http.pages import GOOGLE_ENDPOINTS, Asset, AssetSource, Template, page_headers
from gateway.http.reply import Replies, Reply
from gateway.http.return_to import parameter, safe_return_path
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth, Route, Unauthenticated

_IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""One year in seconds, the customary "for ever" (RFC 9111 section 1.2.2, RFC 8246); given only to an address that
names the version."""
_REVALIDATE: Final = "no-cache"
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
class WorkerSettings:
    """What the worker is told.

    ``token_url`` is the token service's full address; ``excluded`` are path prefixes that the worker leaves alone.
    """

    api_key: str
    token_url: str = "https://securetoken.googleapis.com/v1/token"  # noqa: S105 - an address
    path: str = "/service-worker.js"
    app_name: str = "[DEFAULT]"
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Served:
    """One file ready to be sent."""

    body: bytes
    gzipped: bytes | None
    etag: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and the decision that led to it where one was made."""

    reply: Reply
    decision: Decision | None = None


class Endpoints:
    """Answers requests to the gateway's own addresses.

    :param prefix: the reserved prefix, with slashes at both ends.
    :param preset: the network policy that ``userinfo`` is judged by.
    :raises ConfigError: a page or the worker is missing, or the prefix is no prefix.
    """

    def __init__(
        self,
        assets: AssetSource,
        replies: Replies,
        login: LoginSettings,
        worker: WorkerSettings,
        *,
        prefix: str = "/.gateway/",
        preset: Preset = Preset.RELAXED,
    ) -> None:
        if _PREFIX.fullmatch(prefix) is None:
            raise ConfigError(
                "$.listen.prefix", f"{prefix!r} is not a path with slashes at both ends", "try /.gateway/"
            )
        self._assets = assets
        self._replies = replies
        self._login = login
        self._prefix = prefix
        self._worker_path = worker.path
        self._login_page = Template(assets, "login.html")
        self._logout_page = Template(assets, "logout.html" if assets.get("logout.html") is not None else "login.html")
        self._worker = _worker(assets, worker, prefix)
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
        return target.path == self._worker_path or any(
            f"{path}/".startswith(self._prefix) for path in (target.path, *target.readings)
        )

    async def answer(self, context: RequestContext, guard: SessionGuard, request_id: str) -> Answer:
        """Answer a request whose target is the gateway's :meth:`own`."""
        path = context.target.path
        name = path.removeprefix(self._prefix) if path.startswith(self._prefix) else ""
        if path == self._worker_path or name == "session-worker.js":
            return self._read(context, request_id, lambda: _serve(self._worker, context.headers))
        if name == "login":
            return self._read(context, request_id, lambda: self._page(self._login_page, "login", context.target))
        if name == "logout":
            return self._read(context, request_id, lambda: self._page(self._logout_page, "logout", context.target))
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

    def _read(self, context: RequestContext, request_id: str, make: Any) -> Answer:
        if context.method not in _READ_METHODS:
            return Answer(self._method_not_allowed(request_id))
        reply: Reply = make()
        return Answer(reply)

    def _method_not_allowed(self, request_id: str) -> Reply:
        reply = self._replies.failure(reasons.METHOD_NOT_ALLOWED, request_id, PROBLEM)
        return Reply(reply.status, (*reply.headers, ("Allow", "GET, HEAD")), reply.body)

    def _page(self, template: Template, mode: str, target: Target) -> Reply:
        never = (f"{self._prefix}login", f"{self._prefix}logout")
        wanted = parameter(target.query, "rd")
        reason = parameter(target.query, "reason")
        config = {
            **self._page_config,
            "mode": mode,
            "rd": safe_return_path(wanted, allowed_prefixes=self._login.return_to, never=never) if wanted else "",
            "reason": reason if reason in reasons.TABLE else "",
        }
        if mode == "login" and not config["rd"]:
            config["rd"] = self._login.home
        values = {"config": json.dumps(config), "title": self._login.title or "Sign in", "prefix": self._prefix}
        return Reply(200, self._page_headers, template.render(values))

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
            return Answer(Reply(200, headers, body), decision)
        retry_after = decision.retry_after if isinstance(decision, Deny) else None
        return Answer(self._replies.failure(decision.reason, request_id, PROBLEM, retry_after=retry_after), decision)


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
        "workerUrl": worker.path,
        "prefix": prefix,
        "providers": list(login.providers),
        "title": login.title,
        "homeUrl": login.home,
        "passwordReset": login.password_reset,
        "reasons": {
            reason.id: {"title": reason.title, "advice": reason.advice, "signOut": reason.sign_out}
            for reason in reasons.TABLE.values()
            if reason.outcome is not reasons.Outcome.ALLOW
        },
    }
    if login.demo is not None:
        config["demo"] = dict(login.demo)
    return config


def script_json(value: object) -> str:
    """JSON that may stand in a script and in an HTML script element: no ``<``, no U+2028 or U+2029, all ASCII."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.split('/', 1)[0]}"


def _worker(assets: AssetSource, settings: WorkerSettings, prefix: str) -> _Served:
    asset = assets.get("sw.js")
    if asset is None:
        raise ConfigError("sw.js", "the worker is missing from the installation", "reinstall, or run make assets")
    config = {
        "apiKey": settings.api_key,
        "appName": settings.app_name,
        "tokenUrl": settings.token_url,
        "prefix": prefix,
        "excluded": [settings.path, *settings.excluded],
    }
    body = f"self.__GATEWAY__={script_json(config)};\n".encode("ascii") + asset.body
    policy = f"default-src 'none'; connect-src 'self' {_origin(settings.token_url)}"
    headers = (
        ("Content-Type", "text/javascript; charset=utf-8"),
        ("Cache-Control", _REVALIDATE),
        ("Service-Worker-Allowed", "/"),
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
    )
    # Weak, because one tag stands for both codings (RFC 9110 section 8.8.1).
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
    return _Served(body, gzip.compress(body, mtime=0), etag, headers)


def _asset(asset: Asset, target: Target) -> _Served:
    current = parameter(target.query, "v") == asset.version
    headers = (
        ("Content-Type", asset.content_type),
        ("Cache-Control", _IMMUTABLE if current else _REVALIDATE),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    )
    return _Served(asset.body, asset.gzipped, asset.etag, headers)


def _serve(served: _Served, headers: Headers) -> Reply:
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
