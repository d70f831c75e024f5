"""Which rules apply to a request: routes in order, the first match wins, nothing matched is denied.

A pattern is matched against the *decoded* path of a target that has only one reading (:mod:`gateway.core.target`),
never against the query. ``*`` stands for any run of characters within a segment, a last ``/**`` for the path itself and
everything below it. There are no regular expressions: two advisories of 2025 and 2026 came from patterns that matched a
little more than their authors thought (CVE-2025-54576, CVE-2026-41059).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway import reasons
from gateway.core.target import Target
from gateway.errors import RequestError
from gateway.policy.assurance import Requirements
from gateway.policy.cross_site import Cors
from gateway.policy.ip_change import Preset
from gateway.policy.rewrite import PathRewrite


class Auth(enum.StrEnum):
    """Whether a route needs a session."""

    PUBLIC = "public"
    """No session is looked at; the backend is told of none."""
    OPTIONAL = "optional"
    """A good session is passed on; without one, or with a bad one, the visitor is anonymous."""
    REQUIRED = "required"
    """No good session, no answer from the backend."""


_STRICTNESS: Final = {Auth.PUBLIC: 0, Auth.OPTIONAL: 1, Auth.REQUIRED: 2}
_PRESETS: Final = {preset: rank for rank, preset in enumerate(Preset)}
_NOTHING: Final = Requirements()


class Unauthenticated(enum.StrEnum):
    """How a challenge is answered."""

    AUTO = "auto"
    """Page navigations are redirected to the login page, scripts get a 401."""
    REDIRECT = "redirect"
    UNAUTHORIZED = "401"


class OnOutage(enum.StrEnum):
    """What becomes of a good token while nobody can say whether it was revoked (``threats.md`` row 40)."""

    DENY = "deny"
    """503. Users known to be good pass for as long as the outage window lasts."""
    ALLOW_UNTIL_EXP = "allow-until-exp"
    """It passes until it expires, within the hour; known revocations still count."""


@dataclass(frozen=True, slots=True)
class Route:
    """One row of routing policy. ``name`` is unique and appears in logs; ``upstream`` names a backend.

    ``claim_fields``: pairs of a header field and the claim that it tells the backend. ``base64``: text that is no
    visible ASCII is written as an encoded word instead of an extended value. ``assertion``: the audience of a signed
    assertion for the backend; empty for none.
    ``require``: what a session must show beyond being good. ``cors``: which foreign pages may use the route.
    ``rewrite``: what the backend is asked for instead of the path; judged is what the client asked for.
    """

    name: str
    pattern: str
    upstream: str
    auth: Auth = Auth.REQUIRED
    hosts: tuple[str, ...] = ()
    methods: frozenset[str] = frozenset()
    unauthenticated: Unauthenticated = Unauthenticated.AUTO
    preset: Preset = Preset.RELAXED
    forward_authorization: bool = False
    identity: tuple[str, ...] = ("user", "email", "groups")
    groups_claim: str = "groups"
    claim_fields: tuple[tuple[str, str], ...] = ()
    base64: bool = False
    assertion: str = ""
    require: Requirements | None = None
    cors: Cors | None = None
    on_revocation_outage: OnOutage = OnOutage.DENY
    rewrite: PathRewrite | None = None

    def guards_as_well_as(self, other: Route) -> bool:
        """Whether whoever passes this route may pass ``other`` too, as far as can be told from the two."""
        if other.auth is Auth.PUBLIC:
            return True
        return (
            _STRICTNESS[self.auth] >= _STRICTNESS[other.auth]
            and _PRESETS[self.preset] >= _PRESETS[other.preset]
            and (other.require is None or (self.require or _NOTHING).covers(other.require))
            and (self.cors is None or self.cors == other.cors)
            and (self.on_revocation_outage is OnOutage.DENY or other.on_revocation_outage is not OnOutage.DENY)
        )


class RouteTable:
    """Routes in order of precedence."""

    __slots__ = ("_rows", "by_name")

    def __init__(self, routes: Sequence[Route]) -> None:
        self._rows = tuple((route, _compile_path(route.pattern), _compile_hosts(route.hosts)) for route in routes)
        self.by_name: Final = {route.name: route for route in routes}
        if len(self.by_name) != len(routes):
            raise ValueError("two routes have the same name")

    def match(self, method: str, host: str, target: Target) -> Route | None:
        """The route of a request, or None when none matches.

        :param host: lower case, with or without a port.
        :raises RequestError: ``target_ambiguous`` when a lenient backend could take the path for one that a stricter
            route guards.
        """
        route = self._first(method, host, target.path)
        if route is not None:
            for reading in target.readings:
                other = self._first(method, host, reading)
                if other is not None and other is not route and not route.guards_as_well_as(other):
                    raise RequestError(
                        reasons.TARGET_AMBIGUOUS,
                        f"the path could also be read as one of the stricter route {other.name}",
                    )
        return route

    def __iter__(self) -> Iterator[Route]:
        """The routes in order of precedence."""
        return (row[0] for row in self._rows)

    def _first(self, method: str, host: str, path: str) -> Route | None:
        for route, path_pattern, host_pattern in self._rows:
            if (
                path_pattern.fullmatch(path) is not None
                and (not route.methods or method in route.methods)
                and (host_pattern is None or host_pattern.fullmatch(_without_port(host)) is not None)
            ):
                return route
        return None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _compile_path(pattern: str) -> re.Pattern[str]:
    """Compile a path pattern.

    :raises ValueError: the pattern does not start with ``/`` or holds ``**`` anywhere but as its last segment.
    """
    if not pattern.startswith("/"):
        raise ValueError("a path pattern starts with /")
    below = pattern == "/**" or pattern.endswith("/**")
    stem = pattern[:-3] if below else pattern
    if "**" in stem:
        raise ValueError("** may only stand as the last segment")
    expression = "".join("[^/]*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", stem))
    return re.compile(expression + (r"(?:/.*)?" if below else ""), re.DOTALL)


def _compile_hosts(hosts: Sequence[str]) -> re.Pattern[str] | None:
    """Compile host patterns: a name, or ``*.`` and a name for exactly one more label.

    :raises ValueError: ``*`` anywhere but as the first label.
    """
    if not hosts:
        return None
    expressions = []
    for host in hosts:
        star, dot, rest = host.lower().partition(".")
        wildcard = star == "*" and bool(dot)
        name = rest if wildcard else host.lower()
        if "*" in name or not name:
            raise ValueError(f"{host!r}: * may only stand as the first label of a host")
        expressions.append((r"[^.]+\." if wildcard else "") + re.escape(name))
    return re.compile("|".join(f"(?:{expression})" for expression in expressions))
