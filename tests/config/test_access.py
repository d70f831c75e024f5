"""``require`` and ``cors`` as they are written, and what can be wrong with them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from gateway.config import access
from gateway.config.load import load
from gateway.config.rules import policy_routes
from gateway.errors import ConfigError
from gateway.policy.assurance import Requirements
from gateway.policy.cross_site import Cors
from gateway.policy.expression import Expression, ExpressionUnavailable
from gateway.policy.routes import Route


def route(**keys: Any) -> Route:
    config = load(
        None,
        environment={},
        overrides={
            "firebase.project_id": "acme",
            "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
            "route": [{"match": {"path": "/**"}} | keys],
        },
    ).config
    return policy_routes(config).by_name["route-1"]


def test_a_route_without_demands_has_none() -> None:
    """... demands nothing and lists nobody unless it is told to."""
    assert (route().require, route().cors) == (None, None)
    assert route(require={}).require == Requirements()


def test_every_demand_arrives() -> None:
    """... hands each demand to the judge, durations in seconds."""
    found = route(
        require={
            "verified_email": True,
            "claims": {"role": "admin", "level": [1, 2.5], "org": {"paid": True}},
            "roles": ["a"],
            "roles_claim": "groups",
            "sign_in_provider": ["password"],
            "second_factor": True,
            "max_auth_age": "15m",
            "expression": "claims.x == 1",
        }
    ).require
    assert found == Requirements(
        verified_email=True,
        sign_in_providers=frozenset({"password"}),
        roles=frozenset({"a"}),
        roles_claim="groups",
        claims=(("role", "admin"), ("level", (1, 2.5)), ("org", {"paid": True})),
        expression=Expression("claims.x == 1", name="x"),
        second_factor=True,
        max_auth_age=900,
    )


def test_lists_for_foreign_pages_arrive() -> None:
    """... hands the lists to the judge, with the route's own methods or the usual ones."""
    found = route(
        cors={
            "origins": ["https://a.test", "http://localhost:3000", "https://[::1]:8443"],
            "headers": ["Authorization", "X-Thing"],
            "expose": ["ETag"],
            "max_age": "1h",
            "credentials": True,
        }
    ).cors
    assert found == Cors(
        origins=frozenset({"https://a.test", "http://localhost:3000", "https://[::1]:8443"}),
        methods=frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}),
        headers=("authorization", "x-thing"),
        expose=("etag",),
        max_age=3600,
        credentials=True,
    )
    narrow = route(match={"path": "/**", "methods": ["GET", "POST"]}, cors={"origins": ["https://a.test"]}).cors
    assert narrow is not None
    assert narrow.methods == frozenset({"GET", "POST"})
    one = route(cors={"origins": ["https://a.test"], "methods": ["POST"]}).cors
    assert one is not None
    assert (one.methods, one.headers, one.max_age) == (frozenset({"POST"}), ("authorization", "content-type"), 600)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"auth": "public", "require": {"second_factor": True}}, "require", "means nothing"),
    ({"auth": "optional", "require": {}}, "require", "means nothing"),
    ({"require": {"roles": [""]}}, "require.roles", "empty"),
    ({"require": {"sign_in_provider": [""]}}, "require.sign_in_provider", "empty"),
    ({"require": {"max_auth_age": "500ms"}}, "require.max_auth_age", "less than a second"),
    ({"require": {"claims": {"born": dt.date(2000, 1, 1)}}}, "require.claims.born", "not something"),
    ({"require": {"claims": {"x": []}}}, "require.claims.x", "not something"),
    ({"require": {"claims": {"x": {}}}}, "require.claims.x", "not something"),
    ({"require": {"claims": {"x": [["a"]]}}}, "require.claims.x", "not something"),
    ({"require": {"claims": {"x": {"y": [dt.date(2000, 1, 1)]}}}}, "require.claims.x.y[0]", "not something"),
    ({"require": {"expression": "claims.x =="}}, "require.expression", "line 1, column 12"),
    ({"require": {"expression": "nobody.x"}}, "require.expression", "no variable nobody"),
    ({"require": {"role": ["a"]}}, "require.role", "no known key"),
    ({"cors": {"origins": []}}, "cors.origins", "names no origin"),
    ({"cors": {"origins": ["*"]}}, "cors.origins[0]", "every page in the world"),
    ({"cors": {"origins": ["https://a.test", "null"]}}, "cors.origins[1]", "shared"),
    ({"cors": {"origins": ["https://a.test/"]}}, "cors.origins[0]", "no origin"),
    ({"cors": {"origins": ["https://A.test"]}}, "cors.origins[0]", "no origin"),
    ({"cors": {"origins": ["https://*.a.test"]}}, "cors.origins[0]", "no origin"),
    ({"cors": {"origins": ["a.test"]}}, "cors.origins[0]", "no origin"),
    ({"cors": {"origins": ["https://a.test:443"]}}, "cors.origins[0]", "default port"),
    ({"cors": {"origins": ["http://a.test:80"]}}, "cors.origins[0]", "default port"),
    ({"cors": {"origins": ["https://a.test"], "methods": ["get"]}}, "cors.methods", "capitals"),
    ({"cors": {"origins": ["https://a.test"], "headers": ["*"]}}, "cors.headers", "no header's name"),
    ({"cors": {"origins": ["https://a.test"], "headers": ["a b"]}}, "cors.headers", "no header's name"),
    ({"cors": {"origins": ["https://a.test"], "expose": ["a\r\nb"]}}, "cors.expose", "no header's name"),
]


@pytest.mark.parametrize(("keys", "where", "what"), WRONG)
def test_what_cannot_be_meant_is_told(keys: dict[str, Any], where: str, what: str) -> None:
    """... refuses to start with demands or lists that cannot be meant, and says where."""
    with pytest.raises(ConfigError, match=what.replace("[", r"\[")) as caught:
        route(**keys)
    assert caught.value.where == f"$.route[0].{where}"


def test_methods_of_pages_are_methods_of_the_route() -> None:
    """... refuses a list for pages that is wider than the route."""
    with pytest.raises(ConfigError, match="does not take"):
        route(match={"path": "/**", "methods": ["GET"]}, cors={"origins": ["https://a.test"], "methods": ["PUT"]})


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """... says what to install when an expression is written and the library is missing."""

    def missing(*_args: object, **_options: object) -> None:
        raise ExpressionUnavailable

    monkeypatch.setattr(access, "Expression", missing)
    with pytest.raises(ConfigError, match=r"pip install 'session-gateway\[cel\]'"):
        route(require={"expression": "true"})
