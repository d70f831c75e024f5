"""``gateway routes``: the routes in order, and what each of them demands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from gateway.config.load import load
from gateway.config.rules import policy_routes
from gateway.config.types import spelled
from gateway.policy.assurance import Requirements
from gateway.policy.routes import Auth, Route, Unauthenticated


def run_routes(config: Path | None, *, as_json: bool) -> None:
    """Print the routes.

    :raises ConfigError: the configuration cannot be used.
    """
    routes = list(policy_routes(load(config).config))
    if as_json:
        print(json.dumps([_document(route) for route in routes], indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False, soft_wrap=True)
    rows = [
        (str(number), route.name, _match(route), str(route.auth), route.upstream)
        for number, route in enumerate(routes, 1)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row, route in zip(rows, routes, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        line = Text.assemble((cells[0], "dim"), "  ", (cells[1], "bold"), f"  {cells[2]}  {cells[3]}  → {row[4]}")
        console.print(line)
        for name, text in _details(route):
            console.print(Text.assemble(" " * (widths[0] + 2), (f"{name:<9}", "dim"), text))
    console.print(Text("everything else is denied", style="dim"))


def _match(route: Route) -> str:
    parts = [",".join(sorted(route.methods)), ",".join(route.hosts), route.pattern]
    return " ".join(part for part in parts if part)


def _details(route: Route) -> list[tuple[str, str]]:
    """What is worth a line of its own: everything that is not the default of a route without a session's demands."""
    found = []
    if route.require is not None:
        found.append(("require", "; ".join(demands(route.require)) or "nothing"))
    if route.auth is not Auth.PUBLIC:
        found.append(("network", str(route.preset)))
    if route.cors is not None:
        cookies = ", cookies too" if route.cors.credentials else ""
        found.append(
            ("cors", f"{' '.join(sorted(route.cors.origins))} ({', '.join(sorted(route.cors.methods))}{cookies})")
        )
    if route.unauthenticated is not Unauthenticated.AUTO:
        found.append(("refusal", str(route.unauthenticated)))
    if route.rewrite is not None:
        taken, put = route.rewrite.strip or "nothing", route.rewrite.add or "nothing"
        found.append(("path", f"{taken} taken off the front, {put} put there"))
    if route.forward_authorization:
        found.append(("forwards", "the user's ID token"))
    return found


def demands(require: Requirements) -> list[str]:
    """Requirements in words."""
    words = []
    if require.sign_in_providers:
        words.append(f"signed in through {_any(require.sign_in_providers)}")
    if require.verified_email:
        words.append("verified e-mail")
    if require.roles:
        words.append(f"{require.roles_claim} holds {_any(require.roles)}")
    words += [f"{name} is {_value(value)}" for name, value in require.claims]
    if require.expression is not None:
        words.append(f"{require.expression.source}")
    if require.second_factor:
        words.append("second factor")
    if require.max_auth_age is not None:
        words.append(f"signed in at most {spelled(require.max_auth_age)} ago")
    return words


def _any(names: frozenset[str]) -> str:
    return " or ".join(sorted(names))


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return " or ".join(_value(one) for one in value)
    return json.dumps(value, ensure_ascii=False, default=list)


def _document(route: Route) -> dict[str, Any]:
    return {
        "name": route.name,
        "hosts": list(route.hosts),
        "methods": sorted(route.methods),
        "path": route.pattern,
        "auth": route.auth,
        "unauthenticated": route.unauthenticated,
        "require": demands(route.require) if route.require is not None else [],
        "network": route.preset,
        "cors": sorted(route.cors.origins) if route.cors is not None else [],
        "upstream": route.upstream,
        "strip_prefix": route.rewrite.strip if route.rewrite is not None else "",
        "add_prefix": route.rewrite.add if route.rewrite is not None else "",
    }
