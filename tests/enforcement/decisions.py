"""The decision table: requests with the answer that every enforcement point has to give.

A row says what a client sends, and what becomes of it: the reason, the status that the client sees (200 stands for what
the application answers), and whose request the application takes it for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from gateway.core.claims import Claims
from gateway.policy.assurance import Requirements
from gateway.policy.cross_site import Cors
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth, Route, Unauthenticated
from tests.support.wire import claims_of

HOST: Final = "app.example"
CLIENT: Final = "192.0.2.7"
PARTNER: Final = "https://partner.example"

GOOD, ADMIN, OTHER, OLD, FACTOR, AWAY, FORGED, EXPIRED, DOWN = (
    "good.token.one",
    "admin.token.one",
    "other.token.one",
    "old.token.one",
    "factor.token.one",
    "away.token.one",
    "forged.token.one",
    "expired",
    "down",
)


def tokens(now: float) -> dict[str, Claims]:
    """The tokens that are good, by their text; :data:`EXPIRED` and :data:`DOWN` are the fake verifier's own."""
    fresh = int(now) - 60
    return {
        GOOD: claims_of("alice", auth_time=fresh),
        ADMIN: claims_of("root", auth_time=fresh, roles=["admin"]),
        OTHER: claims_of("eve", auth_time=fresh),
        OLD: claims_of("alice", auth_time=fresh - 7_200, roles=["admin"]),
        FACTOR: replace(claims_of("alice", auth_time=fresh), second_factor="phone"),
        AWAY: claims_of("alice", auth_time=fresh, signInIpAddress="198.51.100.9"),
    }


ROUTES: Final = (
    Route("public", "/public/**", "app", Auth.PUBLIC),
    Route("optional", "/optional/**", "app", Auth.OPTIONAL),
    Route("api", "/api/**", "app", unauthenticated=Unauthenticated.UNAUTHORIZED),
    Route("admin", "/admin/**", "app", require=Requirements(roles=frozenset({"admin"}))),
    Route("fresh", "/fresh/**", "app", require=Requirements(max_auth_age=900)),
    Route("factor", "/factor/**", "app", require=Requirements(second_factor=True)),
    Route("pinned", "/pinned/**", "app", preset=Preset.PINNED),
    Route("read", "/read/**", "app", methods=frozenset({"GET", "HEAD"})),
    Route("read-rest", "/read/**", "app", require=Requirements(roles=frozenset({"admin"}))),
    Route("host", "/host/**", "app", Auth.PUBLIC, hosts=("other.example",)),
    Route(
        "shared",
        "/shared/**",
        "app",
        cors=Cors(frozenset({PARTNER}), frozenset({"GET", "POST"}), ("authorization",), max_age=600),
    ),
    Route("app", "/app/**", "app"),
)
"""Nothing else is published: what matches none of these is refused."""

Fields = tuple[tuple[str, str], ...]
PAGE: Final[Fields] = (("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
WORKER: Final[Fields] = (("X-Gateway-Fetch", "mode=navigate, dest=document, site=same-origin"),)
SOCKET: Final[Fields] = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
)
SAME: Final[Fields] = (("Sec-Fetch-Site", "same-origin"),)
CROSS: Final[Fields] = (("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example"))


@dataclass(frozen=True)
class Row:
    """One request and its answer. ``uid`` is None for nobody; ``where`` begins the ``Location`` of a redirect."""

    name: str
    target: str
    reason: str
    status: int = 200
    uid: str | None = None
    method: str = "GET"
    token: str | None = None
    cookie: str | None = None
    fields: Fields = ()
    where: str = ""
    host: str = HOST

    @property
    def sent(self) -> Fields:
        """The field lines that the client sends besides ``Host``."""
        bearer = (("Authorization", f"Bearer {self.token}"),) if self.token is not None else ()
        cookie = (("Cookie", f"theme=dark; __Host-session={self.cookie}"),) if self.cookie is not None else ()
        return (*bearer, *cookie, *self.fields)


def rows() -> tuple[Row, ...]:
    """The table."""
    return (*_who(), *_forms(), *_demands(), *_cross_site(), *_cookies(), *_targets(), *_spoofs())


def _who() -> Iterator[Row]:
    for route in ("public", "optional", "app", "api"):
        path = f"/{route}/x"
        public, optional = route == "public", route == "optional"
        open_ = "public_route" if public else "anonymous"
        if public or optional:
            yield Row(f"nobody on {route}", path, open_)
        else:
            yield Row(f"nobody on {route}", path, "sign_in_required", 401)
        for label, token, uid in (("a user", GOOD, "alice"), ("another user", OTHER, "eve")):
            reason = "public_route" if public else "session_valid"
            yield Row(f"{label} on {route}", path, reason, uid=None if public else uid, token=token)
        for label, token, reason in (
            ("a forged token", FORGED, "token_signature"),
            ("an expired token", EXPIRED, "token_expired"),
        ):
            if public or optional:
                told = "public_route" if public else "credential_ignored"
                yield Row(f"{label} on {route}", path, told, token=token)
            else:
                yield Row(f"{label} on {route}", path, reason, 401, token=token)
    yield Row("keys are out of reach", "/app/x", "keys_unavailable", 503, token=DOWN)
    yield Row("keys are out of reach, optional", "/optional/x", "credential_ignored", token=DOWN)
    yield Row("nothing is published there", "/nowhere", "no_route", 403, token=GOOD)
    yield Row("another host's route", "/host/x", "no_route", 403, token=GOOD)
    yield Row("the host that it is published on", "/host/x", "public_route", host="other.example")
    for method in ("HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"):
        yield Row(f"{method} by a user", "/app/x", "session_valid", uid="alice", method=method, token=GOOD)
    yield Row("a method that falls to the next route", "/read/x", "role_missing", 403, method="POST", token=GOOD)
    yield Row("a method of the route", "/read/x", "session_valid", uid="alice", token=GOOD)


def _forms() -> Iterator[Row]:
    login = "/.gateway/login?rd="
    yield Row(
        "a navigation by nobody",
        "/app/x?a=1",
        "sign_in_required",
        302,
        fields=PAGE,
        where=f"{login}/app/x%3Fa%3D1&reason=sign_in_required",
    )
    yield Row("a navigation to an API", "/api/x", "sign_in_required", 401, fields=PAGE)
    yield Row(
        "a navigation with an expired token",
        "/app/x",
        "token_expired",
        302,
        token=EXPIRED,
        fields=WORKER,
        where=f"{login}/app/x&reason=token_expired",
    )
    yield Row("a POST by nobody", "/app/x", "sign_in_required", 401, method="POST", fields=PAGE)
    yield Row("a script by nobody", "/app/x", "sign_in_required", 401, fields=(("Accept", "*/*"),))
    where = f"{login}/app/x&reason=sign_in_required"
    yield Row("a person's Accept", "/app/x", "sign_in_required", 302, fields=PAGE[:1], where=where)
    yield Row("a frame by nobody", "/app/x", "sign_in_required", 401, fields=(*PAGE[:2], ("Sec-Fetch-Dest", "iframe")))
    yield Row(
        "the worker could not renew",
        "/app/x",
        "token_refresh_failed",
        401,
        fields=(("X-Gateway-Fetch", "token=failed"),),
    )
    yield Row("a socket by nobody", "/app/x", "sign_in_required", 401, fields=SOCKET)


def _demands() -> Iterator[Row]:
    yield Row("the role is there", "/admin/x", "session_valid", uid="root", token=ADMIN)
    yield Row("the role is missing", "/admin/x", "role_missing", 403, token=GOOD)
    yield Row("nobody where a role is asked for", "/admin/x", "sign_in_required", 401)
    yield Row("a fresh sign-in", "/fresh/x", "session_valid", uid="alice", token=GOOD)
    yield Row("an old sign-in", "/fresh/x", "step_up_auth_age", 401, token=OLD)
    yield Row(
        "an old sign-in, navigating",
        "/fresh/x",
        "step_up_auth_age",
        302,
        token=OLD,
        fields=WORKER,
        where="/.gateway/login?rd=/fresh/x&reason=step_up_auth_age",
    )
    yield Row("a second factor", "/factor/x", "session_valid", uid="alice", token=FACTOR)
    yield Row("no second factor", "/factor/x", "step_up_second_factor", 401, token=GOOD)
    yield Row("from another network", "/app/x", "network_changed", 401, token=AWAY)
    yield Row("from another network, pinned", "/pinned/x", "network_changed", 401, token=AWAY)
    yield Row("from another network, public", "/public/x", "public_route", token=AWAY)


def _cross_site() -> Iterator[Row]:
    for method in ("POST", "PUT", "DELETE"):
        yield Row(f"a foreign {method}", "/app/x", "cross_site", 403, method=method, token=GOOD, fields=CROSS)
    yield Row("a foreign navigation", "/app/x", "session_valid", uid="alice", token=GOOD, fields=CROSS[:1])
    yield Row("an own POST", "/app/x", "session_valid", uid="alice", method="POST", token=GOOD, fields=SAME)
    own = (("Origin", f"https://{HOST}"),)
    yield Row(
        "an own POST by its origin", "/app/x", "session_valid", uid="alice", method="POST", token=GOOD, fields=own
    )
    yield Row("the origin null", "/app/x", "cross_site", 403, method="POST", token=GOOD, fields=(("Origin", "null"),))
    yield Row("two origins", "/app/x", "cross_site", 403, method="POST", token=GOOD, fields=(*own, *own))
    yield Row("a foreign POST in public", "/public/x", "public_route", method="POST", token=GOOD, fields=CROSS)
    listed = (("Origin", PARTNER), ("Sec-Fetch-Site", "cross-site"))
    yield Row("a listed origin", "/shared/x", "session_valid", uid="alice", method="POST", token=GOOD, fields=listed)
    yield Row("an origin that is not listed", "/shared/x", "cross_site", 403, method="POST", token=GOOD, fields=CROSS)
    asks = (("Access-Control-Request-Method", "POST"),)
    yield Row("a preflight", "/shared/x", "cors_preflight", 204, method="OPTIONS", fields=(*listed, *asks))
    yield Row("a stranger's preflight", "/shared/x", "cross_site", 403, method="OPTIONS", fields=(*CROSS, *asks))
    yield Row("a preflight elsewhere", "/app/x", "sign_in_required", 401, method="OPTIONS", fields=(*listed, *asks))


def _cookies() -> Iterator[Row]:
    yield Row("a cookie reads", "/app/x", "session_valid", uid="alice", cookie=GOOD)
    yield Row(
        "a cookie reads for a foreign page", "/app/x", "session_valid", uid="alice", cookie=GOOD, fields=CROSS[:1]
    )
    yield Row(
        "a cookie writes, proven", "/app/x", "session_valid", uid="alice", method="POST", cookie=GOOD, fields=SAME
    )
    yield Row("a cookie writes, silently", "/app/x", "cross_site", 403, method="POST", cookie=GOOD)
    yield Row(
        "a cookie writes for a foreign page", "/app/x", "cross_site", 403, method="POST", cookie=GOOD, fields=CROSS
    )
    yield Row("an expired cookie", "/app/x", "sign_in_required", 401, cookie=EXPIRED)
    yield Row("a forged cookie", "/app/x", "token_signature", 401, cookie=FORGED)
    yield Row("both, of one user", "/app/x", "session_valid", uid="alice", token=GOOD, cookie=GOOD)
    yield Row("both, of two users", "/app/x", "credential_conflict", 400, token=GOOD, cookie=OTHER)
    yield Row("a dead cookie beside a token", "/app/x", "session_valid", uid="alice", token=GOOD, cookie=EXPIRED)
    yield Row("a cookie in public", "/public/x", "public_route", cookie=GOOD)
    yield Row("a socket by cookie, silently", "/app/x", "cross_site", 403, cookie=GOOD, fields=SOCKET)
    twice = (("Authorization", f"Bearer {GOOD}"), ("Authorization", f"Bearer {OTHER}"))
    yield Row("two tokens", "/app/x", "credential_ambiguous", 400, fields=twice)
    yield Row(
        "basic authentication", "/app/x", "credential_unsupported", 401, fields=(("Authorization", "Basic YTpi"),)
    )


def _targets() -> Iterator[Row]:
    for target in (
        "/public/../app/x",
        "/public/%2e%2e/app/x",
        "/public/%2E./app/x",
        "/public//x",
        "/public/%2fx",
        "/public/%5c..%5capp",
        "/public/x%00",
        "/public/\\x",
        "/public/%c0%ae",
    ):
        yield Row(f"the target {target}", target, "target_ambiguous", 400, token=GOOD)
    for target in ("/public/;/../app", "/PUBLIC/x"):
        yield Row(
            f"the target {target}", target, *(("no_route", 403) if target == "/PUBLIC/x" else ("target_ambiguous", 400))
        )
    yield Row("a broken escape", "/public/%zz", "request_malformed", 400)
    yield Row("a fragment", "/public/x#y", "request_malformed", 400)


def _spoofs() -> Iterator[Row]:
    forged = (("X-Forwarded-User", "root"), ("X-Forwarded-Email", "root@example.com"), ("X-Auth-Request-User", "root"))
    yield Row("a forged identity by nobody", "/app/x", "sign_in_required", 401, fields=forged)
    yield Row("a forged identity in public", "/public/x", "public_route", fields=forged)
    yield Row("a forged identity by a user", "/app/x", "session_valid", uid="alice", token=GOOD, fields=forged)
    health = (("User-Agent", "GoogleHC/1.0"),)
    yield Row("a health check's name", "/app/x", "sign_in_required", 401, fields=health)
    yield Row("another address asked for", "/app/x", "sign_in_required", 401, fields=(("X-Rewrite-Url", "/public/x"),))
    yield Row(
        "another method asked for",
        "/read/x",
        "session_valid",
        uid="alice",
        token=GOOD,
        fields=(("X-Http-Method-Override", "DELETE"),),
    )
