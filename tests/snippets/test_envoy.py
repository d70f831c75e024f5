"""The configuration for envoy; in the proxy itself it is tried by `make test-proxies`."""

from __future__ import annotations

import json

from gateway import reasons
from gateway.http.negotiate import Form
from gateway.http.reply import Replies
from gateway.snippets.envoy import envoy
from gateway.snippets.site import site_of
from tests.snippets.test_site import config
from tests.support.wire import FakeAssets

TEXT = envoy(site_of(config(), host="app.example", port=8000))


def test_it_is_about_this_site() -> None:
    """... fills in host, ports and paths, and never asks about the gateway's own addresses."""
    resources = json.loads(TEXT)["static_resources"]
    listener = resources["listeners"][0]
    assert listener["address"]["socket_address"]["port_value"] == 8000
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    host = manager["route_config"]["virtual_hosts"][0]
    assert host["domains"] == ["app.example", "app.example:*"]
    first, *own, last = host["routes"]
    assert (first["match"], first["direct_response"]["status"]) == ({"prefix": "/.gateway/auth/"}, 404)
    assert [route["match"] for route in own] == [{"prefix": "/.gateway/"}, {"path": "/service-worker.js"}]
    assert all("typed_per_filter_config" in route for route in (first, *own))
    assert "typed_per_filter_config" not in last
    ports = [
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"][
            "port_value"
        ]
        for cluster in resources["clusters"]
    ]
    assert ports == [8080, 3000]


def test_a_refusal_is_shown_whole() -> None:
    """... has Envoy show every field that a refusal of the gateway has, as a page and as a problem document."""
    manager = json.loads(TEXT)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    answer = manager["http_filters"][0]["typed_config"]["http_service"]["authorization_response"]
    beginnings = [one["prefix"] for one in answer["allowed_client_headers"]["patterns"]]
    replies = Replies(FakeAssets(), title="Acme")
    for form in (Form(page=True), Form(page=True, framed=True), Form(page=False)):
        for name, _ in replies.failure(reasons.KEYS_UNAVAILABLE, "r", form).headers:
            assert name.lower().startswith(tuple(beginnings)), name


def test_it_fails_closed() -> None:
    """... refuses when the gateway does not answer, and drops fields with underscores."""
    manager = json.loads(TEXT)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["http_filters"][0]["typed_config"]["failure_mode_allow"] is False
    assert manager["common_http_protocol_options"]["headers_with_underscores_action"] == "DROP_HEADER"
    removed = manager["early_header_mutation_extensions"][0]["typed_config"]["mutations"]
    assert {"remove": "x-forwarded-user"} in removed
