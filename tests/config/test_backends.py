"""``[[upstream]]`` and rewritten paths: what is taken, what is refused, and where the refusal points."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import load
from gateway.config.model import Config
from gateway.config.rules import policy_routes
from gateway.config.types import BackendUrl, Statuses
from gateway.errors import ConfigError
from gateway.policy.rewrite import PathRewrite


def loaded(upstream: dict[str, Any] | None = None, route: dict[str, Any] | None = None) -> Config:
    table = {"name": "app", "urls": ["https://127.0.0.1:1", "https://127.0.0.1:2"], **(upstream or {})}
    row = {"match": {"path": "/app/**"}, **(route or {})}
    return load(
        None, environment={}, overrides={"firebase.project_id": "acme", "upstream": [table], "route": [row]}
    ).config


def test_everything_that_can_be_said_of_a_backend() -> None:
    """reads addresses of all kinds, TLS, health checks, Host and deadlines."""
    (upstream,) = loaded(
        {
            "urls": ["https://app-1:3000", "http://[::1]", "unix:/run/app.sock", "unix:app.sock"],
            "host": "app.internal:81",
            "timeouts": {"connect": "2s"},
            "tls": {"ca_file": "ca.pem", "cert_file": "c.pem", "key_file": "k.pem", "server_name": "app.internal"},
            "health": {"path": "/healthz?deep=1", "every": "5s", "status": "200,204, 300-302"},
        }
    ).upstream
    assert [url.socket for url in upstream.urls] == ["", "", "/run/app.sock", "app.sock"]
    assert [url.host for url in upstream.urls] == ["app-1", "::1", "", ""]
    assert upstream.timeouts.connect == 2
    assert upstream.tls is not None
    assert upstream.health is not None
    assert (upstream.health.every, upstream.health.timeout) == (5, 2)
    assert upstream.health.status.numbers == {200, 204, 300, 301, 302}


def test_without_a_word_nothing_is_special() -> None:
    """keeps the client's Host and path, checks nothing and trusts the system's authorities by default."""
    config = loaded()
    upstream = config.upstream[0]
    assert (upstream.host, upstream.tls, upstream.health) == ("keep", None, None)
    assert [route.rewrite for route in policy_routes(config)] == [None]


@pytest.mark.parametrize(
    ("upstream", "where", "what"),
    [
        ({"urls": []}, "urls", "no address"),
        ({"urls": ["http://app/base"]}, r"urls\[0\]", "a path"),
        ({"urls": ["http://a", "http://[::ffff:169.254.169.254]"]}, r"urls\[1\]", "metadata"),
        ({"urls": ["http://a", "http://a/"]}, "urls", "twice"),
        ({"urls": ["ftp://a"]}, r"urls\[0\]", "unix:/run/app.sock"),
        ({"urls": ["unix:"]}, r"urls\[0\]", "unix:/run/app.sock"),
        ({"urls": ["unix:///run/app.sock"]}, r"urls\[0\]", "unix:/run/app.sock"),
        ({"host": "keeps"}, "host", "keep, replace"),
        ({"host": "replaced"}, "host", "keep, replace"),
        ({"host": "a b"}, "host", "keep, replace"),
        ({"host": ""}, "host", "keep, replace"),
        ({"host": "https://app"}, "host", "keep, replace"),
        ({"timeouts": {"idle": "0s"}}, "timeouts.idle", "no time"),
        ({"tls": {"cert_file": "c.pem"}}, "tls.cert_file", "key_file"),
        ({"tls": {"key_file": "k.pem"}}, "tls.cert_file", "key_file"),
        ({"urls": ["http://a"], "tls": {"ca_file": "c.pem"}}, "tls", "without an https"),
        ({"urls": ["https://10.0.0.1"], "tls": {"verify": False}}, "tls.verify", "this machine"),
        ({"tls": {"server_name": "app:443"}}, "tls.server_name", "no name"),
        ({"tls": {"server_name": "a..b"}}, "tls.server_name", "no name"),
        ({"tls": {"server_name": "x" * 64}}, "tls.server_name", "no name"),
        ({"tls": {"verify": False, "ca_file": "c.pem"}}, "tls.verify", "mean nothing"),
        ({"health": {"path": "healthz"}}, "health.path", "not a path"),
        ({"health": {"path": "/a\r\nX: y"}}, "health.path", "not a path"),
        ({"health": {"path": "/", "every": "1ms"}}, "health.every", "less than"),
        ({"health": {"path": "/", "timeout": "0s"}}, "health.timeout", "no time"),
        ({"health": {"path": "/", "healthy_after": 0}}, "health.healthy_after", "less than 1"),
        ({"health": {"path": "/", "unhealthy_after": 0}}, "health.unhealthy_after", "less than 1"),
        ({"health": {"path": "/", "status": "299-200"}}, "health.status", "ranges"),
        ({"health": {"path": "/", "status": "ok"}}, "health.status", "ranges"),
        ({"health": {}}, "health.path", "missing"),
    ],
)
def test_what_is_wrong_with_a_backend_is_named(upstream: dict[str, Any], where: str, what: str) -> None:
    """names the key of a backend that cannot be right."""
    with pytest.raises(ConfigError, match=rf"\$\.upstream\[[0.]+\]\.{where}.*{what}"):
        loaded(upstream)


@pytest.mark.parametrize(
    ("route", "rewrite"),
    [
        ({"strip_prefix": "/app"}, PathRewrite("/app")),
        ({"add_prefix": "/v2"}, PathRewrite("", "/v2")),
        ({"strip_prefix": "/app", "add_prefix": "/a/b"}, PathRewrite("/app", "/a/b")),
        ({"strip_prefix": "/app", "match": {"path": "/app"}}, PathRewrite("/app")),
        ({"strip_prefix": "/app", "match": {"path": "/app/*/x"}}, PathRewrite("/app")),
    ],
)
def test_paths_are_rewritten_as_told(route: dict[str, Any], rewrite: PathRewrite) -> None:
    """takes prefixes of whole segments that every path of the route has."""
    assert [found.rewrite for found in policy_routes(loaded(route=route))] == [rewrite]


@pytest.mark.parametrize(
    ("route", "where"),
    [
        ({"strip_prefix": "app"}, "strip_prefix"),
        ({"strip_prefix": "/app/"}, "strip_prefix"),
        ({"add_prefix": "/a/../b"}, "add_prefix"),
        ({"strip_prefix": "/other"}, "strip_prefix"),
        ({"strip_prefix": "/ap"}, "strip_prefix"),
        ({"strip_prefix": "/app", "match": {"path": "/**"}}, "strip_prefix"),
        ({"strip_prefix": "/app/x"}, "strip_prefix"),
    ],
)
def test_prefixes_that_do_not_fit_are_refused(route: dict[str, Any], where: str) -> None:
    """refuses a prefix that is none, and one that some path of the route would not have."""
    with pytest.raises(ConfigError, match=rf"\$\.route\[0\]\.{where}"):
        loaded(route=route)


def test_types_read_back_what_they_say() -> None:
    """reads addresses and statuses from text and writes the same text."""
    assert BackendUrl.parse("http://a/") == "http://a"
    assert BackendUrl.parse("unix:a/b.sock") == "unix:a/b.sock"
    assert Statuses.parse("200-399").numbers == frozenset(range(200, 400))
    for text in (1, None, "", "unix", "unix:\n"):
        with pytest.raises(ValueError, match="unix"):
            BackendUrl.parse(text)
    for wrong in (200, "", "100", "200-", "600", "200 300"):
        with pytest.raises(ValueError, match="statuses"):
            Statuses.parse(wrong)


def test_the_page_on_backends_says_what_works() -> None:
    """takes every example of the how-to page as it stands there."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "backends.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 4
    names = set(re.findall(r'upstream += "(\w+)"', page))
    for example in examples:
        tree = tomllib.loads(example)
        tree.setdefault("route", [{"match": {"path": "/**"}}])
        tree.setdefault("upstream", [{"name": name, "urls": ["http://127.0.0.1:1"]} for name in names])
        load(None, environment={}, overrides={"firebase.project_id": "acme", **tree})
